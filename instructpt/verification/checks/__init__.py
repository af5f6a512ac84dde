"""Checks on pairs: each gives a reason to leave a pair out, or None. One function, one line in `CHECKS`.

    shot --apply_checks(["empty", "grounded", ...])--> the shot: pairs that pass, the others as rejects with reasons
            |
            +-- form.py        what a pair looks like: empty, too long, in circles, copied, unsafe;
            |                  a time for when, a name for who
            +-- grounding.py   the answer's words, numbers (numerals.py reads them) and names against the passage; its
            |                  language; nothing said before (passage.py compares with all before it)
            +-- exercises.py   exercises with a key of their own: gaps, words to use, statements to judge, sums to do
            +-- writing.py     texts that are no pairs: an assistant's talk, a copy of the passage

They see the pair, its passage, and what was kept before. They are cheap and ask no model; consistency with a second
answer and a judge's opinion are stages of their own (`verification.consistency`). The bounds were tried on 39,772 pairs
that people annotated, from public task sets: of those that look at form, all together left out 77, 62 of them for an
answer of more than 4,000 characters. What the others leave out of such pairs, and what they find, docs/verification.md
says check by check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from instructpt.errors import RecipeError
from instructpt.records import Pair, Reject, Shot
from instructpt.verification.checks.exercises import (
    words_not_used,
    wrong_arithmetic,
    wrong_gap,
    wrong_verdict,
)
from instructpt.verification.checks.form import (
    answer_in_question,
    answer_not_in_options,
    copied_context,
    duplicate_question,
    empty,
    leaked_markup,
    repeated_question,
    repetition,
    too_long,
    unsafe_markup,
    wrong_kind_of_answer,
)
from instructpt.verification.checks.grounding import (
    grounded,
    language_mismatch,
    near_duplicate,
    remember,
    unsupported_name,
    unsupported_number,
)
from instructpt.verification.checks.passage import Check, Passage, Seen, question_key

__all__ = ["CHECKS", "Check", "Passage", "Seen", "apply_checks", "find_checks", "question_key"]


def apply_checks(
    shot: Shot,
    checks: Sequence[str],
    *,
    answers: Mapping[str, str] | None = None,
    seen: Seen | None = None,
    failed: Counter[str] | None = None,
) -> Shot:
    """The shot with each pair that fails a check turned into a reject; the first check that fails names the reason.

    checks: names in `CHECKS`, run in this order. answers: as in `Passage.answers`. seen: what `near_duplicate` compares
    with besides this shot, and adds to; shots that share one are to be checked in a fixed order. failed: every check
    that a pair fails is counted there, also after the first, which takes a little longer. Raises RecipeError for an
    unknown name.
    """
    chosen = dict(zip(checks, find_checks(checks), strict=True))
    passage = Passage(shot.document, answers=answers or {}, seen=Seen() if seen is None else seen)
    kept: list[Pair] = []
    rejects = list(shot.rejects)
    for pair in shot.pairs:
        reason = None
        for name, check in chosen.items():
            found = check(pair, passage)
            if found is not None:
                reason = reason or found
                if failed is None:
                    break
                failed[name] += 1
        if reason is None:
            kept.append(pair)
            passage.questions.add(question_key(pair))
            if "near_duplicate" in chosen:
                remember(pair, passage)
        else:
            rejects.append(Reject(f"{pair.question}\n{pair.answer}", reason))
    return replace(shot, pairs=tuple(kept), rejects=tuple(rejects))


def find_checks(names: Sequence[str]) -> list[Check]:
    """The functions of these names. Raises RecipeError for an unknown one."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise RecipeError(f"no check is called {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    return [CHECKS[name] for name in names]


CHECKS: dict[str, Check] = {
    "empty": empty,
    "too_long": too_long,
    "answer_not_in_options": answer_not_in_options,
    "duplicate_question": duplicate_question,
    "repetition": repetition,
    "copied_context": copied_context,
    "leaked_markup": leaked_markup,
    "repeated_question": repeated_question,
    "answer_in_question": answer_in_question,
    "wrong_kind_of_answer": wrong_kind_of_answer,
    "unsafe_markup": unsafe_markup,
    "language_mismatch": language_mismatch,
    "wrong_gap": wrong_gap,
    "words_not_used": words_not_used,
    "wrong_verdict": wrong_verdict,
    "wrong_arithmetic": wrong_arithmetic,
    "grounded": grounded,
    "unsupported_number": unsupported_number,
    "unsupported_name": unsupported_name,
    "near_duplicate": near_duplicate,
}
"""Name -> function, in the order in which a recipe runs them unless told otherwise: cheap ones first."""

DEFAULT_CHECKS = ("empty", "too_long", "answer_not_in_options", "duplicate_question", "repetition", "copied_context")
MODEL_CHECKS = (
    *DEFAULT_CHECKS,
    "leaked_markup",
    "repeated_question",
    "answer_in_question",
    "wrong_kind_of_answer",
    "unsafe_markup",
    "wrong_gap",
    "words_not_used",
    "wrong_verdict",
)
"""Of pairs that a model wrote: what leaves out next to nothing that people wrote (6 of 70,082)."""
VERIFY_CHECKS = (
    *MODEL_CHECKS,
    "language_mismatch",
    "grounded",
    "unsupported_number",
    "unsupported_name",
    "near_duplicate",
)
"""All that suit any pair: of pairs that are to be trusted."""
