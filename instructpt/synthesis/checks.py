"""Checks on pairs: each gives a reason to leave a pair out, or None. One function, one line in `CHECKS`.

They see the pair, its passage, and the questions kept so far for this passage. They are cheap and know no language;
what needs a model to judge is not done here. The bounds below were tried on 39,772 pairs that people annotated, from
public task sets: all checks together left out 77 of them, 62 for an answer of more than 4,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from instructpt import overlap
from instructpt.errors import RecipeError
from instructpt.records import Document, Pair, Reject, Shot

NONE_OF_THE_ABOVE = frozenset(
    {"none of the above", "none of the options", "none of these", "none of the choices", "none of the given options"}
)
"""Answers, in lower case and without full stop, that fit any list of options."""

MAX_QUESTION_CHARACTERS = 2_000
"""Question with its options."""
MAX_ANSWER_CHARACTERS = 4_000
"""Answer or rationale."""
MIN_LOOP_WORDS = 16
"""Texts of fewer words are never called repetitive: "yes, yes, yes" may be a quotation."""
MIN_LOOP_CHARACTERS = 64
"""The same for scripts without blanks; shorter ones may be a number such as 0.1111111111111111."""
MIN_DISTINCT_SHARE = 0.5
"""Of runs of four words. A unit said r times has a share of 1/r; 96 in 100 annotated texts lie above 0.9."""
MIN_COPIED_QUESTION_CHARACTERS = 100
"""A shorter question may be a sentence of the passage to complete."""
MIN_COPIED_ANSWER_CHARACTERS = 200
"""Shorter answers are extractive, and welcome."""
MAX_COPIED_ANSWER_SHARE = 0.8
"""Of the passage's characters."""

_LEAK = re.compile(r"(?:CON|ASK|CAT|QUE|ANS|END)>")


@dataclass(slots=True)
class Passage:
    """What a check may look at besides the pair."""

    document: Document
    questions: set[tuple[str, ...]] = field(default_factory=set)
    """Questions kept so far, each as `question_key` gives it."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Category -> what its answers are ("span" out of the passage, "label" or "free"), as far as it is known."""
    _normal_text: str | None = None
    _words: list[str] | None = None

    @property
    def normal_text(self) -> str:
        """The passage in lower case with single blanks, made once."""
        if self._normal_text is None:
            self._normal_text = _normal(self.document.text)
        return self._normal_text

    @property
    def words(self) -> list[str]:
        """The passage's words as `overlap.words` gives them, made once."""
        if self._words is None:
            self._words = overlap.words(self.document.text)
        return self._words


Check = Callable[[Pair, Passage], str | None]


def apply_checks(shot: Shot, checks: Sequence[str], *, answers: Mapping[str, str] | None = None) -> Shot:
    """The shot with each pair that fails a check turned into a reject; the first check that fails names the reason.

    checks: names in `CHECKS`, run in this order. answers: as in `Passage.answers`. Raises RecipeError for an unknown
    name.
    """
    chosen = find_checks(checks)
    passage = Passage(shot.document, answers=answers or {})
    kept: list[Pair] = []
    rejects = list(shot.rejects)
    for pair in shot.pairs:
        reason = next((reason for check in chosen if (reason := check(pair, passage)) is not None), None)
        if reason is None:
            kept.append(pair)
            passage.questions.add(question_key(pair))
        else:
            rejects.append(Reject(f"{pair.question}\n{pair.answer}", reason))
    return replace(shot, pairs=tuple(kept), rejects=tuple(rejects))


def find_checks(names: Sequence[str]) -> list[Check]:
    """The functions of these names. Raises RecipeError for an unknown one."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise RecipeError(f"no check is called {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    return [CHECKS[name] for name in names]


def question_key(pair: Pair) -> tuple[str, ...]:
    """Equal for questions that differ in case and blanks alone. "Which is true?" may come again with other options."""
    return (_normal(pair.question), *map(_normal, pair.options))


def empty(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A question without a letter or digit; an answer, option or rationale of blanks and dots at most."""
    fields = [pair.answer, *pair.options, *([] if pair.rationale is None else [pair.rationale])]
    if any(character.isalnum() for character in pair.question) and all(text.strip(" \t\r\n.…") for text in fields):
        return None
    return "empty"


