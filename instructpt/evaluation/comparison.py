"""Arms side by side: means over training runs with intervals, differences paired by seed, tokens to reach a score.

    arm        seed 0   seed 1   seed 2     mean ± half of the 95 % interval
    raw         2.10     2.14     2.12      2.12 ± 0.05
    instruct    2.05     2.10     2.06      2.07 ± 0.07
    difference -0.05    -0.04    -0.06     -0.05 ± 0.02     paired: runs of one seed share the draw of their weights

Intervals are Student's t over seeds (Student, "The probable error of a mean", 1908), so they say how much another run
of the same recipe would differ. The items that are scored are the same in all runs; for other items see the standard
errors of the single scores. A difference whose interval holds zero is not shown to be one, and is never worded as one.

Tokens to reach a score are read off complete runs at several budgets, each with a schedule of its own. A checkpoint on
the way to a larger budget has not cooled down and is worse than a run that ends there, so it would flatter whichever
arm is read at its end; and training losses of arms with different texts do not compare at all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

CONFIDENCE = 0.95
LOWER_IS_BETTER = ("bits_per_byte", "perplexity", "word_perplexity", "byte_perplexity", "loss")
"""Metrics of which less is better; of all others more."""
ROUNDING = 1e-6
"""An interval narrower than this part of its mean is rounding of floats, not a spread."""
AVERAGE = "average"
"""The task that stands for the mean over benchmarks, as the paper's averages."""
HEADLINES = ("acc_norm", "acc", "f1", "exact_match")
"""A benchmark's metric that goes into the average: the first that it has."""
EXAMS = ("closed_book", "open_book")
"""How the names of an exam's tasks begin; it is no benchmark."""


@dataclass(frozen=True, slots=True)
class Result:
    """One number of one training run."""

    arm: str
    seed: int
    tokens: int
    """The budget of the run."""
    phase: str
    """What was done to the model before it was scored, such as "tuned"; "" for nothing after pre-training."""
    task: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over runs."""

    mean: float
    half: float | None
    """Half of the 95 % interval; None for a single run."""
    count: int

    @property
    def holds_zero(self) -> bool:
        """Whether the mean may as well be zero; also where there is no interval."""
        return self.half is None or abs(self.mean) <= self.half


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One metric of one task, of models of one budget."""

    phase: str
    task: str
    metric: str
    tokens: int
    arms: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    """From the first arm, paired by seed; the first arm itself is not in here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many tokens an arm needs for what the first arm has at the largest budget."""

    phase: str
    task: str
    metric: str
    arm: str
    share: Interval | None
    """Of the largest budget, over the seeds that get there; None if none does."""
    num_seeds: int
    """In all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is compared."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    measures: Sequence[Contrast] = field(default=())
    reaches: Sequence[Reach] = field(default=())


def compare(results: Iterable[Result], *, arms: Sequence[str]) -> Comparison:
    """Means of every metric at every budget, in the order of the results. The arms stand against the first of them."""
    found = list(results)
    found += _averages(found)
    values: dict[tuple[str, str, str, int], dict[str, dict[int, float]]] = {}
    for r in found:
        values.setdefault((r.phase, r.task, r.metric, r.tokens), {}).setdefault(r.arm, {})[r.seed] = r.value
    measures = []
    for (phase, task, metric, tokens), by_arm in values.items():
        first = by_arm.get(arms[0], {})
        differences = {
            arm: interval([by_seed[seed] - first[seed] for seed in by_seed if seed in first])
            for arm in arms[1:]
            if (by_seed := by_arm.get(arm, {})).keys() & first.keys()
        }
        means = {arm: interval(list(by_arm[arm].values())) for arm in arms if arm in by_arm}
        measures.append(
            Contrast(phase=phase, task=task, metric=metric, tokens=tokens, arms=means, differences=differences)
        )
    seeds = tuple(sorted({r.seed for r in found}))
    return Comparison(arms=tuple(arms), seeds=seeds, measures=measures, reaches=_reaches(found, arms))


def is_better(metric: str, difference: float) -> bool:
    """Whether a value that differs by so much from another is the better one."""
    return difference < 0 if is_lower_better(metric) else difference > 0


def is_lower_better(metric: str) -> bool:
    """Whether less of it is better; also of its part of the items, such as "bits_per_byte/clean"."""
    return metric.partition("/")[0] in LOWER_IS_BETTER


def verdict(metric: str, difference: Interval) -> str:
    """A difference in words: what it shows, and nothing else."""
    if difference.half is None:
        return "one run each: nothing shown"
    if difference.holds_zero:
        return "no difference shown"
    if difference.half < ROUNDING * abs(difference.mean):
        return "equal in all runs: nothing shown"  # few items, few values: a spread of none is an accident
    return "better" if is_better(metric, difference.mean) else "worse"


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values of at least one run, with half of its 95 % interval."""
    from scipy.stats import t as student

    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, None, count)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Interval(mean, quantile * statistics.stdev(values) / math.sqrt(count), count)


