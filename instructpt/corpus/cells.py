"""CSV and TSV: a header, then rows of cells, quoted where a cell holds the separator, quotes or line breaks."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Iterator

from instructpt.corpus.encodings import encoding_of, opened_utf8
from instructpt.corpus.parts import Part, Row, in_order
from instructpt.errors import InputError
from instructpt.files.finding import head
from instructpt.records import Reject

_LARGEST_CELL = 1 << 26
"""Characters; more is a quote that is never closed."""
_SEPARATORS = ",;\t|"
_SAMPLE_CHARACTERS = 1000


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The rows of a part as strings by column, named by their number in the file, the header not counted.

    A row of fewer cells lacks the last columns; one of more is a reject. The separator is the one of , ; tab and |
    that gives the header most columns. Raises InputError for a quote that is never closed.
    """
    del text_field

    def begin() -> Generator[tuple[int, tuple[int, Row | Reject]], None, None]:
        csv.field_size_limit(_LARGEST_CELL)
        position = 0

        def counted(lines: Iterable[str]) -> Iterator[str]:
            nonlocal position
            for line in lines:
                position += len(line)
                yield line

        with opened_utf8(part.url) as stream:
            text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
            table = csv.reader(counted(text), delimiter=_separator(part.url))
            try:
                columns = [name or f"column_{number}" for number, name in enumerate(next(table, []))]
                begins, number = position, 0
                for cells in table:
                    if cells:
                        yield begins, (number, _row(columns, cells, f"{part.name}:{number}"))
                        number += 1
                    begins = position
            except csv.Error as error:
                raise InputError(
                    f"cannot read {part.url} after row {number:,} ({error}): is a quote never closed there?"
                ) from error
            finally:
                text.detach()  # the stream closes itself

    for _, (_, row) in in_order(part, begin):
        yield row


def _row(columns: list[str], cells: list[str], name: str) -> Row | Reject:
    if len(cells) > len(columns):
        return Reject(f"{name}: {cells}"[:_SAMPLE_CHARACTERS], "more_cells_than_columns")
    for cell in cells:
        if not cell.isascii() and not _is_unicode(cell):
            return Reject(ascii(f"{name}: {cells}")[:_SAMPLE_CHARACTERS], "not_utf8")
    return Row(name, dict(zip(columns, cells, strict=False)))


def _is_unicode(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _separator(url: str) -> str:
    start = head(url)
    text = start.decode(encoding_of(start) or "utf-8", "replace").lstrip("\ufeff")
    sizes = {}
    for separator in _SEPARATORS:
        try:
            sizes[separator] = len(next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), []))
        except csv.Error:
            sizes[separator] = 0
    return max(_SEPARATORS, key=lambda separator: sizes[separator])
