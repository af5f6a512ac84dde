"""Means over items that come in clusters, with standard errors by bootstrap over the clusters.

What is measured about pairs is a mean over items (pairs, questions, words), and items of one passage are alike. So
whole passages are drawn with replacement, as many as there are, and the mean is taken anew for each drawn set:

    passage      0      1      2                    drawn (1, 1, 0)     (1.0 + 1.0 + 1.5) / (1 + 1 + 3) = 0.70
    sums         1.5    1.0    0.0                  drawn (2, 0, 2)     ...
    counts       3      1      2                    ...
    mean         2.5 / 6 = 0.42                     standard error = deviation of the drawn means

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.4, with clusters as the units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from instructpt.records import Score
from instructpt.seeds import rng

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1_000
"""The error of a standard error from so many is about 2 in 100."""
DIGITS = 6
"""Of a standard error: sums of floats differ beyond that from one machine to the next."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over items, kept by passage."""

    metric: str
    sums: tuple[float, ...]
    """Of the items' values, one a passage."""
    counts: tuple[int, ...]
    """Of items, one a passage; a passage may have none."""


def measure(metric: str, values: Iterable[Sequence[float]]) -> Measure:
    """The mean of `values`: for each passage, the value of each of its items."""
    lists = list(values)
    return Measure(metric, tuple(math.fsum(items) for items in lists), tuple(len(items) for items in lists))


def scores(
    measures: Sequence[Measure], *, task: str, model_name: str, seed: int, resamples: int = RESAMPLES
) -> list[Score]:
    """A Score a measure, in order; `count` is the number of items.

    A measure without items has no score: there is nothing to take a mean of. The standard error is None for fewer than
    two passages. Measures over the same number of passages, of one model or of several, are drawn alike.
    """
    found: list[Score] = []
    drawn: dict[int, np.ndarray] = {}
    for item in measures:
        if count := sum(item.counts):
            number = len(item.counts)
            if number > 1 and number not in drawn:
                drawn[number] = _draw(number, seed=seed, resamples=resamples)
            stderr = _standard_error(item, drawn[number]) if number > 1 else None
            found.append(Score(task, item.metric, math.fsum(item.sums) / count, stderr, count, model_name))
    return found


def _draw(number: int, *, seed: int, resamples: int) -> np.ndarray:
    """How often each passage is in each drawn set, float64, [resamples, number]."""
    import numpy as np

    # Raw bytes of the named stream, not a generator of numpy's: its draws may change from version to version.
    raw = np.frombuffer(rng(seed, "bootstrap").randbytes(8 * resamples * number), dtype="<u8")
    places = (((raw >> np.uint64(32)) * np.uint64(number)) >> np.uint64(32)).astype(np.int64).reshape(-1, number)
    return np.stack([np.bincount(row, minlength=number) for row in places]).astype(np.float64)


def _standard_error(item: Measure, drawn_RN: np.ndarray) -> float | None:
    import numpy as np

    counts = drawn_RN @ np.array(item.counts, np.float64)
    filled = counts > 0
    means = (drawn_RN @ np.array(item.sums, np.float64))[filled] / counts[filled]
    return float(f"{means.std(ddof=1):.{DIGITS}g}") if len(means) > 1 else None
