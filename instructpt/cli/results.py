"""What a command prints: the report, what was left out, scores, checks, matches, or where the records lie; what a plan
would make."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Run, Stage, Table, differences, is_finished, may_be_replaced, tree
from instructpt.artifacts.tally import Progress, Tally
from instructpt.errors import ArtifactError
from instructpt.progress.view import summary
from instructpt.report.estimate import Wishes, estimates
from instructpt.report.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console


def print_result(stage: Stage[Any], out: str, *, console: Console) -> None:
    """Print what a person wants to see of a finished stage in the folder `out`; nothing of most stages."""
    name, folder = type(stage).__name__, f"{out}/{stage.name}"
    if name in ("Decontaminate", "Overlap"):
        from instructpt.recipes.decontaminate import MATCHES
        from instructpt.report.matches import print_matches

        print_matches(f"{out}/{MATCHES}", console=console)
    elif name in ("Verify", "Consistency", "Judged"):
        from instructpt.report.show import print_checks

        for item in tree(stage):
            if type(item).__name__ in ("Verify", "Consistency", "Judged"):
                print_checks(f"{out}/{item.name}", console=console)
    elif name == "Quality":
        from instructpt.report.quality import print_quality

        print_quality(folder, console=console)
    elif name == "Rate":
        from instructpt.report.show import show

        show(folder, number=1000, console=console)
    elif name == "Compare":
        from instructpt.report.comparison import print_comparison

        print_comparison(folder, console=console)
    if name in ("Template", "Decontaminate", "Overlap", "Verify", "Consistency", "Judged"):
        said = f"{stage.makes.capitalize()}: {folder}/*.parquet (look: instructpt show {folder})"
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def say_what_is_left(stage: Stage[Any], run: Run) -> None:
    """Print how much the stages kept, and on standard error a warning if that is little."""
    from instructpt.artifacts.losses import last_words, losses
    from instructpt.templates.stages import Template

    found = [loss for item in tree(stage) for loss in losses(item, Tally.from_row(run.manifest(item)["tally"]))]
    line, warning = last_words(found)
    print(line)
    for item in tree(stage):
        if isinstance(item, Template) and (told := _spread(item.groups, run)):
            print(told)
    if warning:
        print(f"instructpt: {warning}", file=sys.stderr)


def _spread(groups: Stage[Any], run: Run) -> str | None:
    """How many pairs a passage has and how much of it they need, where a stage counted that."""
    from instructpt.words.evidence import MIN_COVERED_SENTENCES

    tally = Tally.from_row(run.manifest(groups)["tally"])
    covered, total = (tally.counts.get(name, 0) for name in ("sentences_covered", "sentences"))
    if not total or not tally.made:
        return None
    a_passage = tally.counts.get("pairs", 0) / tally.made
    return (
        f"Pairs: {a_passage:.1f} a passage in {groups.name}; of passages with {MIN_COVERED_SENTENCES} sentences and "
        f"more, some pair needs {covered:,} of {total:,} sentences ({covered / total:.0%})"
    )


def write_report(root: str, *, title: str) -> str:
    """Write report.html into a folder; its path. Raises ArtifactError if there is no such folder."""
    from instructpt.artifacts.storage import Folder
    from instructpt.report import render

    folder = Folder.at(root)
    if not folder.exists():
        raise ArtifactError(f"no folder {root}: give the one that --out named")
    folder.write("report.html", render(root, title=title).encode())
    return folder.join("report.html")


class Told(Progress):
    """Says which stage is tried on the sample."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """A line for each stage, on standard error."""
        self.console.print(f"trying {name} on the sample (--sample 0 does without)", markup=False, highlight=False)


def print_plan(stage: Stage[Any], run: Run, wishes: Wishes, *, console: Console) -> None:
    """Print the state of every stage, then their outlines, then what those that ask or train a model will take."""
    stages = tree(stage)
    width = max(len(item.name) for item in stages)
    for item in stages:
        state, said = state_of(item, run)
        line = f"{state:<7}  {item.name:<{width}} {type(item).__name__:<15} {said}".rstrip()
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    told: list[Table] = []
    for item in stages:
        if (outline := item.outline(run)) and outline not in told:  # models of one experiment say the same
            told.append(outline)
            print_table(outline, console=console)
    for outline in estimates(stage, run, wishes):
        print_table(outline, console=console)


def state_of(stage: Stage[Any], run: Run) -> tuple[str, str]:
    """ "done", "missing", "anew" or "refused", and the counts or what was changed."""
    if changed := differences(stage, run):
        return "anew" if may_be_replaced(
            stage, run
        ) else "refused", f"was made with other settings: {'; '.join(changed[:5])}"
    if is_finished(stage, run):
        return "done", summary(Tally.from_row(run.manifest(stage)["tally"]))
    return "missing", ""
