"""What a user relies on when a score is no mean over items: numbers worked out by hand."""

from __future__ import annotations

import pytest

from instructpt.evaluation.aggregates import (
    AGGREGATES,
    entity_f1_result,
    entity_overlap,
    number_match_result,
    same_number,
)
from instructpt.records import Item


def score(name: str, *pairs: tuple[str, ...]) -> float:
    items = [
        Item("task", place, part=part, gold=gold, answer=answer, values={}, num_bytes=len(gold))
        for place, (gold, answer, part) in enumerate((*pair, "")[:3] for pair in pairs)
    ]
    return AGGREGATES[name](items)


def test_accuracy_and_micro_f1_are_the_share_of_right_answers() -> None:
    pairs = [("a", "a"), ("b", "a"), ("c", "c"), ("c", "b")]
    assert score("accuracy", *pairs) == score("micro_f1", *pairs) == 0.5


def test_weighted_f1_weighs_labels_by_how_often_they_are_gold() -> None:
    # up: 1 of 2 found, 1 of 2 right: F1 1/2. down: 1 of 1 found, 1 of 2 right: F1 2/3. Weights 2/3 and 1/3.
    pairs = [("up", "up"), ("up", "down"), ("down", "down")]
    assert score("weighted_f1", *pairs) == pytest.approx((2 * 2 / 3 + 1 * 2 / 3) / 3)
    # flat is never given: F1 0 with weight 1/4. even is given and never gold: no weight, but up misses one.
    more = [("up", "up"), ("up", "even"), ("flat", "up"), ("down", "down")]
    assert score("weighted_f1", *more) == pytest.approx((2 * (2 / 4) + 1 * 0 + 1 * 1) / 4)


def test_weighted_f1_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    gold, answers = list("aabbbccda"), list("abbbccaaa")
    theirs = f1_score(gold, answers, average="weighted", zero_division=0)
    assert score("weighted_f1", *zip(gold, answers, strict=True)) == pytest.approx(theirs)


def test_headline_counts_every_sub_question_alike() -> None:
    # sub-question 0: all four right, 1. Sub-question 1: Yes never given, No with F1 2/3: half of it.
    pairs = [("Yes", "Yes", "0")] * 4 + [("Yes", "No", "1"), ("No", "No", "1")]
    assert score("headline_f1", *pairs) == pytest.approx((1 + (0 + 2 / 3) / 2) / 2)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("Bank (ORG), Rome (LOC)", "Bank (ORG), Rome (LOC)", 1),
        ("Bank (ORG), Rome (LOC)", " Rome (LOC), Bank (ORG)", 1),
        ("Bank (ORG)", "Bank (ORG), Rome (LOC)", 2 / 3),  # two of two halves found, two of four right
        ("Bank (ORG), Lee (PER)", "Bank (PER)", 2 / 3),  # the name of one, the type of the other
        ("Bank (ORG)", "Shop (ORG)", 1 / 2),
        ("Acme Bank (ORG)", "Other Bank (ORG)", 1),  # the last word of a name is what counts
        ("Bank (ORG), Bank (ORG)", "Bank (ORG)", 1),
        ("Bank (ORG)", "no entities here", 0),
        ("", "", 0),
    ],
)
def test_entities_score_half_for_the_name_and_half_for_the_type(gold: str, answer: str, expected: float) -> None:
    assert entity_overlap(gold, answer=answer) == pytest.approx(expected)
    assert score("entity_f1", (gold, answer), ("A (B)", "A (B)")) == pytest.approx((expected + 1) / 2)
    assert entity_f1_result({"label": [gold]}, [answer]) == {"entity_f1": pytest.approx(expected)}


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("30", " 30", True),
        ("30", "from 120 to 150, so 30.", True),  # lenient: any number of the line
        ("30", "The change:\n30", False),  # but of the first line
        ("12.5%", "0.125", True),
        ("0.12", "12.9%", True),  # within 0.01
        ("0.12", "13.1%", False),
        ("-1,250.5", "-1250.50", True),
        ("1,250", "1 and 250", False),
        ("-3e2", "-300", True),
        (".5", "0.5", True),
        ("yes", "yes", False),
        ("30", "", False),
    ],
)
def test_a_number_in_the_first_line_has_to_come_near_the_gold_one(gold: str, answer: str, expected: bool) -> None:
    assert same_number(gold, answer=answer) is expected
    assert score("number_match", (gold, answer), ("1", "1")) == (expected + 1) / 2
    assert number_match_result({"label": gold}, [answer]) == {"number_match": float(expected)}


@pytest.mark.parametrize("name", sorted(AGGREGATES))
def test_right_answers_score_one_and_no_items_are_refused(name: str) -> None:
    gold = {"entity_f1": "Rome (LOC)", "number_match": "7"}.get(name, "Yes")
    assert score(name, (gold, gold), (gold, gold)) == 1
    with pytest.raises(ValueError, match="at least one item"):
        AGGREGATES[name]([])
