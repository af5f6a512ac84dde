"""How good a synthesizer is, on page and terminal: first the pairs that it wrote, then numbers with error bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instructpt.evaluation.exam import spread
from instructpt.evaluation.quality import HEADLINES, METRICS
from instructpt.records import Group, Pair, Score, Shot
from instructpt.report import cells
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.charts import bars
from instructpt.report.page import Html, Section, escape, legend, printable, table
from instructpt.words.overlap import is_span, looks_extractive, supported, words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NUM_SAMPLES = 12
"""Passages shown, evenly spaced over all."""
DOMAINS = "passages/"
"""How the names of exams on one domain of raw text begin."""
Scores = Mapping[str, Mapping[str, Mapping[str, Score]]]
"""Task -> metric -> model -> score, each in the order of the scores."""


def quality(artifacts: Mapping[str, Artifact]) -> Section:
    """Passages with the pairs that the model wrote, headline numbers side by side, and every number."""
    body = ""
    for artifact in artifacts.values():
        if artifact.stage != "Quality":
            continue
        scores = list(artifact.records(Score))
        by_task = _by_task(scores)
        models = list(dict.fromkeys(score.model for score in scores))
        body += (
            _samples(artifact, artifacts) + _charts(by_task, models) + _steering(by_task) + _numbers(by_task, models)
        )
    return Section("Quality of the synthesizer", body)


def print_quality(path: str, *, console: Console) -> None:
    """Print the scores of a `Quality` artifact: a table an exam, a row a metric, a column a model.

    Of a single domain only the headlines; formats and categories are in the report alone.
    """
    scores = list(load_one(path).records(Score))
    models = list(dict.fromkeys(score.model for score in scores))
    for task, by_metric in _by_task(scores).items():
        wanted = HEADLINES if task.startswith(DOMAINS) else METRICS
        chosen = {metric: found for metric, found in by_metric.items() if metric in wanted or "asked/" in metric}
        console.print(_terminal_table(task, chosen, models))
    console.print("value ± half of the 95 % interval", style="dim")


def _terminal_table(task: str, by_metric: Mapping[str, Mapping[str, Score]], models: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    shown.add_column(Text(printable(task), style="bold"))
    present = [model for model in models if any(model in by_model for by_model in by_metric.values())]
    for model in present:
        shown.add_column(Text(printable(model), overflow="fold"), justify="right")
    shown.add_column("items", justify="right")
    for metric, by_model in by_metric.items():
        count = max(score.count for score in by_model.values())
        values = [cells.number(by_model.get(model), digits=3) for model in present]
        shown.add_row(Text(printable(metric)), *values, f"{count:,}")
    return shown


def _by_task(scores: Sequence[Score]) -> Scores:
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for score in scores:
        found.setdefault(score.task, {}).setdefault(score.metric, {})[score.model] = score
    return found


def _charts(by_task: Scores, models: Sequence[str]) -> str:
    """A chart a headline metric, and below it one of the domains."""
    body = legend(models)
    for metric in HEADLINES:
        groups = {
            task: [cells.bar(by_metric[metric].get(model)) for model in models]
            for task, by_metric in by_task.items()
            if metric in by_metric
        }
        domains = {task.rpartition("/")[2]: found for task, found in groups.items() if task.startswith(DOMAINS)}
        exams = {task: found for task, found in groups.items() if not task.startswith(DOMAINS)}
        if exams:
            body += f"<h3>{escape(metric)}</h3><p class=soft>{escape(METRICS[metric])}</p>"
            body += bars(exams, y_label=metric) + (bars(domains, y_label=metric) if domains else "")
    return body


def _steering(by_task: Scores) -> str:
    """Asked shares against written ones, where categories were asked for; beside them the share without asking."""
    parts = []
    for task, by_metric in by_task.items():
        asked = {metric.partition("/")[2]: found for metric, found in by_metric.items() if metric.startswith("asked/")}
        rows = []
        for name, by_model in asked.items():
            for model, score in by_model.items():
                written = by_metric.get(f"category/{name}", {}).get(model)
                unasked = by_task.get("passages", {}).get(f"category/{name}", {}).get(model)
                rows.append(
                    (name, f"{score.value:.3f}", cells.number(written, digits=3), cells.number(unasked, digits=3))
                )
        if rows:
            head = ("category", "share asked for", "share of pairs", "share of pairs when nothing is asked for")
            parts.append(f"<h3>{escape(task)}: asked for and written</h3>" + table(head, rows, numeric=(1, 2, 3)))
    return "".join(parts)


def _numbers(by_task: Scores, models: Sequence[str]) -> str:
    parts = []
    for task, by_metric in by_task.items():
        rows = [
            (
                metric,
                *(cells.number(by_model.get(model), digits=3) for model in models),
                f"{max(s.count for s in by_model.values()):,}",
            )
            for metric, by_model in by_metric.items()
        ]
        columns = table(("metric", *models, "items"), rows, numeric=range(1, 2 + len(models)))
        parts.append(f"<details><summary>{escape(task)}</summary>{columns}</details>")
    note = "<p class=soft>Value ± half of the 95 % interval: 1.96 standard errors, by bootstrap over passages.</p>"
    meaning = table(("metric", "what it is"), METRICS.items())
    return f"<h3>All numbers</h3>{note}{''.join(parts)}<details><summary>What they mean</summary>{meaning}</details>"


def _samples(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> str:
    """Raw passages with what the first model that was examined on them wrote."""
    trials: Sequence[Mapping[str, Any]] = artifact.settings["trials"]
    for trial in trials:
        written = artifacts.get((trial["pairs"] or {}).get("artifact", ""))
        if trial["by_domain"] and written is not None:
            shown = "".join(_sample(group.shots[0]) for group in _chosen(written))
            intro = (
                f"<p class=soft>{NUM_SAMPLES} passages, evenly spaced over {escape(trial['task'])}, with all that "
                f"{escape(trial['model'])} wrote for them.</p>"
            )
            return f"<h3>What it writes</h3>{intro}{shown}" if shown else ""
    return ""


def _chosen(written: Artifact) -> Iterator[Group]:
    places = frozenset(spread(written.tally.made, number=NUM_SAMPLES))
    yield from (group for place, group in enumerate(written.records(Group)) if place in places)


def _sample(shot: Shot) -> str:
    text = words(shot.document.text)
    rows: list[Sequence[object]] = [
        (cells.question(pair), pair.answer, pair.category or "", _found(pair, text)) for pair in shot.pairs
    ]
    rows += [(Html(f"<span class=soft>{escape(r.text)}</span>"), "", "", f"no pair: {r.reason}") for r in shot.rejects]
    pairs = table(("question", "answer", "category", "answer in the passage"), rows)
    where = f"{escape(shot.document.id)} <span class=soft>{escape(shot.document.source)}</span>"
    both = f'<div class="two"><div><pre>{escape(shot.document.text)}</pre></div><div>{pairs}</div></div>'
    return f"<details open><summary>{where}</summary>{both}</details>"


def _found(pair: Pair, text: Sequence[str]) -> str:
    if pair.rationale is not None or not looks_extractive(pair.answer, pair.options):
        return ""
    if is_span(pair.answer, text):
        return "word for word"
    return "its words" if supported(pair.answer, text) else "no"
