"""What flows: the records that the rooms exchange, and how each is stored in Parquet. Nothing else lives here.

    Document --Split--> Document --Synthesize--> Group --Template--> Text --Pack--> rows --Train--> model -.
                                                                                          Score <-- Item <-'

Every record is frozen and slotted. `SCHEMAS` holds one Arrow schema a stored record; `to_row` and `from_row` are exact
inverses, so that `from_row(type(r), to_row(r)) == r` for every stored record (a test runs it over the whole table).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import orjson

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["raw", "augmented", "task", "instruction"]
"""What a training text is made of: plain corpus text, text with pairs, annotated task data, instructions alone."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of raw text: a whole document, or after `Split` one passage of it."""

    id: str
    """The user's own name of the row, or one made from file and position. Never used as a key: it may repeat."""
    text: str
    source: str
    """Where it came from: a file, a data set. Passages of one source may stand in one chain."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The row's other fields as they were, JSON values only (licence, URL, offset in the parent document...)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An instruction and its response, in any of the four formats: free or options, with or without rationale."""

    question: str
    answer: str
    """For a question with options: the text of the right option."""
    options: tuple[str, ...] = ()
    rationale: str | None = None
    category: str | None = None
    span: tuple[int, int] | None = None
    """Half-open range of the passage's characters that bear the answer out; None where nobody has looked, or nothing
    does."""
    agreement: float | None = None
    """How much a second answer to the same question says the same, 0 to 1; None where nobody was asked."""
    accepted: tuple[str, ...] = ()
    """Other answers that count as right; those of an exam."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that was left out, and why: a piece of a model's answer, a broken line of a file."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shot:
    """A passage with its pairs: one example of a group."""

    document: Document
    pairs: tuple[Pair, ...] = ()
    follows: int = 0
    """How many earlier shots of its group the model had before its eyes when it wrote these pairs."""
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """An M-shot example: passages of one source, each with its pairs. Synthesis, rules and task data all end here."""

    id: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A training text, the record from which on all training is one road."""

    id: str
    text: str
    source: str
    kind: Kind
    spans: tuple[tuple[int, int], ...] | None = None
    """Half-open character ranges of `text` that carry loss, in order and disjoint; None = every token carries loss."""
    breaks: tuple[int, ...] = ()
    """Character positions, ascending, inside `text` at which one sequence ends and the next begins: an end-of-text and
    a begin-of-text token go in there. Both are plain ids, never text, since a corpus may contain their spelling. An
    end-of-text token carries loss if the character before it does."""
    layout: str = ""
    """How pairs and passages are laid out, as `templates.style` names it ("classic", "dialog_inverted"), or "plain"; ""
    for raw text."""
    passage: str = ""
    """Which passage it is, or asks about, where texts of one passage are to stand in different rows; "" elsewhere."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step (or one part of it) sees. All arrays are [num_rows, row_tokens]."""

    inputs: np.ndarray
    """int64 token ids; unused places at the end of a row hold 0."""
    targets: np.ndarray
    """int64: the token that follows in the same document, also across a cut to another row; 0 where there is none."""
    weights: np.ndarray
    """float32: 1 where the target carries loss, else 0."""
    positions: np.ndarray
    """int64: place in its document's piece, restarting at 0 with each piece."""
    documents: np.ndarray
    """int64: which piece of the row a place belongs to, counted from 0 within the row; -1 in unused places. Attention
    stays within equal numbers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step as the training loop saw it, a line of `metrics.jsonl`."""

    step: int
    """1 for the first."""
    tokens: int
    """Tokens trained on so far, this step included."""
    loss: float
    """Mean cross-entropy in nats over the step's weighted targets."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    tokens_per_second: float
    mfu: float | None
    """Share of the device's peak floating-point rate; None where the peak is unknown."""


@dataclass(frozen=True, slots=True)
class Item:
    """One test item as one model answered it."""

    task: str
    place: int
    """Row in the task's file, counted from 0. Items of one place, such as questions on one text, are alike."""
    part: str
    """The sub-question it belongs to, or the question's number where a place has several; "" where neither is."""
    gold: str
    """The right answer, as text."""
    answer: str
    """What the model chose or wrote."""
    values: Mapping[str, float]
    """What was measured: acc, gold_probability, bits_per_byte..."""
    num_bytes: int
    """Of the right answer's text in UTF-8: what bits_per_byte is a mean over."""


@dataclass(frozen=True, slots=True)
class Score:
    """One measured number of one model."""

    task: str
    metric: str
    value: float
    stderr: float | None
    count: int
    """Items the value is a mean over."""
    model: str


@dataclass(frozen=True, slots=True)
class Match:
    """A test item that stands, whole or in part, in a training text."""

    task: str
    """The test set: a task, or a file."""
    places: tuple[int, ...]
    """Rows of the test set, counted from 0, that hold this item: questions on one text share it."""
    field: str
    """Where in the first of these rows: "passage", "choices.text"."""
    num_ngrams: int
    """How many of the item's n-grams the text holds."""
    num_item_ngrams: int
    """How many it has."""
    item: str
    """What is shared, as the item has it, with some words around; "" where many texts hold the item."""
    row: int
    """Of the training text, in its shard."""
    id: str
    source: str
    shot: int | None
    """Of a group: which passage, counted from 0."""
    pair: int | None
    """Of a group: which of the passage's pairs; None for the passage itself."""
    spans: tuple[tuple[int, int], ...]
    """The characters that are shared, half-open ranges in order: of a text, a passage, or a pair's strings in lines."""
    text: str
    """What is shared, as the text has it, with some words around; "" where many texts hold the item."""


Record = Document | Group | Text | Step | Item | Score | Match
R = TypeVar("R", Document, Group, Text, Step, Item, Score, Match)


