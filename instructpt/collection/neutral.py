"""Rows of annotated task sets in one neutral layout, read from JSON lines: where every set meets.

Task sets differ in a hundred small ways. They meet here, a JSON object a row (docs/formats.md, "Task data"):

    {"dataset": "wikitables", "context": "| Year | Cup | ...", "question": "who won in 2009?", "answer": "Maynooth",
     "options": [], "rationale": null, "id": ..., "meta": {...}}

From there to groups it is one road, in `instructpt.collection.convert`.

`pair_of` makes a pair of a row, or says why it is none. Rows that are no more than a label ("positive") carry no
question; they take one of several wordings from the catalog, drawn per context, so that a model learns the task and not
its wording.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.files import streams
from instructpt.records import Pair, Reject
from instructpt.seeds import rng

if TYPE_CHECKING:
    from instructpt.collection.catalog import Catalog


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


def pair_of(
    record: TaskRecord, *, catalog: Catalog, seed: int, unanswerable_share: float, unanswerable: str = ""
) -> Pair | str:
    """The record's pair, or the reason why there is none.

    unanswerable_share: which part of the rows without an answer is kept. unanswerable: their answer; "" leaves the
    words to the catalog.
    Reasons: empty_or_repeated_option, wording_without_its_filling, no_wording, unanswerable, answer_not_in_options.
    """
    entry = catalog.entries.get(record.dataset)
    options = tuple(" ".join(option.split()) for option in record.options)
    question, answer = record.question.strip(), record.answer.strip()
    if not all(options) or len(set(options)) < len(options):
        return "empty_or_repeated_option"
    if entry is not None and entry.wordings:
        wording = rng(seed, "wording", record.dataset, record.context.strip()).choice(entry.wordings)
        if ("{labels}" in wording and not options) or ("{question}" in wording and not question):
            return "wording_without_its_filling"
        question = _fill(wording, question=question, labels=", ".join(options))
        options = () if "{labels}" in wording else options
    if not question:
        return "no_wording"
    if record.meta.get("unanswerable") or not answer:
        draw = rng(seed, "unanswerable", record.dataset, record.context.strip(), record.question)
        if options or draw.random() >= unanswerable_share:
            return "unanswerable"
        answer = unanswerable or draw.choice(catalog.unanswerable)
    if options:
        answer = " ".join(answer.split())
        if answer not in options:
            return "answer_not_in_options"
    rationale = (record.rationale or "").strip() or None
    return Pair(question, answer, options, rationale, entry.category if entry else None)


def _fill(wording: str, *, question: str, labels: str) -> str:
    """`wording` with its placeholders filled in one pass, so that braces in a question stay what they are."""
    values = {"question": question, "labels": labels}
    return re.sub(r"\{(question|labels)\}", lambda match: values[match[1]], wording)
