"""JSON Lines: one JSON object a line, plain or compressed, cut into byte ranges that lose and double no line.

A part is a half-open range of bytes of the decompressed file; a line belongs to the part in which its first byte lies:

    bytes   0         10        20        30
            {"text":1}\\n{"text":22}\\n{"text":333}\\n
    parts   [0 ......... 16) [16 ........... 35)
    lines   the 1st and 2nd   the 3rd (it starts at 23; the 2nd, at 11, is skipped over)

Plain files are sought in; others are read in order (`parts.in_order`). A file of the same names that is an array, or
objects over several lines, is told by its beginning and left to `values`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import IO, Any

import orjson

from instructpt.corpus import values
from instructpt.corpus.encodings import encoding_of, opened_utf8
from instructpt.corpus.parts import Part, Row, cut_evenly, in_order
from instructpt.files import File
from instructpt.files.finding import head
from instructpt.files.streams import is_seekable, opened
from instructpt.records import Reject

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LARGEST_EXACT = 2.0**63
"""orjson makes a float of an integer beyond 64 bits; smaller floats were written as such."""

# orjson reads 1024 levels and writes 254; what is read here has to be written again.
_MAX_DEPTH = 200


def cut(file: File, _: str, *, shard_bytes: int) -> list[Part]:
    """Parts of about `shard_bytes` decompressed bytes. Raises InputError for a file that cannot be decompressed."""
    return cut_evenly(file, "jsonl" if values.is_in_lines(head(file.url)) else "json", shard_bytes=shard_bytes)


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The objects of a part, and its other lines as rejects. A row is named by the byte at which its line starts.

    Blank lines are no rows. Memory is bounded by the longest line. Raises InputError for a damaged or missing file.
    """
    del text_field
    for position, line in _lines(part):
        if position == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line and not line.isspace():
            yield row(line, f"{part.name}:{position}")


def row(line: bytes, name: str) -> Row | Reject:
    """The object that stands in a line, or why there is none.

    As `json.dumps` writes it: not-a-number and infinity are null. Integers beyond 64 bits are strings of their digits.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = values.loads(line.decode())
            orjson.dumps(value)
        except UnicodeDecodeError:
            return _reject(line, "not_utf8")
        except (json.JSONDecodeError, RecursionError, orjson.JSONEncodeError):
            return _reject(line, "broken_json")
    if not isinstance(value, dict):
        return _reject(line, "not_an_object")
    if line.count(b"{") + line.count(b"[") > _MAX_DEPTH:
        try:
            orjson.dumps(value)
        except TypeError:
            return _reject(line, "nested_too_deeply")
    return Row(name, value if _is_exact(value) else values.loads(line.decode()))


def _is_exact(value: Any) -> bool:
    """Whether no float in a value may stand for a longer integer."""
    if isinstance(value, float):
        return abs(value) < _LARGEST_EXACT
    if isinstance(value, dict):
        return all(_is_exact(item) for item in value.values() if not isinstance(item, str))
    return not isinstance(value, list) or all(_is_exact(item) for item in value if not isinstance(item, str))


def _reject(line: bytes, reason: str) -> Reject:
    return Reject(line[:_SAMPLE_BYTES].decode("utf-8", "replace"), reason)


def _lines(part: Part) -> Iterator[tuple[int, bytes]]:
    """The lines that start in the part, each with its first byte's position."""
    if is_seekable(part.url) and encoding_of(head(part.url)) in ("utf-8", "utf-8-sig", None):
        with opened(part.url) as stream:
            yield from _sought(stream, part)
    else:
        yield from in_order(part, lambda: _all(part.url))


def _all(url: str) -> Generator[tuple[int, bytes], None, None]:
    position = 0
    with opened_utf8(url) as stream:
        for line in stream:
            yield position, line
            position += len(line)


def _sought(stream: IO[bytes], part: Part) -> Iterator[tuple[int, bytes]]:
    # From one byte before the part on: the byte there tells whether a line starts right at the part's first byte.
    position = max(0, part.start - 1)
    stream.seek(position)
    pieces: list[bytes] = []
    is_tail = part.start > 0  # the end of a line that an earlier part owns
    while chunk := stream.read(_CHUNK_BYTES):
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line = b"".join([*pieces, piece])
            if not is_tail:
                yield position, line
            position += len(line) + 1
            pieces, is_tail = [], False
            if part.stop is not None and position >= part.stop:
                return
        pieces.append(rest)
    if not is_tail and any(pieces):
        yield position, b"".join(pieces)
