"""A table on a terminal or in a pipe; `templates/macros.html` sets the same table on a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from rich.console import Console

    from instructpt.artifacts import Table

_NUMBER = re.compile(r"|[-–]|[~+-]?\d[\d,.]*(e[+-]?\d+)?( ± \d[\d.]*)?( %)?(: [a-z ()]+)?")
"""A cell that is set to the right: "~1,234", "0.87 ± 0.02", "+0.1: better", or nothing where there is no number."""
_WIDE = 16
"""Characters; a longer number may be folded on a narrow terminal."""


def printable(text: str) -> str:
    """Text whose control and format characters (terminal codes, direction marks) are spelled out."""
    return "".join(c if c in "\n\t" or c.isprintable() or category(c) == "Zs" else f"\\x{ord(c):02x}" for c in text)


def numeric(table: Table) -> list[int]:
    """The columns of numbers, from 0; the first one has names."""
    columns = list(zip(*table.rows, strict=True))
    return [n for n, cells in enumerate(columns) if n and any(cells) and all(map(_NUMBER.fullmatch, cells))]


def print_table(table: Table, *, console: Console) -> None:
    """Print `table`: on a terminal so that it fits, in a pipe as lines that are never cut or folded."""
    right = numeric(table)
    lines = [[" ".join(printable(cell).split()) for cell in row] for row in (table.columns, *table.rows)]
    if table.title:
        console.print(f"\n{printable(table.title)}", markup=False, highlight=False, soft_wrap=True)
    if console.is_terminal:
        _draw(lines, right, console)
    else:
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            cells = [
                c.rjust(w) if n in right else c.ljust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True))
            ]
            console.print("  ".join(cells).rstrip(), markup=False, highlight=False, soft_wrap=True)
    for note in table.notes:
        console.print(printable(note), markup=False, highlight=False, soft_wrap=True)


def _draw(lines: list[list[str]], right: list[int], console: Console) -> None:
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=None, pad_edge=False)
    for number, cells in enumerate(zip(*lines, strict=True)):
        is_short = number in right and max(map(len, cells)) <= _WIDE
        side = "right" if number in right else "left"
        drawn.add_column(Text(cells[0]), justify=side, overflow="fold", no_wrap=is_short)  # type: ignore[arg-type]
    for line in lines[1:]:
        drawn.add_row(*map(Text, line))
    console.print(drawn)