def too_long(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """Longer than any pair worth training on: see the two maxima above."""
    if len(pair.question) + sum(map(len, pair.options)) > MAX_QUESTION_CHARACTERS:
        return "too_long"
    return "too_long" if max(len(pair.answer), len(pair.rationale or "")) > MAX_ANSWER_CHARACTERS else None


def answer_not_in_options(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A choice whose answer is, character by character, none of its options, nor says that none is right.

    Source: the paper's `parse_QA_list`.
    """
    if not pair.options or pair.answer in pair.options:
        return None
    return None if _normal(pair.answer).rstrip(".") in NONE_OF_THE_ABOVE else "answer_not_in_options"


def duplicate_question(pair: Pair, passage: Passage) -> str | None:
    """A question that the passage has already. Source: the paper's `parse_comprehension`, here hashed."""
    return "duplicate_question" if question_key(pair) in passage.questions else None


def repetition(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A text that goes round in circles, as small models do, as a whole or in its second half."""
    for text in (pair.question, pair.answer, pair.rationale or ""):
        units: Sequence[str] = text.split()
        minimum = MIN_LOOP_WORDS
        if len(text) > 12 * len(units):  # a script without blanks: characters stand for words
            units, minimum = text, MIN_LOOP_CHARACTERS
        if len(units) >= minimum and (_loops(units) or _loops(units[len(units) // 2 :])):
            return "repetition"
    return None


def copied_context(pair: Pair, passage: Passage) -> str | None:
    """A question that is a long stretch of the passage, or an answer that is nearly all of it. See the bounds above.

    A question with options may well be a stretch of the passage, to be classified.
    """
    if not pair.options and len(pair.question) >= MIN_COPIED_QUESTION_CHARACTERS:
        question = _normal(pair.question).rstrip(" ?.!")
        if len(question) >= MIN_COPIED_QUESTION_CHARACTERS and question in passage.normal_text:
            return "copied_context"
    if len(pair.answer) >= MIN_COPIED_ANSWER_CHARACTERS:
        answer = _normal(pair.answer)
        if len(answer) > MAX_COPIED_ANSWER_SHARE * len(passage.normal_text) and answer in passage.normal_text:
            return "copied_context"
    return None


def grounded(pair: Pair, passage: Passage) -> str | None:
    """An answer that is to be taken from the passage, and is not there (`overlap.supported`).

    Which answers those are, the pair's category says, if it is known what its answers are; of other pairs, short ones
    (`overlap.looks_extractive`). An answer that follows from a rationale is never asked to stand in the passage.
    For pairs that a model wrote: mined ones are right by their making, also where an answer is an order of sentences.
    """
    if pair.rationale is not None:
        return None
    kind = passage.answers.get(pair.category or "")
    extractive = overlap.looks_extractive(pair.answer, pair.options) if kind is None else kind == "span"
    return "not_grounded" if extractive and not overlap.supported(pair.answer, passage.words) else None


def _loops(units: Sequence[str]) -> bool:
    runs = list(zip(units, units[1:], units[2:], units[3:], strict=False))
    return len(set(runs)) < MIN_DISTINCT_SHARE * len(runs)


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def leaked_markup(pair: Pair, passage: Passage) -> str | None:
    """A piece of a dialect's tag inside a text ("allASK>"): a model that was kept from writing the whole tag there.

    Of the shipped synthesizer's pairs, held to their form, 2.3 % have one (20 of 882); of annotated pairs none.
    """
    found = any(_LEAK.search(text) for text in (pair.question, pair.answer, *pair.options, pair.rationale or ""))
    return "leaked_markup" if found and not _LEAK.search(passage.document.text) else None


CHECKS: dict[str, Check] = {
    "empty": empty,
    "too_long": too_long,
    "answer_not_in_options": answer_not_in_options,
    "duplicate_question": duplicate_question,
    "repetition": repetition,
    "copied_context": copied_context,
    "leaked_markup": leaked_markup,
    "grounded": grounded,
}
"""Name -> function, in the order in which a recipe runs them unless told otherwise: cheap ones first."""
