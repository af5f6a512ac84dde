"""Task sets of the Hugging Face Hub: the rows of a split become neutral records, by the field mapping of the catalog.

    [race.hub]                              {"article": "It rained ...",            TaskRecord
    id = "ehovy/race"                        "question": "Who got wet?",              context   "It rained ..."
    config = "all"                           "options": ["Ann", "Bo"],     ------>    question  "Who got wet?"
    split = "train"                          "answer": "B"}                           options   ("Ann", "Bo")
    [race.hub.fields]                                                                 answer    "Bo"
    context = "article"
    question = "question"
    options = "options"
    answer_index = "answer"

A value in `fields` is a path into the row. Its steps are parted by dots; a number takes one item of a list, a name goes
through every item of a list: "answers.text.0" fits {"answers": {"text": ["x"]}} and {"answers": [{"text": "x"}]}, the
two ways in which the Hub stores the same thing. A list of paths gives a list of values. Fields:

    context         several values are joined by line breaks       question, answer, rationale
    options         one path to a list, or a list of paths         answer_index    place in the options, or a letter
    labels          no path, but the names of a label set: they are the options, and a number for an answer means one
    no_answer       no path, but what a set writes where the text has no answer ("CANNOTANSWER")

Sets whose rows need more name a function under `hub.rows` (see `hub_rows`), which then gets the mapped values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from instructpt.collection.catalog import Entry, Hub, suggestion
from instructpt.collection.hub_rows import ROW_CONVERTERS, Values
from instructpt.collection.neutral import TaskRecord
from instructpt.errors import InputError, require
from instructpt.records import Reject

PARQUET_REVISION = "refs/convert/parquet"
"""The branch on which the Hub keeps a set as Parquet, one folder a config, also where its main branch holds a script.
`datasets` 4 and later run no scripts."""

_LITERALS = ("labels", "no_answer")
_PLAIN_FIELDS = ("context", "question", "answer", "options", "answer_index", "rationale")
_EXCERPT = 200


def records(name: str, entry: Entry, rows: Iterable[Mapping[str, Any]]) -> Iterator[TaskRecord | Reject]:
    """The neutral records of a set's rows; ids are the rows' numbers, with the number of the question behind it.

    A row with values of an unexpected kind is a Reject (`bad_field`). A record without context or answer, or with an
    answer that is none of its options, comes out as it is: converting counts these.
    Raises InputError for a field that the rows do not have, and for a mapping that does not make sense.
    """
    hub = _hub(name, entry)
    convert = _row_converter(name, hub)
    paths = {field: path for field, path in hub.fields.items() if field not in _LITERALS}
    for number, row in enumerate(rows):
        values = {field: _value(name, hub, row, path) for field, path in paths.items()}
        try:
            made = [_record(name, hub, str(number), found) for found in convert(**values)]
        except ValueError as error:
            yield Reject(f"{name}/{number}: {error}"[:_EXCERPT], "bad_field")
            continue
        if len(made) == 1:
            yield made[0]
        else:
            yield from (replace(record, id=f"{number}.{part}") for part, record in enumerate(made))


def read(name: str, entry: Entry) -> Iterator[TaskRecord | Reject]:
    """The neutral records of a set, streamed from the Hub row by row; `hub.id` may be a folder on disk too.

    Raises InputError as `records` does; without the datasets package; without a connection; for a set, config or split
    that does not exist, asks for permission, or is a script.
    """
    yield from records(name, entry, _stream(name, _hub(name, entry)))


def _hub(name: str, entry: Entry) -> Hub:
    if entry.hub is None:
        raise InputError(f"the catalog does not say where {name} is on the Hub: give it a table [{name}.hub]")
    return entry.hub


def _stream(name: str, hub: Hub) -> Iterator[Mapping[str, Any]]:
    """The rows of the split, with what goes wrong on the way told in the user's words."""
    datasets = require("datasets", of=f"{name}, on the Hub,", extra="hub")
    # The Parquet branch has no list of configs: each is a folder.
    converted = hub.revision == PARQUET_REVISION
    where = {"data_dir": hub.config or "default"} if converted else {"name": hub.config}
    try:
        yield from datasets.load_dataset(hub.id, **where, split=hub.split, revision=hub.revision, streaming=True)
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(_trouble(name, hub, error)) from error


