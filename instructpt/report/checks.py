"""What checks did to a corpus, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructpt.report.artifacts import load_one
from instructpt.report.page import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_REASONS = {"grounded": "not_grounded"}
"""Of checks whose reason is not called as they are."""
_ASKED = ("inconsistent", "judged_wrong")


def print_checks(path: str, *, console: Console) -> None:
    """Print what a `Verify`, `Consistency` or `Judged` artifact left out, a line a check, each with an example.

    Raises ArtifactError if it is not finished.
    """
    artifact = load_one(path)
    left_out, failed = artifact.named_counts("left_out"), artifact.named_counts("failed")
    checks = artifact.settings.get("checks") or [reason for reason in _ASKED if reason in left_out]
    num_pairs = artifact.tally.counts.get("checked", 0)
    table = _table("check", "fail", "left out", "share", "for example", numeric=range(1, 4))
    for check in checks:
        reason = _REASONS.get(check, check)
        number = left_out.get(reason, 0)
        if failed.get(check, number):
            example = next(iter(artifact.tally.samples.get(f"left_out/{reason}", ())), "")
            table.add_row(
                check,
                *_numbers(failed.get(check, number), number, num_pairs),
                printable(_line(example, characters=console.width - 48)),
            )
    table.add_row("all", *_numbers(None, sum(left_out.values()), num_pairs), "")
    console.print(f"{artifact.name}: {num_pairs:,} pairs", markup=False)
    console.print(table)
    if passed := [check for check in checks if not failed.get(check, left_out.get(_REASONS.get(check, check), 0))]:
        console.print(f"No pair failed {', '.join(passed)}.", markup=False)
    for name, number in sorted(artifact.named_counts("unanswered").items()):
        console.print(f"{number:,} pairs are kept without an opinion: {name}", markup=False)


def _numbers(failed: int | None, left_out: int, num_pairs: int) -> tuple[str, str, str]:
    share = f"{100 * left_out / num_pairs:.2f} %" if num_pairs else ""
    return "" if failed is None else f"{failed:,}", f"{left_out:,}", share


def _line(text: str, *, characters: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= characters else f"{plain[: max(0, characters - 1)]}…"


def _table(*heads: str, numeric: range) -> Table:
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False)
    for place in numeric:
        table.columns[place].justify = "right"
    return table
