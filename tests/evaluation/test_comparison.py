"""What a comparison of training runs claims, and what it does not."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.evaluation.comparison import (
    AVERAGE,
    Interval,
    Result,
    compare,
    interval,
    tokens_to_reach,
    verdict,
)


def runs(arm: str, values: list[float], *, task: str = "held_out", metric: str = "bits_per_byte", tokens: int = 100):
    return [Result(arm, seed, tokens, "", task, metric, value) for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
)
def test_intervals_are_as_wide_as_the_tables_say(freedom: int, quantile: float) -> None:
    values = [0.0] * freedom + [1.0]
    error = statistics.stdev(values) / math.sqrt(freedom + 1)
    assert interval(values).half == pytest.approx(quantile * error, abs=5e-5)


def test_the_interval_of_three_runs() -> None:
    found = interval([2.10, 2.14, 2.12])
    assert (found.mean, found.half) == (pytest.approx(2.12), pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4))
    assert interval([2.0]) == Interval(2.0, None, 1)


def test_pairing_by_seed_shows_what_means_alone_hide() -> None:
    found = compare(runs("raw", [2.10, 2.14, 2.12]) + runs("instruct", [2.05, 2.10, 2.06]), arms=["raw", "instruct"])
    (measure,) = found.measures
    raw, instruct = measure.arms["raw"], measure.arms["instruct"]
    assert raw.mean - (raw.half or 0) < instruct.mean + (instruct.half or 0), "the intervals overlap"
    assert measure.differences["instruct"].mean == pytest.approx(-0.05)
    assert verdict("bits_per_byte", measure.differences["instruct"]) == "better"
    assert "raw" not in measure.differences


def test_only_seeds_that_both_arms_have_are_paired() -> None:
    found = compare(runs("raw", [1.0, 2.0]) + runs("mined", [2.0, 3.5, 9.0]), arms=["raw", "mined"])
    assert found.measures[0].differences["mined"] == interval([1.0, 1.5])
    assert found.measures[0].arms["mined"].count == 3


@pytest.mark.parametrize(
    ("metric", "difference", "words"),
    [
        ("acc", Interval(0.1, 0.2, 3), "no difference shown"),
        ("acc", Interval(0.3, 0.2, 3), "better"),
        ("acc", Interval(-0.3, 0.2, 3), "worse"),
        ("bits_per_byte", Interval(0.3, 0.2, 3), "worse"),
        ("acc", Interval(0.3, None, 1), "one run each: nothing shown"),
        ("acc", Interval(0.3, 0.0, 2), "equal in all runs: nothing shown"),
        ("acc", Interval(0.3, 1e-12, 2), "equal in all runs: nothing shown"),
        ("acc", Interval(0.0, 0.0, 2), "no difference shown"),
    ],
)
def test_words_claim_no_more_than_the_interval(metric: str, difference: Interval, words: str) -> None:
    assert verdict(metric, difference) == words


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-3, 3))
def test_the_same_runs_twice_never_differ(values: list[float], shift: float) -> None:
    results = runs("raw", values, metric="acc") + runs("same", values, metric="acc")
    assert verdict("acc", compare(results, arms=["raw", "same"]).measures[0].differences["same"]) == (
        "no difference shown"
    )
    moved = interval([value + shift for value in values])
    assert moved.mean == pytest.approx(interval(values).mean + shift, abs=1e-9)


def test_benchmarks_are_averaged_over_their_headline_metrics() -> None:
    results = [
        *runs("raw", [0.5], task="arc_easy", metric="acc"),
        *runs("raw", [0.3], task="arc_easy", metric="acc_norm"),
        *runs("raw", [0.7], task="boolq", metric="acc"),
        *runs("raw", [2.0]),
    ]
    averages = [m for m in compare(results, arms=["raw"]).measures if m.task == AVERAGE]
    assert [(m.metric, m.arms["raw"].mean) for m in averages] == [("of 2 tasks", pytest.approx(0.5))]


def test_tokens_to_reach_lie_on_a_line_over_their_logarithm() -> None:
    points = {100: 3.0, 200: 2.0, 400: 1.5}
    assert tokens_to_reach(points, 2.5, lower_is_better=True) == pytest.approx(100 * 2**0.5)
    assert tokens_to_reach(points, 1.5, lower_is_better=True) == pytest.approx(400)
    assert tokens_to_reach(points, 3.5, lower_is_better=True) == 100
    assert tokens_to_reach(points, 1.0, lower_is_better=True) is None
    assert tokens_to_reach(points, 3.0, lower_is_better=False) == 100


def test_reaching_is_told_for_several_budgets_alone() -> None:
    one = runs("raw", [2.0, 2.1]) + runs("instruct", [1.9, 2.2])
    assert compare(one, arms=["raw", "instruct"]).reaches == []
    two = one + runs("raw", [2.4, 2.5], tokens=50) + runs("instruct", [2.1, 2.6], tokens=50)
    reaches = {reach.arm: reach for reach in compare(two, arms=["raw", "instruct"]).reaches}
    assert reaches["raw"].share == Interval(1.0, 0.0, 2)
    share = reaches["instruct"].share
    assert share is not None
    assert (share.count, reaches["instruct"].num_seeds) == (1, 2), "seed 1 does not get there"
    assert share.mean == pytest.approx(2**-0.5)