def _trouble(name: str, hub: Hub, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    what = f"cannot read {name} ({hub.id} on the Hub, split {hub.split}): {reason}"
    if "gated" in reason:
        return f"{what}; ask for access on https://huggingface.co/datasets/{hub.id}, then log in with `hf auth login`"
    if "scripts are no longer supported" in reason:
        return f'{what}; set revision = "{PARQUET_REVISION}" in its table hub'
    if isinstance(error, ConnectionError):
        return f"{what}; check the connection, or give its rows as JSON lines instead"
    return f"{what}; check id, config, split and revision in its table hub"


def _row_converter(name: str, hub: Hub) -> Callable[..., Iterable[Values]]:
    """The function for a row, once it is clear that the catalog gives it what it takes."""
    paths = [field for field in hub.fields if field not in _LITERALS]
    if hub.rows is None:
        for field in paths:
            if field not in _PLAIN_FIELDS:
                raise InputError(f"[{name}.hub.fields]: unknown field {field!r}{suggestion(field, _PLAIN_FIELDS)}")
        return _as_mapped
    if hub.rows not in ROW_CONVERTERS:
        raise InputError(
            f"[{name}.hub]: no function for rows is called {hub.rows!r}{suggestion(hub.rows, ROW_CONVERTERS)}"
        )
    converter = ROW_CONVERTERS[hub.rows]
    signature = inspect.signature(converter)
    try:
        signature.bind(**dict.fromkeys(paths))
    except TypeError as error:
        raise InputError(
            f"[{name}.hub.fields]: {error}; rows = {hub.rows!r} takes {', '.join(signature.parameters)}"
        ) from error
    return converter


def _as_mapped(**values: object) -> Iterable[Values]:
    return (values,)


def _value(name: str, hub: Hub, row: Mapping[str, Any], path: object) -> Any:
    """What stands at a path of a row, or at each of several paths."""
    if isinstance(path, list):
        return [_value(name, hub, row, part) for part in path]
    if not isinstance(path, str):
        raise InputError(
            f'[{name}.hub.fields]: {path!r} is no path; give one such as "answers.text.0", or a list of them'
        )
    value: Any = row
    for step in path.split("."):
        try:
            value = _step(value, step)
        except LookupError as error:
            raise InputError(
                f"the rows of {name} ({hub.id} on the Hub) have no field {path!r}, only {error.args[0]}: the set has "
                f"changed its layout; put its new names into [{name}.hub.fields] of a catalog of your own"
            ) from error
    return value


def _step(value: Any, step: str) -> Any:
    """One step of a path. Raises LookupError with the fields there are instead."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        if step not in value:
            raise LookupError(", ".join(map(str, value)) or "an empty object")
        return value[step]
    if isinstance(value, list | tuple):
        if step.isdigit():
            return value[int(step)] if int(step) < len(value) else None
        return [_step(item, step) for item in value]
    raise LookupError(f"a {type(value).__name__} in its place")


def _record(name: str, hub: Hub, number: str, values: Values) -> TaskRecord:
    """One record. Raises ValueError for a value of a kind that its field cannot be."""
    labels = tuple(hub.fields.get("labels", ()))
    no_answer = tuple(hub.fields.get("no_answer", ()))
    options = _options(values.get("options")) or labels
    if "answer_index" in values:
        answer = _at_index(values["answer_index"], options)
    elif labels and isinstance(values.get("answer"), int):
        answer = _at_index(values["answer"], labels)
    else:
        answer = _text("answer", values.get("answer")).strip()
    context = _lines("context", values.get("context")).strip()
    for mark in no_answer:  # QuAC and DoQA append it to the text, for spans to point at
        context = context.removesuffix(mark).rstrip()
    return TaskRecord(
        dataset=name,
        context=context,
        question=_text("question", values.get("question")).strip(),
        answer="" if answer in no_answer else answer,
        id=number,
        options=options,
        rationale=_lines("rationale", values.get("rationale")).strip() or None,
    )


def _at_index(index: object, options: tuple[str, ...]) -> str:
    """The option at a place given as a number, a number in a text, or a letter; "" where the set gives none (-1)."""
    if isinstance(index, str) and len(index.strip()) == 1 and index.strip().isalpha():
        index = ord(index.strip().upper()) - ord("A")
    if index is None or index == "":
        return ""
    if not isinstance(index, int | str):
        raise ValueError(f"the place of the answer is a {type(index).__name__}")
    place = int(index)
    if place < 0:
        return ""
    return options[place] if place < len(options) else str(index)


def _options(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"options are a {type(value).__name__}, not a list")
    return tuple(_text("option", option).strip() for option in value)


def _lines(field: str, value: object) -> str:
    """A text, or several of them on a line each."""
    if isinstance(value, list | tuple):
        return "\n".join(text for item in value if (text := _text(field, item).strip()))
    return _text(field, value)


def _text(field: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{field} is a {type(value).__name__}, not a text")
