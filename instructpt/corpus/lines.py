"""JSON Lines: one JSON object a line, plain or compressed, cut into byte ranges that lose and double no line.

A part is a half-open range of bytes of the decompressed file; a line belongs to the part in which its first byte lies:

    bytes   0         10        20        30
            {"text":1}\n{"text":22}\n{"text":333}\n
    parts   [0 ......... 16) [16 ........... 35)
    lines   the 1st and 2nd   the 3rd (it starts at 23; the 2nd, at 11, is skipped over)

Plain files are sought in. A compressed file is read from its beginning for every part and, since its decompressed size
is known only at its end, its last part is open and the number of parts rests on the ratio seen in its first 256 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import orjson

from instructpt.corpus.parts import Part, Row, balanced
from instructpt.files import File, base_name
from instructpt.files.finding import expansion
from instructpt.files.streams import compression, opened
from instructpt.records import Reject

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# orjson reads 1024 levels and writes 254; what is read here has to be written again.
_MAX_DEPTH = 200


def cut(file: File, *, shard_bytes: int) -> list[Part]:
    """Parts of about `shard_bytes` decompressed bytes. Raises InputError for a file that cannot be decompressed."""
    num_bytes = file.num_bytes * expansion(file.url)
    ranges = balanced(num_bytes, largest=shard_bytes)
    return [
        Part(file.url, "jsonl", start, None if i == len(ranges) - 1 else stop, stop - start)
        for i, (start, stop) in enumerate(ranges)
    ]


def rows(part: Part) -> Iterator[Row | Reject]:
    """The objects of a part, and its other lines as rejects. A row is named by the byte at which its line starts.

    Blank lines are no rows. Memory is bounded by the longest line. Raises InputError for a damaged or missing file.
    """
    name = base_name(part.url)
    with opened(part.url) as stream:
        for position, line in _lines(stream, part):
            if position == 0:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line and not line.isspace():
                yield _row(line, f"{name}:{position}")


def _row(line: bytes, name: str) -> Row | Reject:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _reject(line, "broken_json" if _is_utf8(line) else "not_utf8")
    if not isinstance(value, dict):
        return _reject(line, "not_an_object")
    if line.count(b"{") + line.count(b"[") > _MAX_DEPTH:
        try:
            orjson.dumps(value)
        except TypeError:
            return _reject(line, "nested_too_deeply")
    return Row(name, value)


def _reject(line: bytes, reason: str) -> Reject:
    return Reject(line[:_SAMPLE_BYTES].decode("utf-8", "replace"), reason)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(stream: IO[bytes], part: Part) -> Iterator[tuple[int, bytes]]:
    """The lines that start in the part, each with its first byte's position, without the line break."""
    # From one byte before the part on: the byte there tells whether a line starts right at the part's first byte.
    position = max(0, part.start - 1)
    if compression(part.url):
        left = position
        while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
    else:
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
