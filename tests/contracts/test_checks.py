"""Every check: a pair that it rejects, with a short reason, and one like it that it keeps."""

from __future__ import annotations

import re

import pytest

from instructpt.records import Document, Pair
from instructpt.synthesis.checks import CHECKS, Passage, question_key

TEXT = (
    "The grey heron waits in shallow water for hours. It strikes when a fish comes near, and swallows it whole. "
    "Herons nest in tall trees, often many pairs together, and return to the same colony every spring."
)
SEEN = Pair("What does it eat?", "Fish.")

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
}


def passage() -> Passage:
    return Passage(Document("1", TEXT, "birds"), {question_key(SEEN)})


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
