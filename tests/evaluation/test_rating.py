"""What a user relies on when answered items become scores."""

from __future__ import annotations

import math
import statistics

import pytest

from instructpt.evaluation.aggregates import weighted_f1
from instructpt.evaluation.rating import average, rate, rate_apart, rate_differences
from instructpt.records import Item, Score


def item(place: int, values: dict[str, float], *, gold: str = "yes", answer: str = "yes", num_bytes: int = 3) -> Item:
    return Item("t", place, "", gold, answer, values, num_bytes)


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores}


def test_a_mean_has_the_error_of_a_mean() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 0.25]
    [score] = rate([item(i, {"acc": value}) for i, value in enumerate(values)], task="t", model_name="m")
    assert score.value == pytest.approx(statistics.mean(values))
    assert score.stderr == pytest.approx(statistics.stdev(values) / math.sqrt(6))
    assert score == Score("t", "acc", score.value, score.stderr, 6, "m")


def test_items_of_one_place_count_as_one_draw() -> None:
    alone = rate([item(i, {"acc": float(i % 3 == 0)}) for i in range(9)], task="t", model_name="m")[0]
    twice = rate([item(i // 2, {"acc": float(i // 2 % 3 == 0)}) for i in range(18)], task="t", model_name="m")[0]
    assert twice.count == 18
    assert twice.stderr == pytest.approx(alone.stderr)


def test_bits_are_counted_over_all_bytes() -> None:
    items = [item(0, {"bits_per_byte": 1.0}, num_bytes=30), item(1, {"bits_per_byte": 4.0}, num_bytes=10)]
    [score] = rate(items, task="t", model_name="m")
    assert score.value == pytest.approx(70 / 40)
    assert score.count == 2


def test_a_value_that_some_items_have_is_a_mean_over_those() -> None:
    scores = by_metric(rate([item(0, {"a": 1.0}), item(1, {"a": 0.0, "b": 0.5})], task="t", model_name="m"))
    assert (scores["a"].count, scores["b"].count) == (2, 1)
    assert scores["b"].stderr is None


def test_a_number_that_is_no_mean_gets_a_bootstrapped_error() -> None:
    items = [item(i, {"acc": 1.0}, gold="a" if i % 4 else "b", answer="a" if i % 3 else "b") for i in range(200)]
    score = by_metric(rate(items, task="t", model_name="m", score="weighted_f1"))["weighted_f1"]
    assert score.value == weighted_f1(items)
    assert score == by_metric(rate(items, task="t", model_name="m", score="weighted_f1"))["weighted_f1"]
    assert score.stderr is not None
    assert 0.02 < score.stderr < 0.05, "the binomial error of 200 items is 0.034"


def test_a_score_that_is_a_value_is_not_told_twice() -> None:
    scores = rate([item(0, {"acc": 1.0}), item(1, {"acc": 0.0})], task="t", model_name="m", score="acc")
    assert [score.metric for score in scores] == ["acc"]
    assert rate([], task="t", model_name="m", score="weighted_f1") == []


def test_items_that_stand_in_the_training_text_are_scored_apart() -> None:
    items = [item(i, {"acc": float(i < 4)}) for i in range(10)]
    scores = by_metric(rate_apart(items, lambda item: item.place in (0, 1, 5), task="t", model_name="m"))
    assert scores["acc/clean"].value == pytest.approx(2 / 7)
    assert scores["acc/overlapping"].value == pytest.approx(2 / 3)
    assert [scores[name].count for name in ("acc/clean", "acc/overlapping")] == [7, 3]
    clean = by_metric(rate_apart(items, lambda item: False, task="t", model_name="m"))
    assert {name: score.value for name, score in clean.items()} == {"acc/clean": pytest.approx(0.4)}


def test_tasks_count_alike_in_an_average() -> None:
    scores = [
        Score("unseen/a", "acc", 0.5, 0.03, 10, "m"),
        Score("unseen/b", "acc", 0.7, 0.04, 1000, "m"),
        Score("unseen/b", "only_here", 0.7, 0.04, 1000, "m"),
    ]
    [found] = average(scores, task="unseen")
    assert found == Score("unseen", "acc", pytest.approx(0.6), pytest.approx(0.025), 1010, "m")


def test_a_difference_has_the_error_of_the_difference_not_of_both() -> None:
    """Both find the same questions hard, so that what one has more than the other is surer than either value."""
    hard = [0.5 + place for place in range(20)]
    one, other = (
        [item(place, {"bits_per_byte": bits - gain}) for place, bits in enumerate(hard)] for gain in (0.25, 0.0)
    )
    (alone,) = rate(one, task="t", model_name="instruct", draws_places=True)
    (found,) = rate_differences(one, other, task="t", model_name="instruct", other_name="raw")
    assert (found.metric, found.model, found.count) == ("bits_per_byte/from_raw", "instruct", 20)
    assert found.value == pytest.approx(-0.25)
    assert found.stderr == pytest.approx(0, abs=1e-9)
    assert alone.stderr is not None
    assert alone.stderr > 1
    half = rate_differences(one, other[:10], task="t", model_name="instruct", other_name="raw")
    assert [score.count for score in half] == [10], "only what both were asked"
