"""The table of a stage that is planned, on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from instructpt.report.page import printable

if TYPE_CHECKING:
    from rich.console import Console

    from instructpt.artifacts import Outline


def print_outline(outline: Outline, *, console: Console) -> None:
    """Print `outline`: on a terminal as a table that fits it, in a pipe as lines that are never cut or folded."""
    console.print(f"\n{outline.title}", markup=False, highlight=False, soft_wrap=True)
    lines = [[" ".join(printable(cell).split()) for cell in row] for row in (outline.columns, *outline.rows)]
    columns = list(zip(*lines, strict=True))
    numeric = [all(map(_is_number, cells)) for _, *cells in columns]
    if console.is_terminal:
        _draw(lines, numeric, console)
    else:
        widths = [max(map(len, cells)) for cells in columns]
        for line in lines:
            cells = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, widths, numeric, strict=True)]
            console.print("  ".join(cells).rstrip(), markup=False, highlight=False, soft_wrap=True)
    for note in outline.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _draw(lines: Sequence[Sequence[str]], numeric: Sequence[bool], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name, is_numeric in zip(lines[0], numeric, strict=True):
        table.add_column(name, justify="right" if is_numeric else "left", overflow="fold", no_wrap=is_numeric)
    for line in lines[1:]:
        table.add_row(*map(Text, line))
    console.print(table)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.removeprefix("~").replace(",", "").isdigit()
