"""Search and filters, over Arrow columns: which records of a block are wanted.

    shots.list.element.pairs.list.element.category       leaves of a group, each value with the record it stands in

        record   0       0       1           2
        value    order   cause   order       title       category = order  ->  records 0 and 1

A filter reads its own column alone, and skips row groups whose statistics exclude its value. Only where something is
found is the whole record read. The sought text is compared without regard to case, in every text of a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from instructpt.errors import InputError
from instructpt.viewer.shelf import Shelf

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_PAIRS = "shots.list.element.pairs.list.element"
FILTERS: dict[str, dict[str, str]] = {
    "Document": {"source": "source"},
    "Group": {
        "category": f"{_PAIRS}.category",
        "reason": "shots.list.element.rejects.list.element.reason",
        "source": "shots.list.element.document.source",
    },
    "Text": {"kind": "kind", "layout": "layout", "source": "source"},
    "Item": {"task": "task", "part": "part"},
    "Match": {"task": "task", "source": "source"},
    "Score": {"task": "task", "metric": "metric", "model": "model"},
}
"""Record -> name of a filter -> the column that it looks at."""

_CONTEXT_CHARACTERS = 60
"""Shown before what was found."""
_AFTER_CHARACTERS = 140


def filters_of(shelf: Shelf) -> dict[str, str]:
    """What its records can be filtered by."""
    return FILTERS.get(getattr(shelf.artifact.kind, "__name__", ""), {})


def check(filters: Mapping[str, str], shelf: Shelf) -> None:
    """Raises InputError for a filter that records of this kind do not have."""
    known = filters_of(shelf)
    for name in filters:
        if name not in known:
            raise InputError(f"{shelf.artifact.name} cannot be filtered by {name!r}: choose from {', '.join(known)}")


def search(
    shelf: Shelf, text: str, filters: Mapping[str, str], *, start: int = 0
) -> Iterator[tuple[int, list[tuple[int, dict[str, Any]]]]]:
    """Look through the records from number `start` on for those that hold the text and each filter's value somewhere.

    After each block: the number of the first record that is not yet looked at; number and stored row of what was found.
    """
    wanted = {filters_of(shelf)[name]: value for name, value in filters.items()}
    columns = None if text else list(wanted)

    def skips(group: pq.RowGroupMetaData) -> bool:
        return any(_excluded(group, path, value) for path, value in wanted.items())

    for block in shelf.blocks(start, columns=columns, skips=skips):
        numbers = (block.first + place for place in np.flatnonzero(matches(block.batch, text, wanted)).tolist())
        rows = block.row if columns is None else shelf.row
        yield block.stop, [(number, rows(number)) for number in numbers if number >= start]


def matches(batch: pa.RecordBatch, text: str, wanted: Mapping[str, str]) -> np.ndarray:
    """Which rows of a batch hold the text, and in each column the value wanted there, [num_rows] bool."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_wanted = np.ones(batch.num_rows, bool)
    leaves = [leaf for i, name in enumerate(batch.schema.names) for leaf in _leaves(batch.column(i), name)]
    for column, value in wanted.items():
        found = np.zeros(batch.num_rows, bool)
        for path, values, rows in leaves:
            if path == column:
                found[rows[_true(pc.equal(values, pa.scalar(value, values.type)))]] = True
        is_wanted &= found
    if text:
        found = np.zeros(batch.num_rows, bool)
        for _, values, rows in leaves:
            found[rows[_true(pc.match_substring(values, text, ignore_case=True))]] = True
        is_wanted &= found
    return is_wanted


def snippet(row: Mapping[str, Any], text: str) -> dict[str, str] | None:
    """Where a stored row holds `text`: the field, and the characters around. None if no text of it does, or for ""."""
    if not text:
        return None
    pattern = re.compile(re.escape(text), re.IGNORECASE)
    for name, value in _texts(row, ""):
        if found := pattern.search(value):
            start = max(0, found.start() - _CONTEXT_CHARACTERS)
            return {
                "field": name,
                "before": ("… " if start else "") + value[start : found.start()],
                "found": found[0],
                "after": value[found.end() : found.end() + _AFTER_CHARACTERS],
            }
    return None


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text in a stored row with the name of the innermost field that it stands in: "answer"."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, name)


def _leaves(array: Any, path: str, rows: np.ndarray | None = None) -> Iterator[tuple[str, Any, np.ndarray]]:
    """The texts in a column: path, values, and for each value the row that it stands in."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if rows is None:
        rows = np.arange(len(array))
    if pa.types.is_list(array.type):
        parents = np.asarray(pc.list_parent_indices(array))
        yield from _leaves(array.flatten(), f"{path}.list.element", rows[parents])
    elif pa.types.is_struct(array.type):
        for i in range(array.type.num_fields):
            yield from _leaves(pc.struct_field(array, [i]), f"{path}.{array.type.field(i).name}", rows)
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield path, array, rows


def _true(flags: Any) -> np.ndarray:
    return np.asarray(flags.fill_null(False).to_numpy(zero_copy_only=False), bool)


def _excluded(group: pq.RowGroupMetaData, path: str, value: str) -> bool:
    """Whether a row group's statistics say that no value of a column is `value`."""
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == path:
            seen: Any = column.statistics
            return bool(seen is not None and seen.has_min_max and not seen.min <= value <= seen.max)
    return False
