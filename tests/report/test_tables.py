"""A table: whole lines in a pipe, a table that fits on a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from instructpt.artifacts import Table
from instructpt.report.tables import numeric, print_table

NAME = "a data set with a very long name indeed, longer than any terminal " * 2
TABLE = Table(
    "the collection", ("data set", "pairs"), ((NAME, "~1,234"), ("[red]x[/red]\x1b[31m", "-")), ("- not at hand",)
)


def printed(*, is_terminal: bool) -> list[str]:
    file = StringIO()
    print_table(TABLE, console=Console(file=file, force_terminal=is_terminal, width=60, color_system=None))
    return file.getvalue().splitlines()


def test_in_a_pipe_a_row_is_a_line_and_columns_are_aligned() -> None:
    _, title, head, first, second, note = printed(is_terminal=False)
    assert (title, note) == ("the collection", "- not at hand")
    assert first.startswith(NAME.strip())
    assert len(head) == len(first) == len(second), "numbers are set to the right"
    assert second.startswith("[red]x[/red]\\x1b[31m ")


def test_on_a_terminal_it_fits_and_obeys_nothing_that_stands_in_it() -> None:
    lines = printed(is_terminal=True)
    assert max(map(len, lines[2:-1])) <= 60
    assert any("[red]x[/red]\\x1b[31m" in line for line in lines)
    assert any("~1,234" in line for line in lines)


@pytest.mark.parametrize(
    ("cells", "is_numeric"),
    [
        (("1,234", "~12"), True),
        (("0.871 ± 0.020", "–"), True),
        (("-0.0123 ± 0.0456: no difference shown", "+0.1: better"), True),
        (("12.5 %", "under 1 %"), False),
        (("9.98e+12", ""), True),
        (("", ""), False),
        (("1843", "in 1843"), False),
        (("1843, a dry year", "1843"), False),
    ],
)
def test_columns_of_numbers_are_set_to_the_right(cells: tuple[str, str], is_numeric: bool) -> None:
    assert (1 in numeric(Table("", ("name", "x"), (("a", cells[0]), ("b", cells[1]))))) == is_numeric
