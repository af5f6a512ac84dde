"""Rows of annotated task sets in one neutral layout, read from JSON lines: where every set meets.

Task sets differ in a hundred small ways. They meet here, a JSON object a row (docs/formats.md, "Task data"):

    {"dataset": "wikitables", "context": "| Year | Cup | ...", "question": "who won in 2009?", "answer": "Maynooth",
     "options": [], "rationale": null, "id": ..., "meta": {...}}

From there to groups it is one road, in `instructpt.collection.convert`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from instructpt.files import streams
from instructpt.records import Reject


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One row of a task set in the neutral layout."""

    dataset: str
    context: str
    """The text the question is about; "" where the row has none (closed book)."""
    question: str
    """ "" where the wording is the same for all rows of the set: the catalog gives one."""
    answer: str
    """With options: one of them. "" where the text does not answer the question."""
    id: str = ""
    options: tuple[str, ...] = ()
    rationale: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Two keys mean something: "licence", of this row's text, and "unanswerable"."""


def parse(row: object, *, excerpt: str) -> TaskRecord | Reject:
    """A row of a JSON-lines file. excerpt: of its line, to show where it is none."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in _TEXTS):
        return Reject(excerpt, "bad_field")
    options, rationale, meta = row.get("options") or [], row.get("rationale"), row.get("meta") or {}
    strings = isinstance(options, list) and all(isinstance(option, str) for option in options)
    if not strings or not isinstance(rationale, str | None) or not isinstance(meta, dict):
        return Reject(excerpt, "bad_field")
    return TaskRecord(
        **{name: row[name] for name in _TEXTS},
        id=str(row.get("id", "")),
        options=tuple(options),
        rationale=rationale,
        meta=meta,
    )


def rows(url: str) -> Iterator[tuple[str, object]]:
    """Of each line of a JSON-lines file, plain or packed, wherever it lies: an excerpt, and what it holds; None if that
    is no JSON. Raises InputError for a file that is missing or damaged.
    """
    for line in streams.lines(url):
        excerpt = line[:200].decode("utf-8", "replace").strip()
        try:
            yield excerpt, orjson.loads(line)
        except orjson.JSONDecodeError:
            yield excerpt, None


def read_records(path: str | Path) -> Iterator[TaskRecord | Reject]:
    """The records in `rows`. One that is not JSON or lacks a field comes out as a Reject (`not_json`, `bad_field`)."""
    for excerpt, row in rows(str(path)):
        yield Reject(excerpt, "not_json") if row is None else parse(row, excerpt=excerpt)


def reject(record: TaskRecord, reason: str) -> Reject:
    """The record as something left out."""
    return Reject(f"{record.dataset}/{record.id}: {record.question}"[:200], reason)


_TEXTS = ("dataset", "context", "question", "answer")