def schema(record: type[Record]) -> pa.Schema:
    """The Arrow schema that `record` is stored under. Raises KeyError for a record that is never stored."""
    return _schemas()[record]


def _schemas() -> dict[type[Record], pa.Schema]:
    import pyarrow as pa

    def columns(**types: pa.DataType) -> list[pa.Field[pa.DataType]]:
        return [pa.field(name, kind) for name, kind in types.items()]

    string, text, whole, real = pa.string(), pa.large_string(), pa.int64(), pa.float64()
    document = columns(id=string, text=text, source=string, meta=text)
    span = pa.struct(columns(start=whole, stop=whole))
    pair = columns(
        question=string,
        answer=string,
        options=pa.list_(string),
        rationale=string,
        category=string,
        span=span,
        agreement=real,
        accepted=pa.list_(string),
    )
    reject = columns(text=string, reason=string)
    shot = columns(
        document=pa.struct(document),
        pairs=pa.list_(pa.struct(pair)),
        follows=pa.int32(),
        rejects=pa.list_(pa.struct(reject)),
    )
    spans = pa.list_(span)
    values = pa.list_(pa.struct(columns(name=string, value=real)))
    return {
        Document: pa.schema(document),
        Group: pa.schema(columns(id=string, shots=pa.list_(pa.struct(shot)))),
        Text: pa.schema(
            columns(
                id=string,
                text=text,
                source=string,
                kind=string,
                spans=spans,
                breaks=pa.list_(whole),
                layout=string,
                passage=string,
            )
        ),
        Step: pa.schema(
            columns(
                step=whole,
                tokens=whole,
                loss=real,
                learning_rate=real,
                gradient_norm=real,
                tokens_per_second=real,
                mfu=real,
            )
        ),
        Item: pa.schema(
            columns(task=string, place=whole, part=string, gold=text, answer=text, values=values, num_bytes=whole)
        ),
        Score: pa.schema(columns(task=string, metric=string, value=real, stderr=real, count=whole, model=string)),
        Match: pa.schema(
            columns(
                task=string,
                places=pa.list_(whole),
                field=string,
                num_ngrams=whole,
                num_item_ngrams=whole,
                item=text,
                row=whole,
                id=string,
                source=string,
                shot=whole,
                pair=whole,
                spans=spans,
                text=text,
            )
        ),
    }


def to_row(record: Record) -> dict[str, Any]:
    """The record as plain values that fit its Arrow schema (and JSON)."""
    match record:
        case Document():
            meta = orjson.dumps(dict(record.meta), option=orjson.OPT_SORT_KEYS).decode()
            return {"id": record.id, "text": record.text, "source": record.source, "meta": meta}
        case Group():
            return {"id": record.id, "shots": [_shot_to_row(shot) for shot in record.shots]}
        case Text():
            spans = None if record.spans is None else _spans_to_rows(record.spans)
            row = {name: getattr(record, name) for name in ("id", "text", "source", "kind", "layout", "passage")}
            return {**row, "spans": spans, "breaks": list(record.breaks)}
        case Item():
            values = [{"name": name, "value": value} for name, value in record.values.items()]
            return {**_plain(record), "values": values}
        case Match():
            return {**_plain(record), "places": list(record.places), "spans": _spans_to_rows(record.spans)}
        case _:
            return _plain(record)


def from_row(record: type[R], row: Mapping[str, Any]) -> R:
    """The record that `to_row` made `row` from."""
    if record is Document:
        return Document(row["id"], row["text"], row["source"], orjson.loads(row["meta"]))
    if record is Group:
        return Group(row["id"], tuple(_shot_from_row(shot) for shot in row["shots"]))
    if record is Text:
        spans = None if row["spans"] is None else _spans_from_rows(row["spans"])
        later = row.get("layout", ""), row.get("passage", "")  # files of versions before have none
        return Text(row["id"], row["text"], row["source"], row["kind"], spans, tuple(row["breaks"]), *later)
    if record is Item:
        return Item(**{**row, "values": {v["name"]: v["value"] for v in row["values"]}})
    if record is Match:
        return Match(**{**row, "places": tuple(row["places"]), "spans": _spans_from_rows(row["spans"])})
    return record(**row)


def _spans_to_rows(spans: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"start": start, "stop": stop} for start, stop in spans]


def _spans_from_rows(rows: Iterable[Mapping[str, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((row["start"], row["stop"]) for row in rows)


def _plain(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__slots__}


def _shot_to_row(shot: Shot) -> dict[str, Any]:
    pairs = [
        {
            "question": p.question,
            "answer": p.answer,
            "options": list(p.options),
            "rationale": p.rationale,
            "category": p.category,
            "span": None if p.span is None else {"start": p.span[0], "stop": p.span[1]},
            "agreement": p.agreement,
            "accepted": list(p.accepted),
        }
        for p in shot.pairs
    ]
    rejects = [{"text": r.text, "reason": r.reason} for r in shot.rejects]
    return {"document": to_row(shot.document), "pairs": pairs, "follows": shot.follows, "rejects": rejects}


def _shot_from_row(row: Mapping[str, Any]) -> Shot:
    pairs = tuple(map(_pair_from_row, row["pairs"]))
    rejects = tuple(Reject(r["text"], r["reason"]) for r in row["rejects"])
    return Shot(from_row(Document, row["document"]), pairs, row["follows"], rejects)


def _pair_from_row(row: Mapping[str, Any]) -> Pair:
    span = row.get("span")  # files of versions before have no span, agreement or accepted answers
    return Pair(
        row["question"],
        row["answer"],
        tuple(row["options"]),
        row["rationale"],
        row["category"],
        None if span is None else (span["start"], span["stop"]),
        row.get("agreement"),
        tuple(row.get("accepted") or ()),
    )
