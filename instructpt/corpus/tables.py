"""Parquet, and any other Arrow table: rows of columns, cut at row groups, values turned into those of JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from instructpt.corpus.parts import Part, Row
from instructpt.files import File, base_name
from instructpt.files.streams import opened
from instructpt.records import Reject

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 16 << 20
_MAX_BATCH_ROWS = 1024


def cut(file: File, *, shard_bytes: int) -> list[Part]:
    """Runs of whole row groups of about `shard_bytes` uncompressed bytes. Raises InputError for a damaged file."""
    import pyarrow.parquet as pq

    with opened(file.url) as stream:
        metadata = pq.ParquetFile(stream).metadata
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    parts: list[Part] = []
    start = num_bytes = 0
    for group, size in enumerate(sizes):
        if num_bytes and num_bytes + size > shard_bytes:
            parts.append(Part(file.url, "parquet", start, group, num_bytes))
            start, num_bytes = group, 0
        num_bytes += size
    return [*parts, Part(file.url, "parquet", start, None, num_bytes)]


def rows(part: Part) -> Iterator[Row | Reject]:
    """The rows of a part's row groups, named by their number in the file. Raises InputError for a damaged file."""
    import pyarrow.parquet as pq

    name = base_name(part.url)
    with opened(part.url) as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        first_row = sum(group.num_rows for group in groups[: part.start])
        for number in range(part.start, len(groups) if part.stop is None else part.stop):
            group = groups[number]
            row_bytes = group.total_byte_size // max(1, group.num_rows)
            batch_rows = min(_MAX_BATCH_ROWS, max(1, _BATCH_BYTES // max(1, row_bytes)))
            for batch in file.iter_batches(batch_size=batch_rows, row_groups=[number], use_threads=False):
                yield from rows_of(batch, name=name, first_row=first_row)
                first_row += batch.num_rows


def rows_of(table: pa.RecordBatch | pa.Table, *, name: str, first_row: int) -> Iterator[Row | Reject]:
    """The rows of an Arrow table, named `name:row`; a row that holds a string of broken UTF-8 is a reject."""
    odd = [field.name for field in table.schema if not _is_json(field.type)]
    try:
        values: list[dict[str, Any] | None] = list(table.to_pylist())
    except UnicodeDecodeError:
        values = [_row_or_none(table.slice(i, 1)) for i in range(table.num_rows)]
    for number, fields in enumerate(values, first_row):
        if fields is None:
            yield Reject(f"{name}:{number}", "not_utf8")
        else:
            yield Row(f"{name}:{number}", fields | {key: _json_value(fields[key]) for key in odd})


def _row_or_none(table: pa.RecordBatch | pa.Table) -> dict[str, Any] | None:
    try:
        rows = table.to_pylist()
    except UnicodeDecodeError:
        return None
    return dict(rows[0])


def _is_json(kind: pa.DataType) -> bool:
    """Whether pyarrow gives the values of a column as JSON knows them."""
    import pyarrow.types as types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def _json_value(value: Any) -> Any:
    """The nearest JSON value: times in ISO 8601, decimals as written, bytes in base64, not-a-number as null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else None
        case bytes():
            return base64.b64encode(value).decode()
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
