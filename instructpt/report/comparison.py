"""Arms side by side, on page and terminal: differences from the first arm first, then every mean with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.artifacts import Table
from instructpt.evaluation.comparison import AVERAGE, Comparison, Contrast, Interval, Reach, is_lower_better, verdict
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.tables import number, percent, print_table

if TYPE_CHECKING:
    from rich.console import Console

FILE = "00000/comparison.json"
STAGE = "Compare"


def without_runs(artifacts: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """The artifacts but for the training runs and scores that a comparison sums up."""
    cells = [cell for found in artifacts.values() if found.stage == STAGE for cell in found.settings["cells"]]
    parts = [part for cell in cells for part in (cell["model"], *cell["results"]) if not isinstance(part, str)]
    inside = {part["artifact"] for part in parts}
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
                if not isinstance(cell["model"], str)
                and (cell["seed"] != first or cell["tokens"] != largest or cell["phase"])
            }
    return {name: artifact for name, artifact in artifacts.items() if name not in left_out}


def print_comparison(path: str, *, console: Console) -> None:
    """Print a `Compare` artifact: a table a kind of model, a row a metric, a column an arm."""
    found = read(load_one(path))
    for part in parts(found):
        print_table(part.table, console=console)
    for line in (*reach_lines(found), meaning(found)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def read(artifact: Artifact) -> Comparison:
    """What a `Compare` artifact holds."""
    row = orjson.loads(artifact.folder.read(FILE))
    return Comparison(
        arms=tuple(row["arms"]),
        seeds=tuple(row["seeds"]),
        measures=[
            Contrast(**{**m, "arms": _intervals(m["arms"]), "differences": _intervals(m["differences"])})
            for m in row["measures"]
        ],
        reaches=[Reach(**{**r, "share": Interval(**r["share"]) if r["share"] else None}) for r in row["reaches"]],
    )


def _intervals(row: Mapping[str, Any]) -> dict[str, Interval]:
    return {arm: Interval(**value) for arm, value in row.items()}


def meaning(found: Comparison) -> str:
    """What the numbers say, and what they do not."""
    if len(found.seeds) < 2:
        return "One run an arm: no interval, so no difference can be shown. Give two seeds or more."
    count = sum(len(measure.differences) for measure in found.measures)
    return (
        f"Mean over {len(found.seeds)} seeds ± half of the 95 % interval (Student's t). Differences from "
        f"{found.arms[0]} are paired by seed. The items are the same in all runs: intervals are about other runs, not "
        f"other items. Of {count} differences, {count / 20:.1f} would be shown by chance where there is none."
    )


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """Models of one kind (pre-trained, or one kind of tuning) at the largest budget."""

    table: Table
    charts: Mapping[str, Mapping[str, Sequence[Interval | None]]]
    """What a chart shows -> task -> the differences of each arm. The first arm is the line at zero, and keeps its place
    so that every arm has one colour."""


def parts(found: Comparison) -> Iterator[PhaseFacts]:
    """What was compared, in order."""
    largest = max((measure.tokens for measure in found.measures), default=0)
    first, *others = found.arms
    head = ("task", "metric", *found.arms, *(f"{arm} – {first}" for arm in others))
    for phase in dict.fromkeys(measure.phase for measure in found.measures):
        chosen = [m for m in found.measures if m.phase == phase and m.tokens == largest]
        title = f"{phase or 'pre-trained'}, {largest:,} tokens".capitalize()
        means = [[number(m.arms.get(arm), 4) for arm in found.arms] for m in chosen]
        changes = [[difference(m, arm, digits=4) for arm in others] for m in chosen]
        rows = [(m.task, m.metric, *mean, *change) for m, mean, change in zip(chosen, means, changes, strict=True)]
        yield PhaseFacts(Table(title, head, tuple(rows)), dict(_charts(chosen, found)))


def difference(measure: Contrast, arm: str, *, digits: int) -> str:
    """A difference from the first arm, and what it shows."""
    value = measure.differences.get(arm)
    return "–" if value is None else f"{number(value, digits, signed=True)}: {verdict(measure.metric, value)}"


def _charts(measures: Sequence[Contrast], found: Comparison) -> Iterator[tuple[str, dict[str, list[Interval | None]]]]:
    """One a metric: metrics have different units."""
    for metric in dict.fromkeys(measure.metric for measure in measures):
        groups = {m.task: [m.differences.get(arm) for arm in found.arms] for m in measures if m.metric == metric}
        if any(value for group in groups.values() for value in group):
            side = "left" if is_lower_better(metric) else "right"
            yield f"{metric}: difference from {found.arms[0]}, {side} of the line is better", groups


def budgets(found: Comparison) -> dict[str, list[tuple[float, float]]]:
    """Arm -> held-out bits per byte of complete runs by their tokens; empty unless there are several budgets."""
    series: dict[str, list[tuple[float, float]]] = {arm: [] for arm in found.arms}
    for measure in found.measures:
        if measure.task == "held_out" and not measure.phase:
            for arm, value in measure.arms.items():
                series[arm].append((measure.tokens, value.mean))
    return {arm: sorted(points) for arm, points in series.items()} if max(map(len, series.values())) > 1 else {}


def composition(artifacts: Mapping[str, Artifact]) -> Table | None:
    """The texts of every blend, copies counted."""
    rows = []
    for artifact in artifacts.values():
        counts = artifact.named_counts("characters") if artifact.stage == "Blend" else {}
        all_characters = sum(counts.values())
        rows += [(artifact.name, name, f"{n:,}", percent(n, all_characters, 1)) for name, n in counts.items()]
    return Table("What the arms are made of", ("blend", "texts", "characters", "share"), tuple(rows)) if rows else None


def reach_lines(found: Comparison) -> list[str]:
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
