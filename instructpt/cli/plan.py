"""What a plan prints: the stages of a recipe, which are there, what they would work on and take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Run, Stage, Table, differences, is_finished, may_be_replaced, tree
from instructpt.artifacts.tally import Tally
from instructpt.progress.in_words import summary
from instructpt.report.estimate import Wishes, estimates
from instructpt.report.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console


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
