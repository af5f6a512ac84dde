"""Pieces of files, the rows that are read from them, and how a file that has to be read in order is cut.

What can only be read from its beginning (a compressed file, CSV, an archive) is cut into parts all the same, so that
its shards resume and are worked on apart: a part holds the items that begin in its range of decompressed bytes. A
process that has read one part keeps the file open where it stands, and goes on from there when it is given a later one:

    process 1     part 0 [----)              part 2 [----)              part 3 [----)
    process 2     ............ part 1 [----).............. part 4 [----)
                  read over, not parsed

So however many parts there are, a process decompresses a file at most once.
"""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
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
