"""Scores by task, metric and model, as charts and tables; and without the items that stand in the training text.

And the losses of the models' trainings, as lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson

from instructpt.artifacts import Table
from instructpt.evaluation.rating import BITS, CLEAN, FROM, NAMED, OVERLAPPING, UNNAMED
from instructpt.records import Score
from instructpt.report.artifacts import Artifact
from instructpt.report.tables import number

WINDOW_STEPS = 10
"""A point is the mean of so many: one step's loss is a matter of luck."""
Scores = Mapping[str, Mapping[str, Mapping[str, Score]]]
"""Task -> metric -> model -> score, each in the order of the scores."""

DIRECTIONS = {
    "bits_per_byte": "Bits per byte, of held-out text and of right answers: lower is better",
    "acc": "Accuracy: higher is better",
    "acc_norm": "Accuracy with scores normalized by length: higher is better",
    "gold_probability": "Probability of the right option, each by its length: higher is better",
    "gold_probability_plain": "Probability of the right option: higher is better",
    "exact_match": "Written answers that are right word for word: higher is better",
    "f1": "Words that written and right answers share (F1): higher is better",
    "containment": "Written answers that hold a right one: higher is better",
    "choice_accuracy": "Right options that are the likeliest by their length: higher is better",
}
"""What a metric's chart is called."""


def found_scores(artifacts: Mapping[str, Artifact]) -> list[Score]:
    """The scores of all models: collected ones, else those of each."""
    collected = [a for a in artifacts.values() if a.stage == "Collect"]
    sources = collected or [a for a in artifacts.values() if a.stage in ("Rate", "HeldOut")]
    return [score for artifact in sources for score in artifact.records(Score)]


def whole(scores: Iterable[Score]) -> list[Score]:
    """Those of one model over all items of their task."""
    parts = (CLEAN, OVERLAPPING, NAMED, UNNAMED, FROM)
    return [score for score in scores if not any(part in score.metric for part in parts)]


def differences(scores: Iterable[Score]) -> list[Score]:
    """Those that are differences from another model, in bits per byte."""
    return [score for score in scores if score.metric.startswith(BITS + FROM)]


def by_task(scores: Iterable[Score]) -> Scores:
    """Scores in order."""
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for score in scores:
        found.setdefault(score.task, {}).setdefault(score.metric, {})[score.model] = score
    return found


def models_of(scores: Iterable[Score]) -> list[str]:
    """The models that have scores, in order."""
    return list(dict.fromkeys(score.model for score in scores))


def groups(scores: Scores, metric: str, models: Sequence[str]) -> dict[str, list[Score | None]]:
    """Task -> the scores of one metric by model: what a chart shows."""
    found = {task: by_metric[metric] for task, by_metric in scores.items() if metric in by_metric}
    return {task: [by_model.get(model) for model in models] for task, by_model in found.items()}


def charts(scores: Scores, models: Sequence[str]) -> dict[str, dict[str, list[Score | None]]]:
    """Metric -> `groups`."""
    metrics = dict.fromkeys(metric for by_metric in scores.values() for metric in by_metric)
    return {metric: groups(scores, metric, models) for metric in metrics}


def table(scores: Iterable[Score]) -> Table:
    """A row a metric of a task, a column a model."""
    found = list(scores)
    by_name, models = by_task(found), models_of(found)
    parts = (task_table(task, by_metric, models, digits=4) for task, by_metric in by_name.items())
    rows = [(part.title, *row) for part in parts for row in part.rows]
    return Table("", ("task", "metric", *models, "items"), tuple(rows), ("value ± half of the 95 % interval",))


def task_table(
    task: str, by_metric: Mapping[str, Mapping[str, Score]], models: Sequence[str], *, digits: int = 3
) -> Table:
    """One task: a row a metric, a column a model."""
    rows = [
        (
            metric,
            *(number(by_model.get(model), digits) for model in models),
            f"{max(s.count for s in by_model.values()):,}",
        )
        for metric, by_model in by_metric.items()
    ]
    return Table(task, ("metric", *models, "items"), tuple(rows))


def contamination(scores: Sequence[Score]) -> Table | None:
    """Scores with and without the items that stand in the training text, where that was looked for."""
    rows = tuple(_with_and_without(scores))
    head = ("model", "task", "metric", "items", "overlapping", "all", "without them", "them alone", "difference")
    return Table("Items that stand in the training text", head, rows) if rows else None


def _with_and_without(scores: Sequence[Score]) -> Iterator[tuple[str, ...]]:
    by_name = {(score.model, score.task, score.metric): score for score in scores}
    for (model, task, metric), score in by_name.items():
        clean, found = (by_name.get((model, task, metric + end)) for end in (CLEAN, OVERLAPPING))
        if clean is not None or found is not None:
            change = f"{clean.value - score.value:+.4f}" if clean else "–"
            values = (number(each, 4) for each in (score, clean, found))
            yield model, task, metric, f"{score.count:,}", f"{found.count if found else 0:,}", *values, change


def curves(artifacts: Mapping[str, Artifact], *, first: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Model -> (tokens, training loss in nats).

    first: models that come first, so that one has one colour on the whole page.
    """
    series = {}
    for artifact in sorted(artifacts.values(), key=lambda a: [*first, a.name].index(a.name)):
        if artifact.stage == "Train" and artifact.folder.exists("00000/metrics.jsonl"):
            steps = [orjson.loads(line) for line in artifact.folder.read("00000/metrics.jsonl").splitlines()]
            losses = [step["loss"] for step in steps]
            series[artifact.name] = [
                (step["tokens"], sum(window) / len(window))
                for number, step in enumerate(steps, 1)
                if (window := losses[max(0, number - WINDOW_STEPS) : number])
            ]
    return series
