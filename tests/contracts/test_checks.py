"""Every check: a pair that it rejects, with a short reason, and one like it that it keeps."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Pair, Shot
from instructpt.verification.checks import CHECKS, Passage, apply_checks, question_key
from instructpt.verification.checks.grounding import remember

TEXT = (
    "The grey heron waits in shallow water for hours. It strikes when a fish comes near, and swallows it whole. "
    "Herons nest in tall trees, often many pairs together, and return to the same colony every spring."
)
SEEN = Pair("What does it eat?", "Fish.")
SAID = Pair("What does the grey heron do when a fish comes near?", "It strikes.")

EXAMPLES: dict[str, tuple[Pair, Pair]] = {
    "empty": (Pair("?!", "Fish."), Pair("Why?", "-")),
    "too_long": (Pair("What?", "fish " * 1_000), Pair("What?", "fish " * 700)),
    "answer_not_in_options": (
        Pair("Where?", "on ice", options=("in water", "in trees")),
        Pair("Where?", "None of the above.", options=("in water", "in trees")),
    ),
    "duplicate_question": (Pair("what  does it EAT?", "Frogs."), Pair("What does it eat in spring?", "Frogs.")),
    "repetition": (Pair("What?", "the heron and " * 20), Pair("What?", TEXT)),
    "grounded": (Pair("What does it eat?", "small frogs"), Pair("How long does it wait?", "It waits for hours.")),
    "leaked_markup": (Pair("Where?", "in tall trees allASK>"), Pair("Where?", "ASK > a <b>heron</b>")),
    "copied_context": (Pair("What does the text say?", TEXT), Pair("What does the text say?", TEXT[:150])),
    "repeated_question": (
        Pair("What happens after the heron waits in shallow water?", "The heron waits in shallow water."),
        Pair("What happens after the heron waits in shallow water?", "The heron waits."),
    ),
    "answer_in_question": (
        Pair("How long does the grey heron wait?", "grey heron"),
        Pair("Does the heron eat fish or frogs?", "frogs"),
    ),
    "wrong_kind_of_answer": (
        Pair("How many herons nest there?", "in tall trees"),
        Pair("How many herons nest there?", "often several pairs"),
    ),
    "unsafe_markup": (Pair("Where?", "in <script>top</script> trees"), Pair("Where?", "in a <b>tall</b> tree")),
    "language_mismatch": (
        Pair("Wo nisten die Reiher?", "In hohen Bäumen, oft viele Paare zusammen, und das in jedem Jahr wieder."),
        Pair("Where do herons nest?", "In tall trees, often many of the pairs together, and that every year again."),
    ),
    "wrong_gap": (
        Pair("Herons nest in tall ____, often many pairs together.", "reeds"),
        Pair("Herons nest in tall ____, often many pairs together.", "trees"),
    ),
    "words_not_used": (
        Pair('Use "heron" and "water" in a sentence.', "The heron waits.", category="words to sentence"),
        Pair('Use "heron" and "water" in a sentence.', "The heron waits in water.", category="words to sentence"),
    ),
    "wrong_verdict": (
        Pair("Is it so? Herons nest in low trees, often many pairs together.", "True", options=("True", "False")),
        Pair("Is it so? Herons nest in low trees, often many pairs together.", "False", options=("True", "False")),
    ),
    "wrong_arithmetic": (
        Pair("How many hours?", "21", rationale="Three times 7: 3 * 7 = 22."),
        Pair("How many hours?", "21", rationale="Three times 7: 3 * 7 = 21, or 1,000.5 - 979.5 = 21."),
    ),
    "unsupported_number": (Pair("When?", "In 1987, in spring."), Pair("When in 1987?", "In spring of 1987.")),
    "unsupported_name": (Pair("Who?", "a bird that Audubon painted"), Pair("Who?", "a Heron, grey")),
    "near_duplicate": (
        Pair("Well, what does the grey heron do when a fish comes near?", "it strikes"),
        Pair("Well, what does the grey heron do when a fish comes near?", "It swallows it whole."),
    ),
}


def passage() -> Passage:
    known = Passage(Document("1", TEXT, "birds"), {question_key(SEEN)})
    remember(SAID, known)
    return known


@pytest.mark.parametrize("name", CHECKS)
def test_rejects_one_and_keeps_the_other(name: str) -> None:
    rejected, kept = EXAMPLES[name]
    reason = CHECKS[name](rejected, passage())
    assert reason is not None
    assert re.fullmatch(r"[a-z_]{3,40}", reason)
    assert CHECKS[name](kept, passage()) is None
    assert CHECKS[name](rejected, passage()) == reason


@pytest.mark.parametrize("name", CHECKS)
def test_keeps_an_ordinary_pair_and_bears_any_text(name: str) -> None:
    ordinary = Pair(
        "Where do herons nest?", "in tall trees", options=("in tall trees", "in reeds"), rationale="It says so."
    )
    assert CHECKS[name](ordinary, passage()) is None
    for text in ("", " ", "\ud800", "\x00" * 50, "鹭" * 300, "a" * 10_000):
        CHECKS[name](Pair(text, text, options=(text,), rationale=text), Passage(Document("", text, "")))


TEXTS = st.text()


@given(st.lists(st.builds(Pair, TEXTS, TEXTS, st.lists(TEXTS).map(tuple), st.none() | TEXTS)), TEXTS)
def test_every_pair_is_kept_or_left_out_for_a_reason(pairs: list[Pair], text: str) -> None:
    shot = Shot(Document("1", text, ""), tuple(pairs))
    checked = apply_checks(shot, list(CHECKS))
    assert len(checked.pairs) + len(checked.rejects) == len(pairs)
    assert apply_checks(checked, list(CHECKS)).pairs == checked.pairs  # what passed once, passes again
