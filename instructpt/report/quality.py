"""How good a synthesizer is, on page and terminal: first the pairs that it wrote, then numbers with error bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Table
from instructpt.evaluation.drawing import spread
from instructpt.evaluation.quality import HEADLINES, METRICS
from instructpt.records import Group, Pair, Score, Shot
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.scores import Scores, by_task, groups, models_of, task_table
from instructpt.report.tables import number, print_table
from instructpt.words.overlap import is_span, looks_extractive, supported, words

if TYPE_CHECKING:
    from rich.console import Console

NUM_SAMPLES = 12
"""Passages shown, evenly spaced over all."""
DOMAINS = "passages/"
"""How the names of exams on one domain of raw text begin."""


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """A synthesizer's exams, side by side with those of the models that it is compared with."""

    models: Sequence[str]
    scores: Scores
    sample_task: str
    sample_model: str
    samples: Sequence[Shot]
    """Raw passages with what the first model that was examined on them wrote."""

    def charts(self) -> Iterator[tuple[str, dict[str, list[Score | None]], dict[str, list[Score | None]]]]:
        """Each headline metric: of the exams, and of the domains of raw text."""
        for metric in HEADLINES:
            found = groups(self.scores, metric, self.models)
            domains = {task.rpartition("/")[2]: each for task, each in found.items() if task.startswith(DOMAINS)}
            if exams := {task: each for task, each in found.items() if not task.startswith(DOMAINS)}:
                yield metric, exams, domains

    def steering(self) -> Iterator[Table]:
        """Asked shares against written ones, where categories were asked for; beside them the share without asking."""
        head = ("category", "share asked for", "share of pairs", "share of pairs when nothing is asked for")
        unasked = self.scores.get("passages", {})
        for task, by_metric in self.scores.items():
            rows = []
            for metric, by_model in by_metric.items():
                if metric.startswith("asked/"):
                    name = metric.partition("/")[2]
                    for model, score in by_model.items():
                        written = (each.get(f"category/{name}", {}).get(model) for each in (by_metric, unasked))
                        rows.append((name, f"{score.value:.3f}", *(number(share, 3) for share in written)))
            if rows:
                yield Table(f"{task}: asked for and written", head, tuple(rows))

    def tables(self) -> Iterator[Table]:
        """All numbers, a table an exam."""
        for task, by_metric in self.scores.items():
            yield task_table(task, by_metric, self.models)


def qualities(artifacts: Mapping[str, Artifact]) -> list[QualityFacts]:
    """What the `Quality` artifacts hold."""
    found = []
    for artifact in artifacts.values():
        if artifact.stage == "Quality":
            scores = list(artifact.records(Score))
            found.append(QualityFacts(models_of(scores), by_task(scores), *_samples(artifact, artifacts)))
    return found


def print_quality(path: str, *, console: Console) -> None:
    """Print the scores of a `Quality` artifact: a table an exam, a row a metric, a column a model.

    Of a single domain only the headlines; formats and categories are in the report alone.
    """
    scores = list(load_one(path).records(Score))
    for task, by_metric in by_task(scores).items():
        wanted = HEADLINES if task.startswith(DOMAINS) else METRICS
        chosen = {metric: found for metric, found in by_metric.items() if metric in wanted or "asked/" in metric}
        present = [model for model in models_of(scores) if any(model in by_model for by_model in chosen.values())]
        print_table(task_table(task, chosen, present), console=console)
    console.print("value ± half of the 95 % interval", style="dim")


def _samples(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> tuple[str, str, list[Shot]]:
    trials: Sequence[Mapping[str, Any]] = artifact.settings["trials"]
    for trial in trials:
        written = artifacts.get((trial["pairs"] or {}).get("artifact", ""))
        if trial["by_domain"] and written is not None:
            places = frozenset(spread(written.tally.made, number=NUM_SAMPLES))
            chosen = [group.shots[0] for place, group in enumerate(written.records(Group)) if place in places]
            return trial["task"], str(trial["model"]), chosen
    return "", "", []


def where_found(pair: Pair, text: str) -> str:
    """Whether a passage holds the answer of a pair that should be taken from it."""
    if pair.rationale is not None or not looks_extractive(pair.answer, pair.options):
        return ""
    held = words(text)
    if is_span(pair.answer, held):
        return "word for word"
    return "its words" if supported(pair.answer, held) else "no"
