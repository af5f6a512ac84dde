"""Measured values, and tables of them, on a terminal or in a pipe; `templates/macros.html` sets the same on a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import category

from instructpt.evaluation.comparison import Interval
from instructpt.records import Score

if TYPE_CHECKING:
    from rich.console import Console

    from instructpt.artifacts import Table

Z_95 = 1.96
"""Standard errors in half of a 95 % interval."""
_NUMBER = re.compile(r"|[-–]|[~+-]?\d[\d,.]*(e[+-]?\d+)?( ± \d[\d.]*)?( %)?(: [a-z ()]+)?")
"""A cell that is set to the right: "~1,234", "0.87 ± 0.02", "+0.1: better", or nothing where there is no number."""
_WIDE = 16
"""Characters; a longer number may be folded on a narrow terminal."""


def half_width(value: Score | Interval | float) -> float | None:
    """Half of the 95 % interval; None if there is none."""
    if isinstance(value, int | float):
        return None
    if isinstance(value, Interval):
        return value.half
    return None if value.stderr is None else Z_95 * value.stderr


def middle(value: Score | Interval | float) -> float:
    """The value itself."""
    if isinstance(value, int | float):
        return value
    return value.mean if isinstance(value, Interval) else value.value


def number(value: Score | Interval | float | None, digits: int, *, signed: bool = False) -> str:
    """The value ± half of its interval: "0.871 ± 0.020"; a dash where there is none."""
    if value is None:
        return "–"
    rounded, half = round(middle(value), digits) + 0.0, half_width(value)  # + 0.0: no "-0.000"
    shown = f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"
    return shown if half is None else f"{shown} ± {half:.{digits}f}"


def percent(part: float, whole: float, digits: int = 0) -> str:
    """A share: "12 %"; a small one that would read as none is "under 1 %"."""
    share = 100 * part / max(1, whole)
    return "under 1 %" if not digits and 0 < share < 0.5 else f"{share:.{digits}f} %"


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
