"""Parquet, Arrow files (what `Dataset.save_to_disk` writes), and any other Arrow table: rows of columns, values turned
into those of JSON; CSV and TSV: a header, then rows of cells, quoted where one holds the separator, quotes or line
breaks."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import IOBase
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from instructpt.corpus.encodings import encoding_of, opened_utf8
from instructpt.corpus.parts import Part, Row, in_order
from instructpt.errors import InputError
from instructpt.files import File
from instructpt.files.finding import head
from instructpt.files.streams import compression, is_seekable, opened
from instructpt.records import Reject

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 16 << 20
_MAX_BATCH_ROWS = 1024
_ARROW_FILE = b"ARROW1"
_PLAIN = re.compile("(large_)?string|u?int[0-9]+|bool|null")
"""Types of columns whose values pyarrow gives as JSON knows them."""


def cut(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002
    """Runs of whole row groups of about `shard_bytes` uncompressed bytes. Raises InputError for a damaged file."""
    import pyarrow.parquet as pq

    if not is_seekable(file.url):
        what = (
            "is compressed once more" if compression(file.url) else "comes from a server that sends whole files alone"
        )
        raise InputError(f"{file.url} {what}, and Parquet is read from its end: download it first, as plain .parquet")
    with opened(file.url) as stream:
        metadata = pq.ParquetFile(stream).metadata
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    parts: list[Part] = []
    start = num_bytes = 0
    for group, size in enumerate(sizes):
        if num_bytes and num_bytes + size > shard_bytes:
            parts.append(Part(file.url, format, start, group, num_bytes, file.name))
            start, num_bytes = group, 0
        num_bytes += size
    return [*parts, Part(file.url, format, start, None, num_bytes, file.name)]


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The rows of a part's row groups, named by their number in the file. Raises InputError for a damaged file."""
    import pyarrow.parquet as pq

    with opened(part.url) as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        first_row = sum(group.num_rows for group in groups[: part.start])
        for number in range(part.start, len(groups) if part.stop is None else part.stop):
            group = groups[number]
            row_bytes = group.total_byte_size // max(1, group.num_rows)
            batch_rows = min(_MAX_BATCH_ROWS, max(1, _BATCH_BYTES // max(1, row_bytes)))
            for batch in file.iter_batches(batch_size=batch_rows, row_groups=[number], use_threads=False):
                yield from rows_of(batch, name=part.name, first_row=first_row, text_field=text_field)
                first_row += batch.num_rows


def arrow_rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The rows of a part of an Arrow stream or file, named by their number. Raises InputError for a damaged one."""
    import pyarrow as pa

    def begin() -> Generator[tuple[int, tuple[int, pa.RecordBatch]], None, None]:
        with opened(part.url) as stream:
            start = stream.read(len(_ARROW_FILE))
        with opened(part.url) as stream:
            position = first_row = 0
            if start == _ARROW_FILE:
                file = pa.ipc.open_file(cast(IOBase, stream))
                batches: Iterator[pa.RecordBatch] = (file.get_batch(i) for i in range(file.num_record_batches))
            else:
                batches = iter(pa.ipc.open_stream(cast(IOBase, stream)))
            for batch in batches:
                yield position, (first_row, batch)
                position += batch.nbytes
                first_row += batch.num_rows

    for _, (first_row, batch) in in_order(part, begin):
        for start in range(0, batch.num_rows, _MAX_BATCH_ROWS):
            piece = batch.slice(start, _MAX_BATCH_ROWS)
            yield from rows_of(piece, name=part.name, first_row=first_row + start, text_field=text_field)


def rows_of(
    table: pa.RecordBatch | pa.Table, *, name: str, first_row: int, text_field: str = "text"
) -> Iterator[Row | Reject]:
    """The rows of an Arrow table, named `name:row`; a row that holds a string of broken UTF-8 is a reject, and so is
    one whose text is bytes of another kind."""
    odd = [field.name for field in table.schema if not _PLAIN.fullmatch(str(field.type))]
    try:
        values: list[dict[str, Any] | None] = list(table.to_pylist())
    except UnicodeDecodeError:
        values = [_row_or_none(table.slice(i, 1)) for i in range(table.num_rows)]
    for number, fields in enumerate(values, first_row):
        if fields is None or (isinstance(text := fields.get(text_field), bytes) and _utf8(text) is None):
            yield Reject(f"{name}:{number}", "not_utf8")
        else:
            yield Row(f"{name}:{number}", fields | {key: _json_value(fields[key]) for key in odd})


def _utf8(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _row_or_none(table: pa.RecordBatch | pa.Table) -> dict[str, Any] | None:
    try:
        rows = table.to_pylist()
    except UnicodeDecodeError:
        return None
    return dict(rows[0])


def _json_value(value: Any) -> Any:
    """The nearest JSON value: times in ISO 8601, decimals as written, bytes as the UTF-8 text that they are
    (Parquet writers without string types), else in base64, not-a-number as null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else None
        case bytes():
            text = _utf8(value)
            return base64.b64encode(value).decode() if text is None else text
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): _json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_json_value(item) for item in value]
        case Decimal() | UUID():
            return str(value)
    raise AssertionError(f"no JSON value is known for Arrow's {type(value)}")


_LARGEST_CELL = 1 << 26
"""Characters; more is a quote that is never closed."""
_SEPARATORS = ",;\t|"
_SAMPLE_CHARACTERS = 1000


def csv_rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The csv_rows of a part as strings by column, named by their number in the file, the header not counted.

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
