"""What flows: the records that the rooms exchange, and how each is stored in Parquet. Nothing else lives here.

    Document --Split--> Document --Synthesize--> Group --Template--> Text --Pack--> rows --Train--> model -.
                                                                                          Score <-- Item <-'

Every record is frozen and slotted. The types of its fields say how it is stored (`_column`); `to_row` and `from_row`
are exact inverses: `from_row(type(r), to_row(r)) == r` for every stored record (a test runs it over all of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import orjson

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LongText = Annotated[str, "large_string"]
"""A text of which a shard may hold more than 2 GiB in all."""
Kind = Literal["raw", "augmented", "task", "instruction", "written"]
"""What a training text is made of: plain corpus text, text with pairs, annotated task data, instructions alone, a text
about a passage in another form (`Writing`)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of raw text: a whole document, or after `Split` one passage of it."""

    id: str
    """The user's own name of the row, or one made from file and position. Never used as a key: it may repeat."""
    text: LongText
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
class Writing:
    """A text about a passage that is no pair: facts, a summary, a dialogue. To be trained on as it stands."""

    form: str
    """As `--forms` names it: "facts", "paraphrase:spoken"."""
    variant: Annotated[int, "int32"]
    """Which of the passage's texts of this form it is, counted from 0 in the order in which they were asked for."""
    text: LongText
    beside: LongText = ""
    """Another passage of the same document that the text is about too; "" where it is about one."""
    agreement: float | None = None
    """How much a second model's answers say the same as the text, 0 to 1; None where nobody was asked."""


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
    follows: Annotated[int, "int32"] = 0
    """How many earlier shots of its group the model had before its eyes when it wrote these pairs."""
    rejects: tuple[Reject, ...] = ()
    writings: tuple[Writing, ...] = ()
    """Texts about the passage that are no pairs."""


@dataclass(frozen=True, slots=True)
class Group:
    """An M-shot example: passages of one source, each with its pairs. Synthesis, rules and task data all end here."""

    id: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A training text, the record from which on all training is one road."""

    id: str
    text: LongText
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
    gold: LongText
    """The right answer, as text."""
    answer: LongText
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
    item: LongText
    """What is shared, as the item has it, with some words around; "" where many texts hold the item."""
    row: int
    """Of the training text, in its shard."""
    id: str
    source: str
    shot: int | None
    """Of a group: which passage, counted from 0."""
    pair: int | None
    """Of a group: which of the passage's pairs, its writings counted on after them; None for the passage itself."""
    spans: tuple[tuple[int, int], ...]
    """The characters that are shared, half-open ranges in order: of a text, a passage, or a pair's strings in lines."""
    text: LongText
    """What is shared, as the text has it, with some words around; "" where many texts hold the item."""


Record = Document | Group | Text | Step | Item | Score | Match
R = TypeVar("R", Document, Group, Text, Step, Item, Score, Match)


def schema(record: type[Record]) -> pa.Schema:
    """The Arrow schema that `record` is stored under. Raises KeyError for a record that is never stored."""
    import pyarrow as pa

    if record not in get_args(Record):
        raise KeyError(record)
    kind: Any = record
    return pa.schema([pa.field(name, _arrow(stored)) for name, stored in _column(kind).stored.items()])


def to_row(record: Record) -> dict[str, Any]:
    """The record as plain values that fit its Arrow schema (and JSON)."""
    kind: Any = type(record)
    row: dict[str, Any] = _column(kind).write(record)
    return row


def from_row(record: type[R], row: Mapping[str, Any]) -> R:
    """The record that `to_row` made `row` from. Fields that older files do not have are at their default."""
    kind: Any = record
    made: R = _column(kind).read(row)
    return made


@dataclass(frozen=True, slots=True)
class _Column:
    """How values of one type are stored."""

    stored: Any
    """An Arrow type by name; in a list: a list of it; a dictionary: a struct."""
    write: Any = None
    """A function of a value; None: values are stored as they are."""
    read: Any = None
    """Its inverse; None likewise."""


_PLAIN = {str: "string", int: "int64", float: "float64"}


@cache
def _column(kind: Any) -> _Column:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is None:
        return _Column(_PLAIN[kind]) if kind in _PLAIN else _record_column(kind)
    if origin is Annotated:
        return _Column(parts[1])
    if origin is Literal:
        return _Column("string")
    if origin is Mapping and parts == (str, float):
        return _Column(
            [{"name": "string", "value": "float64"}],
            lambda values: [{"name": name, "value": value} for name, value in values.items()],
            lambda rows: {row["name"]: row["value"] for row in rows},
        )
    if origin is Mapping:
        return _Column("large_string", _json, orjson.loads)
    if origin is tuple and parts == (int, int):  # a half-open range
        return _Column(
            {"start": "int64", "stop": "int64"},
            lambda span: {"start": span[0], "stop": span[1]},
            lambda row: (row["start"], row["stop"]),
        )
    inner, is_list = _column(parts[0]), origin is tuple
    write, read = inner.write, inner.read
    if is_list:
        return _Column(
            [inner.stored],
            (lambda items: [write(item) for item in items]) if write else None,
            (lambda rows: tuple([read(row) for row in rows or ()])) if read else (lambda rows: tuple(rows or ())),
        )
    assert parts[1:] == (NoneType,), kind
    return _Column(
        inner.stored,
        (lambda value: None if value is None else write(value)) if write else None,
        (lambda value: None if value is None else read(value)) if read else None,
    )


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value), option=orjson.OPT_SORT_KEYS).decode()


def _record_column(record: type[Any]) -> _Column:
    """Both ways as one expression each, as if written by hand: a loop over the fields takes up to twice the time."""
    kinds = get_type_hints(record, include_extras=True)
    columns = {f.name: _column(kinds[f.name]) for f in fields(record)}
    known: dict[str, Any] = {"Record": record}
    written, read = [], []
    for f in fields(record):
        known |= {f"write_{f.name}": columns[f.name].write, f"read_{f.name}": columns[f.name].read}
        known[f"default_{f.name}"] = f.default
        stored = f"value[{f.name!r}]" if f.default is MISSING else f"value.get({f.name!r}, default_{f.name})"
        written.append(
            f"{f.name!r}: " + (f"write_{f.name}(value.{f.name})" if columns[f.name].write else f"value.{f.name}")
        )
        read.append(f"read_{f.name}({stored})" if columns[f.name].read else stored)
    write_all, read_all = f"lambda value: {{{', '.join(written)}}}", f"lambda value: Record({', '.join(read)})"
    return _Column(
        {name: column.stored for name, column in columns.items()},
        eval(write_all, known),  # noqa: S307 (made of the names of our own fields)
        eval(read_all, known),  # noqa: S307
    )


def _arrow(stored: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(stored, dict):
        return pa.struct([pa.field(name, _arrow(inner)) for name, inner in stored.items()])
    if isinstance(stored, list):
        return pa.list_(_arrow(stored[0]))
    kind: pa.DataType = getattr(pa, stored)()
    return kind
