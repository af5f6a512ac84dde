"""Test items: what must not be trained on, read from the rows of test sets.

    {"question": "...", "choices": {"text": ["...", "..."]}}      items "question" and "choices.text"

Every string in a row is an item. `words.ngrams` says when a text holds one: one rule for corpora and for task data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructpt.corpus import readers
from instructpt.errors import InputError
from instructpt.records import Reject
from instructpt.words.ngrams import MIN_WORDS, Index, index
from instructpt.words.overlap import CONTAMINATION_GRAM

WHOLE_FILE = 1 << 62


@dataclass(frozen=True, slots=True)
class ItemPlace:
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
    places: Mapping[int, tuple[ItemPlace, ...]]
    num_rows: Mapping[str, int]
    """Of each test set."""


def load(
    sets: Mapping[str, Iterable[Any]],
    *,
    fields: Sequence[str] = (),
    length: int = CONTAMINATION_GRAM,
    min_words: int = MIN_WORDS,
) -> Items:
    """The items of test sets, of which each is a name and rows. fields: which of a row's hold items; none: all.

    length: so many words in a row are a match; min_words: of a shorter item, which must match as a whole. Raises
    InputError for a set without any item.
    """
    places: list[ItemPlace] = []
    texts: list[str] = []
    num_rows: dict[str, int] = {}
    for task, rows in sets.items():
        for row, values in enumerate(rows):
            num_rows[task] = row + 1
            for name, text in _strings(values):
                if not fields or name in fields or name.partition(".")[0] in fields:
                    places.append(ItemPlace(task, row, name))
                    texts.append(text)
        if not places or places[-1].task != task:
            wanted = f" in {', '.join(fields)}" if fields else ""
            raise InputError(f"{task} has no text{wanted}: give a file of rows with strings, or other fields")
    made = index(texts, length=length, min_words=min(min_words, length))
    firsts = {item: texts[found[0]] for item, found in enumerate(made.places)}
    return Items(made, firsts, {i: tuple(places[p] for p in found) for i, found in enumerate(made.places)}, num_rows)


def file_rows(urls: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The fields of each row of files that corpora are read from. Raises InputError for a row that cannot be read."""
    for shard in readers.shards(urls, shard_bytes=WHOLE_FILE):
        for part in shard:
            for number, row in enumerate(readers.FORMATS[part.format].rows(part), 1):
                if isinstance(row, Reject):
                    raise InputError(
                        f"{part.url}, row {number} cannot be read ({row.reason}): mend it or take it out, since what "
                        "it holds would not be looked for"
                    )
                yield row.fields


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
