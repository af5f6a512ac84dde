"""Arms side by side, on page and terminal: differences from the first arm first, then every mean with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.evaluation.comparison import AVERAGE, LOWER_IS_BETTER, Comparison, Interval, Measure, Reach, verdict
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.charts import Bar, lines, whiskers
from instructpt.report.page import Section, escape, legend, printable, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FILE = "00000/comparison.json"
STAGE = "Compare"


def comparison(artifacts: Mapping[str, Artifact]) -> Section:
    """What was compared, what it shows, and every number."""
    bodies = [_body(read(artifact)) for artifact in artifacts.values() if artifact.stage == STAGE]
    return Section("Comparison", "".join(bodies) + _composition(artifacts) if bodies else "")


def without_runs(artifacts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The artifacts but for the training runs and scores that a comparison sums up."""
    inside = {name for artifact in artifacts.values() if artifact.stage == STAGE for name in artifact.inputs}
    return {name: artifact for name, artifact in artifacts.items() if name not in inside}


def without_repeats(artifacts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The artifacts but for training runs of a comparison beyond one an arm: its first seed, its whole budget."""
    left_out: set[str] = set()
    for artifact in artifacts.values():
        if artifact.stage == STAGE:
            cells: Sequence[Mapping[str, Any]] = artifact.settings["cells"]
            first, largest = min(cell["seed"] for cell in cells), max(cell["tokens"] for cell in cells)
            left_out |= {
                cell["model"]["artifact"]
                for cell in cells
                if cell["seed"] != first or cell["tokens"] != largest or cell["phase"]
            }
    return {name: artifact for name, artifact in artifacts.items() if name not in left_out}


def print_comparison(path: str, *, console: Console) -> None:
    """Print a `Compare` artifact: a table a kind of model, a row a metric, a column an arm."""
    found = read(load_one(path))
    largest = max((measure.tokens for measure in found.measures), default=0)
    for phase in dict.fromkeys(measure.phase for measure in found.measures):
        chosen = [m for m in found.measures if m.phase == phase and m.tokens == largest]
        console.print(_terminal_table(chosen, found, title=f"{phase or 'pre-trained'}, {largest:,} tokens"))
    for line in _reach_lines(found):
        console.print(line, markup=False, highlight=False)
    console.print(_meaning(found), style="dim", markup=False, highlight=False)


def read(artifact: Artifact) -> Comparison:
    """What a `Compare` artifact holds."""
    row = orjson.loads(artifact.folder.read(FILE))
    return Comparison(
        arms=tuple(row["arms"]),
        seeds=tuple(row["seeds"]),
        measures=[
            Measure(**{**m, "arms": _intervals(m["arms"]), "differences": _intervals(m["differences"])})
            for m in row["measures"]
        ],
        reaches=[Reach(**{**r, "share": Interval(**r["share"]) if r["share"] else None}) for r in row["reaches"]],
    )


def _intervals(row: Mapping[str, Any]) -> dict[str, Interval]:
    return {arm: Interval(**value) for arm, value in row.items()}


def _body(found: Comparison) -> str:
    largest = max((measure.tokens for measure in found.measures), default=0)
    body = f"<p>{escape(_meaning(found))}</p>"
    for phase in dict.fromkeys(measure.phase for measure in found.measures):
        chosen = [m for m in found.measures if m.phase == phase and m.tokens == largest]
        title = f"{phase or 'pre-trained'}, {largest:,} tokens"
        body += f"<h3>{escape(title.capitalize())}</h3>{_charts(chosen, found)}{_table(chosen, found)}"
    return body + _curves(found) + _reaches(found)


def _meaning(found: Comparison) -> str:
    if len(found.seeds) < 2:
        return "One run an arm: no interval, so no difference can be shown. Give two seeds or more."
    number = sum(len(measure.differences) for measure in found.measures)
    return (
        f"Mean over {len(found.seeds)} seeds ± half of the 95 % interval (Student's t). Differences from "
        f"{found.arms[0]} are paired by seed. The items are the same in all runs: intervals are about other runs, not "
        f"other items. Of {number} differences, {number / 20:.1f} would be shown by chance where there is none."
    )


def _charts(measures: Sequence[Measure], found: Comparison) -> str:
    """Differences from the first arm, a chart a metric: metrics have different units."""
    if not any(measure.differences for measure in measures):
        return ""
    body = legend(found.arms)
    for metric in dict.fromkeys(measure.metric for measure in measures):
        # The first arm is the line at zero, and keeps its place so that every arm has one colour.
        groups = {m.task: [_bar(m.differences.get(arm)) for arm in found.arms] for m in measures if m.metric == metric}
        if any(bar for group in groups.values() for bar in group):
            side = "left of the line is better" if metric in LOWER_IS_BETTER else "right of the line is better"
            label = f"{metric}: difference from {found.arms[0]}, {side}"
            body += f"<p class=soft>{escape(label)}</p>{whiskers(groups, label=label)}"
    return body


def _bar(difference: Interval | None) -> Bar | None:
    return None if difference is None else Bar(difference.mean, difference.half)


def _table(measures: Sequence[Measure], found: Comparison) -> str:
    head = ["task", "metric", *found.arms, *(f"{arm} – {found.arms[0]}" for arm in found.arms[1:])]
    return table(head, _rows(measures, found), numeric=range(2, len(head)))


def _rows(measures: Sequence[Measure], found: Comparison) -> Iterator[list[str]]:
    for measure in measures:
        means = [_number(measure.arms.get(arm)) for arm in found.arms]
        yield [measure.task, measure.metric, *means, *(_said(measure, arm) for arm in found.arms[1:])]


def _said(measure: Measure, arm: str) -> str:
    """A difference and what it shows."""
    difference = measure.differences.get(arm)
    if difference is None:
        return "–"
    return f"{_number(difference, signed=True)}, {verdict(measure.metric, difference)}"


def _number(value: Interval | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    rounded = round(value.mean, 4) + 0.0  # no "-0.0000"
    mean = f"{rounded:+.4f}" if signed else f"{rounded:.4f}"
    return mean if value.half is None else f"{mean} ± {value.half:.4f}"


def _curves(found: Comparison) -> str:
    """Held-out bits per byte of complete runs over their budgets, where there are several."""
    series: dict[str, list[tuple[float, float]]] = {arm: [] for arm in found.arms}
    for measure in found.measures:
        if measure.task == "held_out" and not measure.phase:
            for arm, value in measure.arms.items():
                series[arm].append((measure.tokens, value.mean))
    if max((len(points) for points in series.values()), default=0) < 2:
        return ""
    chart = lines({arm: sorted(points) for arm, points in series.items()}, x_label="tokens", y_label="bits per byte")
    return f"<h3>Held-out text by budget, each a complete run</h3>{legend(found.arms)}{chart}"


def _composition(artifacts: Mapping[str, Artifact]) -> str:
    """The texts of every blend, copies counted."""
    rows = []
    for artifact in artifacts.values():
        parts = artifact.named_counts("characters") if artifact.stage == "Blend" else {}
        whole = sum(parts.values())
        rows += [
            (artifact.name, name, f"{number:,}", f"{100 * number / whole:.1f} %") for name, number in parts.items()
        ]
    head = ("blend", "texts", "characters", "share")
    return f"<h3>What the arms are made of</h3>{table(head, rows, numeric=(2, 3))}" if rows else ""


def _reaches(found: Comparison) -> str:
    said = _reach_lines(found)
    if not said:
        return (
            "<p class=soft>How many tokens an arm needs for what the first has is read off complete runs at several "
            "budgets: --budget-shares 0.25 0.5 1.</p>"
        )
    items = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f"<h3>Tokens to reach what {escape(found.arms[0])} has at the whole budget</h3><ul>{items}</ul>"


def _reach_lines(found: Comparison) -> list[str]:
    """A line an arm but the first, for held-out text and the benchmarks' average."""
    said = []
    for reach in found.reaches:
        if reach.arm == found.arms[0] or reach.task not in ("held_out", AVERAGE):
            continue
        what = f"{reach.arm}{f', {reach.phase}' if reach.phase else ''}, {reach.task} {reach.metric}"
        share, num_reached = reach.share, 0 if reach.share is None else reach.share.count
        if share is None:
            said.append(f"{what}: not reached in {reach.num_seeds} runs")
            continue
        half = "" if share.half is None else f" ± {100 * share.half:.0f}"
        said.append(f"{what}: {100 * share.mean:.0f}{half} % of the tokens, in {num_reached} of {reach.num_seeds} runs")
    return said


def _terminal_table(measures: Sequence[Measure], found: Comparison, *, title: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, title=title, title_justify="left")
    heads = ["", "", *found.arms, *(f"{arm} - {found.arms[0]}" for arm in found.arms[1:])]
    for place, head in enumerate(heads):
        shown.add_column(Text(printable(head), overflow="fold"), justify="left" if place < 2 else "right")
    for row in _rows(measures, found):
        shown.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
    return shown
