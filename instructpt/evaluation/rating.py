"""From answered items to scores: means with standard errors, and numbers that are no means.

    place   acc   bits_per_byte   num_bytes
    0       1     0.9             12           acc             mean over items
    1       0     2.0              3           bits_per_byte   (0.9 * 12 + 2.0 * 3 + 1.1 * 9) / (12 + 3 + 9)
    1       1     1.1              9           weighted_f1     of all items together, see `aggregates`

Items of one place (questions on one text) are alike, so errors are those of means over places: with residuals
r_i = sum_i - value * weight_i of n places, sqrt(n / (n - 1) * sum r_i^2) / sum weight_i (Cochran, Sampling Techniques,
1977, section 6.4). With one item a place that is the standard error of a mean. What is no mean gets its error by
bootstrap over places, and so do the means of an exam: all models that
sit it have the same places drawn.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from instructpt.evaluation.aggregates import AGGREGATES
from instructpt.evaluation.bootstrap import DIGITS, Measure, scores
from instructpt.records import Item, Score
from instructpt.seeds import rng

BITS = "bits_per_byte"
"""The one value that weighs by bytes: all bits over all bytes, so that short answers do not count like long ones."""
RESAMPLES = 200
"""Of a number that is no mean: the error of its standard error is about 5 in 100."""


CLEAN, OVERLAPPING = "/clean", "/overlapping"
"""Ends of the names of metrics over items that do not, and that do, stand in the training text."""
UNNAMED, NAMED = "/unnamed_by_", "/named_by_"
"""What stands before an arm's name in a metric over an exam's questions that none, and that some, of its pairs names
(`naming`)."""
FROM = "/from_"
"""What stands before a model's name in a metric that is the difference from it."""


def rate(
    items: Sequence[Item],
    *,
    task: str,
    model_name: str,
    score: str | None = None,
    draws_places: bool = False,
    seed: int = 0,
) -> list[Score]:
    """A Score for each value that items have, in order of appearance, and one for `score` if it is an aggregate.

    score: the name in `aggregates.AGGREGATES` of what is no mean over items; other names are values of the items.
    draws_places: errors of means by bootstrap over places, too (`bootstrap.scores`).
    The standard error is None for fewer than two places. No items, no scores.
    """
    by_metric: dict[str, list[Item]] = {}
    for item in items:
        for metric in item.values:
            by_metric.setdefault(metric, []).append(item)
    drawn_by = seed if draws_places else None
    found = [
        _mean(members, metric=metric, task=task, model_name=model_name, drawn_by=drawn_by)
        for metric, members in by_metric.items()
    ]
    if items and score in AGGREGATES and score not in by_metric:
        aggregate = AGGREGATES[score]
        error = _bootstrapped(items, aggregate, seed=seed)
        found.append(Score(task, score, aggregate(items), error, len(items), model_name))
    return found


def rate_apart(
    items: Sequence[Item],
    is_inside: Callable[[Item], bool],
    *,
    ends: tuple[str, str] = (CLEAN, OVERLAPPING),
    **settings: Any,
) -> list[Score]:
    """The scores of the items outside a part of them, then of those inside: `acc/clean`, `acc/overlapping`.

    ends: what the names of metrics outside and inside end with.
    settings: as for `rate`. A side without items has no scores.
    """
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        sides[is_inside(item)].append(item)
    return [
        replace(each, metric=f"{each.metric}{end}")
        for end, members in zip(ends, sides, strict=True)
        for each in rate(members, **settings)
    ]


def rate_differences(
    items: Sequence[Item], others: Sequence[Item], *, task: str, model_name: str, other_name: str, seed: int = 0
) -> list[Score]:
    """What a model has more than another one in an exam that both sat, as `f1/from_raw`, question by question.

    Questions of one passage are drawn together, so that the error is that of the difference: less than those of the
    two scores would have it, since both models find the same questions hard.
    """
    by_part = {(item.place, item.part): item for item in others if item.task == task}
    paired = [(item, by_part[key]) for item in items if (key := (item.place, item.part)) in by_part]
    differences = [
        replace(item, values={name: value - other.values[name] for name, value in item.values.items()})
        for item, other in paired
    ]
    found = rate(differences, task=task, model_name=model_name, draws_places=True, seed=seed)
    return [replace(each, metric=f"{each.metric}{FROM}{other_name}") for each in found]


def average(scores: Sequence[Score], *, task: str) -> list[Score]:
    """The mean over tasks of every metric that more than one of them has, each task counting alike.

    `count` is that of all items. The tasks' errors are independent, so their squares add up.
    """
    by_metric: dict[str, list[Score]] = {}
    for each in scores:
        by_metric.setdefault(each.metric, []).append(each)
    found = []
    for metric, members in by_metric.items():
        errors = [each.stderr for each in members if each.stderr is not None]
        error = math.hypot(*errors) / len(members) if len(errors) == len(members) else None
        value = math.fsum(each.value for each in members) / len(members)
        if len(members) > 1:
            found.append(Score(task, metric, value, error, sum(each.count for each in members), members[0].model))
    return found


def _mean(items: Sequence[Item], *, metric: str, task: str, model_name: str, drawn_by: int | None) -> Score:
    places: dict[int, tuple[float, float]] = {}
    for item in items:
        weight = float(item.num_bytes) if metric == BITS else 1.0
        total, weights = places.get(item.place, (0.0, 0.0))
        places[item.place] = total + weight * item.values[metric], weights + weight
    number, weight = len(places), math.fsum(weights for _, weights in places.values())
    value = math.fsum(total for total, _ in places.values()) / weight
    error: float | None = None
    if drawn_by is not None:
        sums, counts = zip(*((total, int(weights)) for total, weights in places.values()), strict=True)
        error = scores([Measure(metric, sums, counts)], task=task, model_name=model_name, seed=drawn_by)[0].stderr
    elif number > 1:
        squares = math.fsum((total - value * weights) ** 2 for total, weights in places.values())
        error = math.sqrt(number / (number - 1) * squares) / weight
    return Score(task, metric, value, error, len(items), model_name)


def _bootstrapped(items: Sequence[Item], aggregate: Callable[[Sequence[Item]], float], *, seed: int) -> float | None:
    """The deviation of the aggregate over sets of places drawn with replacement."""
    places: dict[int, list[Item]] = {}
    for item in items:
        places.setdefault(item.place, []).append(item)
    if len(places) < 2:
        return None
    members = list(places.values())
    stream = rng(seed, "bootstrap")
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [item for _ in members for item in members[stream.randrange(len(members))]]
        drawn.append(aggregate(chosen))
    return float(f"{statistics.stdev(drawn):.{DIGITS}g}")