def tokens_to_reach(points: Mapping[int, float], target: float, *, lower_is_better: bool) -> float | None:
    """The fewest tokens at which a value reaches `target`, None if it does not.

    points: tokens of a run -> its value. Between two the value is a straight line over log(tokens). What the smallest
    budget has reached already counts as that budget: it may be less.
    """
    sign = -1 if lower_is_better else 1
    before: tuple[int, float] | None = None
    for tokens, value in sorted(points.items()):
        gap = sign * (value - target)
        if gap >= 0:
            if before is None or gap == 0:
                return float(tokens)
            share = before[1] / (before[1] - gap)
            return math.exp(math.log(before[0]) + share * (math.log(tokens) - math.log(before[0])))
        before = tokens, gap
    return None


def _averages(results: Sequence[Result]) -> list[Result]:
    """The mean over benchmarks of every run that has several."""
    runs: dict[tuple[str, int, int, str], dict[str, dict[str, float]]] = {}
    for r in results:
        if r.metric in HEADLINES and not r.task.startswith(EXAMS):
            runs.setdefault((r.arm, r.seed, r.tokens, r.phase), {}).setdefault(r.task, {})[r.metric] = r.value
    found = []
    for (arm, seed, tokens, phase), tasks in runs.items():
        chosen = [next(metrics[name] for name in HEADLINES if name in metrics) for metrics in tasks.values()]
        if len(chosen) > 1:
            mean = math.fsum(chosen) / len(chosen)
            found.append(Result(arm, seed, tokens, phase, AVERAGE, f"of {len(chosen)} tasks", mean))
    return found


def _reaches(results: Sequence[Result], arms: Sequence[str]) -> list[Reach]:
    curves: dict[tuple[str, str, str], dict[str, dict[int, dict[int, float]]]] = {}
    for r in results:
        of_arm = curves.setdefault((r.phase, r.task, r.metric), {}).setdefault(r.arm, {})
        of_arm.setdefault(r.seed, {})[r.tokens] = r.value
    largest = max((r.tokens for r in results), default=0)
    found = []
    for (phase, task, metric), by_arm_seed in curves.items():
        first = by_arm_seed.get(arms[0], {})
        for arm in arms:
            shares = []
            seeds = [seed for seed in by_arm_seed.get(arm, {}) if largest in first.get(seed, {})]
            for seed in seeds:
                points, target = by_arm_seed[arm][seed], first[seed][largest]
                needed = tokens_to_reach(points, target, lower_is_better=is_lower_better(metric))
                if needed is not None and len(points) > 1:
                    shares.append(needed / largest)
            if any(len(by_arm_seed[arm][seed]) > 1 for seed in seeds):
                share = interval(shares) if shares else None
                found.append(Reach(phase=phase, task=task, metric=metric, arm=arm, share=share, num_seeds=len(seeds)))
    return found
