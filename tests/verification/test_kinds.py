"""Answers of another kind than the question asks for, in English."""

from __future__ import annotations

import pytest

from instructpt.records import Document, Pair
from instructpt.verification.checks.form import wrong_kind_of_answer
from instructpt.verification.checks.passage import Passage

ENGLISH = Passage(Document("1", "The bridge was built by the town when its harbour grew, and it is long.", "s"))
GERMAN = Passage(Document("2", "Die Brücke wurde von der Stadt gebaut, als der Hafen größer wurde, und ist lang.", "s"))

WRONG = [
    ("When was the bridge built?", "Ada Brekke"),
    ("In what year did it sink?", "the western pillar"),
    ("In what year did it sink?", "17th"),
    ("How many pillars sank?", "the western"),
    ("How much did the repair cost?", "the county"),
    ("By whom was it built?", "1887"),
    ("What was the name of the engineer?", "4"),
]
FINE = [
    ("When was the bridge built?", "in the reign of Anne"),
    ("When was it built?", "1887"),
    ("When the bridge sank, who paid for it?", "the county"),
    ("When did it sink?", "before the war"),
    ("When did it sink?", "the 17th"),
    ("What year did it sink?", "27 BC"),
    ("What year did it sink?", "the summer of '87"),
    ("In which year did it sink?", "the year of the flood"),
    ("How many pillars sank?", "both"),
    ("How many pillars stood?", "zero"),
    ("How much slower was it?", "twice"),
    ("Who built it?", "M"),
    ("Who built it?", "Ada Brekke"),
    ("Where was it built?", "1887"),
    ("Which pillar sank?", "the western"),
]


@pytest.mark.parametrize(("question", "answer"), WRONG)
def test_another_kind_is_left_out(question: str, answer: str) -> None:
    assert wrong_kind_of_answer(Pair(question, answer), ENGLISH) == "wrong_kind_of_answer"


@pytest.mark.parametrize(("question", "answer"), FINE)
def test_what_may_be_of_the_right_kind_stays(question: str, answer: str) -> None:
    assert wrong_kind_of_answer(Pair(question, answer), ENGLISH) is None


def test_only_short_free_answers_to_english_questions_are_looked_at() -> None:
    question, answer = WRONG[0]
    assert wrong_kind_of_answer(Pair(question, answer), GERMAN) is None
    assert wrong_kind_of_answer(Pair(question, answer, options=(answer, "1887")), ENGLISH) is None
    assert wrong_kind_of_answer(Pair(question, answer, rationale="It says so."), ENGLISH) is None
    assert wrong_kind_of_answer(Pair(question, f"{answer} of the town, and all that came with it"), ENGLISH) is None
