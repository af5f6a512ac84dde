"""Test sets as items to look for: every text in the rows of an evaluation task, a file, or a data set of the Hub.

"boolq"             a task: its rows from the Hub, or from a folder that has boolq.jsonl
"general"           a suite: all its tasks
my/exam.jsonl       rows in any format that corpora are read from; hf://owner/name:split

{"question": "...", "choices": {"text": ["...", "..."]}}      items "question" and "choices.text", if long enough
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from instructpt.corpus import readers
from instructpt.errors import InputError
from instructpt.records import Reject

if TYPE_CHECKING:
    from instructpt.words.ngrams import Index

HUB = "hub"
"""As `data`: the rows of tasks from the Hugging Face Hub."""

_WHOLE_FILE = 1 << 62


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text of a test set stands."""

    task: str
    row: int
    field: str


@dataclass(frozen=True, slots=True)
class Items:
    """Test items, and where each comes from."""

    index: Index
    texts: Mapping[int, str]
    """The text of each item of the index."""
    places: Mapping[int, tuple[Place, ...]]
    num_rows: Mapping[str, int]
    """Of each test set."""


def sets_named(names: Sequence[str], *, data: str) -> dict[str, tuple[str, ...] | None]:
    """Test set -> its files; None for a task whose rows come from the Hub.

    Raises InputError for a name that is neither a task, a suite nor a file.
    """
    from instructpt.evaluation.benchmarks import SUITES, TASKS, resolve, task_files

    found: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        if name in TASKS or name in SUITES:
            for task in resolve((name,)):
                found[task] = None if data == HUB else (str(task_files(task, data=data)[1]),)
            continue
        try:
            readers.shards((name,), shard_bytes=_WHOLE_FILE)
        except InputError as error:
            raise InputError(f"{name!r} is no test set: {error}; tasks are {', '.join(TASKS)}") from error
        found[name] = (name,)
    return found


@lru_cache(maxsize=1)
def load_items(against: tuple[str, ...], *, data: str, fields: tuple[str, ...], length: int, fingerprint: str) -> Items:
    """The items of test sets, read and indexed once a process and `fingerprint`, that of the stage that asks.

    Raises InputError for a set without any.
    """
    del fingerprint
    from instructpt.words.ngrams import MIN_WORDS, index

    places: list[Place] = []
    texts: list[str] = []
    num_rows: dict[str, int] = {}
    for task, urls in sets_named(against, data=data).items():
        rows = _hub_rows(task) if urls is None else _file_rows(urls)
        for row, values in enumerate(rows):
            num_rows[task] = row + 1
            for name, text in _strings(values):
                if not fields or name in fields or name.partition(".")[0] in fields:
                    places.append(Place(task, row, name))
                    texts.append(text)
        if not places or places[-1].task != task:
            wanted = f" in {', '.join(fields)}" if fields else ""
            raise InputError(f"{task} has no text{wanted}: give a file of rows with strings, or other fields")
    made = index(texts, length=length, min_words=min(MIN_WORDS, length))
    firsts = {item: texts[found[0]] for item, found in enumerate(made.places)}
    return Items(made, firsts, {i: tuple(places[p] for p in found) for i, found in enumerate(made.places)}, num_rows)


def _file_rows(urls: Sequence[str]) -> Iterator[Any]:
    """The fields of each row; of a row that cannot be read, none."""
    for shard in readers.shards(urls, shard_bytes=_WHOLE_FILE):
        for part in shard:
            for row in readers.FORMATS[part.format].rows(part):
                yield {} if isinstance(row, Reject) else row.fields


def _hub_rows(task: str) -> Iterator[Any]:
    from instructpt.evaluation.benchmarks import load_parts

    for part in load_parts(task, data=HUB).values():
        yield from part.eval_docs


def _strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a row, with the names that lead to it."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, name)
