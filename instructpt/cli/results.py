"""What a command prints once its artifact is there: scores, checks, matches, or where the records lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Stage, tree

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
        from instructpt.report.checks import print_checks

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
