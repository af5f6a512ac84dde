"""Checks as a whole: what becomes of a shot, and the borders that keep good pairs in."""

from __future__ import annotations

import pytest

from instructpt.errors import RecipeError
from instructpt.records import Document, Pair, Reject, Shot
from instructpt.verification.checks import CHECKS, Passage, apply_checks, copied_context, grounded, repetition

PASSAGE = (
    "The grey heron waits in shallow water for hours. It strikes when a fish comes near, and swallows it whole. "
    "Herons nest in tall trees, often many pairs together, and return to the same colony every spring to repair "
    "the nests of the year before."
)
DOCUMENT = Document("1", PASSAGE, "birds")


def test_a_failing_pair_becomes_a_reject_with_the_first_reason() -> None:
    good, again = Pair("What does it eat?", "Fish."), Pair("what does  it EAT?", "Fish!")
    wrong = Pair("Where?", "on ice", options=("in water", "in trees"))
    shot = Shot(DOCUMENT, (good, again, wrong, Pair("?", "")), follows=2, rejects=(Reject("cut", "no_end_tag"),))
    checked = apply_checks(shot, list(CHECKS))
    assert (checked.document, checked.pairs, checked.follows) == (DOCUMENT, (good,), 2)
    assert [reject.reason for reject in checked.rejects] == [
        "no_end_tag",
        "duplicate_question",
        "answer_not_in_options",
        "empty",
    ]
    assert checked.rejects[2].text == "Where?\non ice"


def test_a_question_whose_pair_was_rejected_may_come_again() -> None:
    wrong, right = (Pair("Where?", answer, options=("in water", "in trees")) for answer in ("on ice", "in water"))
    checked = apply_checks(Shot(DOCUMENT, (wrong, right)), list(CHECKS))
    assert checked.pairs == (right,)


def test_the_same_words_with_other_options_are_another_question() -> None:
    first = Pair("Which is true?", "It is grey.", options=("It is grey.", "It is red."))
    second = Pair("Which is true?", "It eats fish.", options=("It eats fish.", "It eats bread."))
    assert apply_checks(Shot(DOCUMENT, (first, second)), ["duplicate_question"]).pairs == (first, second)


def test_no_checks_change_nothing() -> None:
    shot = Shot(DOCUMENT, (Pair("", ""),))
    assert apply_checks(shot, []) == shot


def test_an_unknown_check_names_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'spelling'.*duplicate_question"):
        apply_checks(Shot(DOCUMENT), ["empty", "spelling"])


def test_extractive_answers_are_kept() -> None:
    sentence = "Herons nest in tall trees, often many pairs together"
    for answer in ("fish", "in shallow water for hours", sentence):
        assert copied_context(Pair("What does the text say?", answer), Passage(DOCUMENT)) is None
    short = Document("2", "Paris is the capital of France.", "facts")
    assert copied_context(Pair("What is said?", short.text), Passage(short)) is None


def test_a_sentence_to_classify_is_kept() -> None:
    sentence = PASSAGE[:160]
    assert copied_context(Pair(sentence, "fact"), Passage(DOCUMENT)) == "copied_context"
    assert copied_context(Pair(sentence, "fact", options=("fact", "opinion")), Passage(DOCUMENT)) is None


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("no, " * 30, True),
        (PASSAGE + " It is the end of the day." * 12, True),  # sound at first, a loop to the end
        ("鹭在浅水中等待。" * 20, True),
        (PASSAGE, False),
        ("yes, yes, yes, yes", False),
        ("0.1111111111111111", False),
        (
            "灰鹭常在浅水中静立数小时,等鱼靠近便迅速出击,整条吞下。它们在高树上成群筑巢,每年春天回到同一处修补旧巢。",
            False,
        ),
        ("".join(f"- item {i}: {i * 7} birds\n" for i in range(20)), False),
    ],
)
def test_loops_are_told_from_prose_and_lists(text: str, looping: bool) -> None:
    for pair in (Pair("q", text), Pair(text, "a"), Pair("q", "a", rationale=text)):
        assert repetition(pair, Passage(DOCUMENT)) == ("repetition" if looping else None)


def test_work_grows_with_the_pairs_and_not_with_their_square() -> None:
    num_normalized = 0

    class Counted(str):
        __slots__ = ()

        def casefold(self) -> str:
            nonlocal num_normalized
            num_normalized += 1
            return super().casefold()

    pairs = tuple(Pair(Counted(f"What is number {i}?"), "a fish") for i in range(500))
    assert apply_checks(Shot(DOCUMENT, pairs), list(CHECKS)).pairs == pairs
    assert 500 <= num_normalized <= 10 * 500


@pytest.mark.parametrize(
    ("pair", "kept"),
    [
        (Pair("What does it strike?", "a fish"), True),
        (Pair("What does it strike?", "a frog"), False),
        (Pair("Where do they nest?", "in the tall trees, many pairs together"), True),
        (Pair("Why?", "It has learned that frogs are slow and easy to catch."), True),  # in words of its own
        (Pair("Does it eat frogs?", "no"), True),
        (Pair("What is it like?", "patient", options=("patient", "hasty")), True),
        (Pair("How many in two years?", "700", rationale="350 a year, twice."), True),
        (Pair("What is it?", "a frog", category="names"), False),
        (Pair("Who?", "A frog that is not in the text at all.", category="names"), False),
        (Pair("What does it strike?", "a fish", category="names"), True),
        (Pair("What mood?", "cheerful", category="moods"), True),
        (Pair("What mood?", "cheerful", category="of another model"), False),
    ],
)
def test_an_answer_that_is_to_stand_in_the_passage_must(pair: Pair, kept: bool) -> None:
    passage = Passage(DOCUMENT, answers={"names": "span", "moods": "label"})
    assert grounded(pair, passage) == (None if kept else "not_grounded")
