"""Pieces of files, the rows that are read from them, and how a file that has to be read in order is cut.

What can only be read from its beginning (a compressed file, CSV, an archive) is cut into parts all the same, so that
its shards resume and are worked on apart: a part holds the items that begin in its range of decompressed bytes. A
process that has read one part keeps the file open where it stands, and goes on from there when it is given a later one:

    process 1     part 0 [----)              part 2 [----)              part 3 [----)
    process 2     ............ part 1 [----).............. part 4 [----)
                  read over, not parsed

So however many parts there are, a process decompresses a file at most once.

A row's text is in a field, in a nested one by a dotted path, in one piece or several:

--text-field body            {"body": "..."}
--text-field content.text    {"content": {"text": "..."}}; a key with a dot wins: {"content.text": "..."}
--text-field text            {"text": ["a paragraph", "another"]}: one text, a blank line between its pieces
--text-field messages        {"messages": [{"role": "user", "content": "..."}, ...]}: the turns, likewise
"""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from instructpt.files import File
from instructpt.files.finding import expansion, stamp

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one file, the least that is read at once. What `start` and `stop` count is up to the format."""

    url: str
    format: str
    """A name in `readers.FORMATS`."""
    start: int = 0
    stop: int | None = None
    """None: to the end of the file."""
    num_bytes: int = 0
    """About how many bytes of uncompressed data it has."""
    name: str = ""
    """Begins the names of its rows."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, not yet a document."""

    name: str
    """File name and place in the file: the id of a document that has none of its own."""
    fields: dict[str, Any]
    """JSON values."""


def whole(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002, ARG001 - as every format is cut
    """The file as one part."""
    return [Part(file.url, format, num_bytes=file.num_bytes * expansion(file.url), name=file.name)]


def cut_evenly(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002
    """Ranges of about `shard_bytes` decompressed bytes. Raises InputError for a file that cannot be decompressed.

    The size of a compressed file is known only at its end: the number of parts rests on the ratio seen in its first
    256 KiB, and the last one is open.
    """
    ranges = balanced(file.num_bytes * expansion(file.url), largest=shard_bytes)
    return [
        Part(file.url, format, start, None if i == len(ranges) - 1 else stop, stop - start, file.name)
        for i, (start, stop) in enumerate(ranges)
    ]


def balanced(total: int, *, largest: int) -> Sequence[tuple[int, int]]:
    """`total` cut into the fewest equal half-open ranges of at most `largest`."""
    num_ranges = max(1, -(-total // largest))
    bounds = [total * i // num_ranges for i in range(num_ranges + 1)]
    return list(itertools.pairwise(bounds))


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """A file that was read as far as the end of a part."""

    file: tuple[str, str, str]
    """Format, URL, and the stamp that changes with the content."""
    reached: int
    """Nothing that begins before this is left."""
    items: Iterator[tuple[int, T]]
    close: Callable[[], None]


_waiting: list[_Waiting[Any]] = []
"""At most one a process: parts come in order."""


def in_order(part: Part, begin: Callable[[], Generator[tuple[int, T], None, None]]) -> Iterator[tuple[int, T]]:
    """The items of a part with their positions, from a file that can only be read in order.

    begin: opens the file and yields all its items, positions ascending.
    """
    file = (part.format, part.url, stamp(part.url))
    waiting = _waiting.pop() if _waiting else None
    if waiting and (waiting.file != file or waiting.reached > part.start):
        waiting.close()
        waiting = None
    if waiting is None:
        generator = begin()
        waiting = _Waiting(file, 0, generator, generator.close)
    try:
        for position, item in waiting.items:
            if part.stop is not None and position >= part.stop:
                ahead = itertools.chain([(position, item)], waiting.items)
                _close_waiting()
                _waiting.append(_Waiting(file, part.stop, ahead, waiting.close))
                waiting = None
                return
            if position >= part.start:
                yield position, item
    finally:
        if waiting is not None:
            waiting.close()


@atexit.register
def _close_waiting() -> None:
    while _waiting:
        _waiting.pop().close()


JOINER = "\n\n"
"""Between the pieces or turns of a text."""
_TURN_FIELDS = ("content", "text", "value")
"""What a turn or a piece is called in the usual layouts: chat messages, pieces of them, ShareGPT."""


def value_at(fields: object, path: str) -> Any:
    """What stands at a dotted path; None if there is nothing. Of a list along the way: the list of its elements'."""
    if isinstance(fields, list):
        found = [value_at(item, path) for item in fields]
        return found if any(item is not None for item in found) else None
    if not isinstance(fields, Mapping):
        return None
    if path in fields:
        return fields[path]
    for place, character in enumerate(path):
        if character == "." and path[:place] in fields:
            return value_at(fields[path[:place]], path[place + 1 :])
    return None


def without(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """A row's other fields: without what `value_at` gives."""
    if path in fields:
        return {name: value for name, value in fields.items() if name != path}
    for place, character in enumerate(path):
        if character == "." and (start := path[:place]) in fields:
            rest = path[place + 1 :]
            inner = fields[start]
            if isinstance(inner, dict):
                return {**fields, start: without(inner, rest)}
            if isinstance(inner, list):
                return {**fields, start: [without(i, rest) if isinstance(i, dict) else i for i in inner]}
    return fields


def joined(value: Any) -> str | None:
    """The text that a value holds: a string, or pieces or turns joined by a blank line; None if some piece has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        names = [name for name in _TURN_FIELDS if name in value]  # null where a turn only calls a tool
        return joined(value[names[0]]) if names and value[names[0]] is not None else "" if names else None
    if isinstance(value, list) and value:
        pieces = [joined(item) for item in value]
        if all(piece is not None for piece in pieces):
            return JOINER.join(piece for piece in pieces if piece)
    return None
