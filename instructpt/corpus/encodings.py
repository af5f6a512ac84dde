"""Which encoding a file's bytes are in: by its mark, else UTF-8, else what a detector is sure of."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from instructpt.files.finding import head
from instructpt.files.streams import opened

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DETECTED_BYTES = 1 << 16
_MARGIN = 0.05
"""By so much less "mess" (charset-normalizer's word) the best decoding must have than any that reads otherwise. With it
German, Polish, Czech, Russian, Japanese, Chinese and Korean texts of one line are told right; French and Spanish ones,
which some Baltic code page reads about as well, are called uncertain."""
_BLOCK_BYTES = 1 << 18
_SHOWN_BYTES = 12
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")


def encoding_of(data: bytes) -> str | None:
    """The encoding of a file that begins with `data`, "utf-8" where that fits; None if nothing is certain."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    if _is_utf8(data):
        return "utf-8"
    if (wide := _utf16_without_mark(data)) is not None:
        return wide
    num_high = sum(map(len, _HIGH.findall(data)))
    if 2 * sum(map(len, _UTF8_SEQUENCE.findall(data))) > num_high:
        return None  # UTF-8 with some damage: another encoding would spoil what is whole
    return _detected(data[:_DETECTED_BYTES])


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data[:_DETECTED_BYTES] or _utf16_without_mark(data) is None


def _utf16_without_mark(data: bytes) -> str | None:
    """Latin letters in UTF-16 have a zero in every other byte."""
    sample = data[:_DETECTED_BYTES]
    even, odd, half = sample[::2].count(0), sample[1::2].count(0), len(sample) // 2
    if half >= 4 and odd > 0.7 * half and not even:
        return "utf-16-le"
    return "utf-16-be" if half >= 4 and even > 0.7 * half and not odd else None


def _detected(data: bytes) -> str | None:
    from charset_normalizer import from_bytes

    found = list(from_bytes(data))
    if not found:
        return None
    best = found[0]
    doubtful = any(other.chaos < best.chaos + _MARGIN and str(other) != str(best) for other in found[1:])
    return None if doubtful or b"\0" in data else str(best.encoding)


def decoded(data: bytes) -> str | None:
    """Text from bytes in UTF-8, or in an encoding that is certain; None if none is."""
    encoding = encoding_of(data)
    try:
        return data.decode(encoding).replace("\r\n", "\n") if encoding else None
    except UnicodeDecodeError:  # what follows the part that was looked at
        return None


def refusal(data: bytes, name: str) -> str:
    """Which bytes of a file are no UTF-8, and how to convert it."""
    try:
        data.decode()
        place = 0
    except UnicodeDecodeError as error:
        place = error.start
    around = data[max(0, place - _SHOWN_BYTES) : place + _SHOWN_BYTES]
    return (
        f"{name}: byte {place:,} is no UTF-8 ({around!r}) and its encoding is not certain; "
        f"convert the file: iconv -f ISO-8859-1 -t UTF-8 {name} > new.txt"
    )


@contextmanager
def opened_utf8(url: str) -> Iterator[IO[bytes]]:
    """The bytes of a file in UTF-8, without a mark; as they are where the encoding is not certain.

    Raises InputError as `streams.opened` does.
    """
    encoding = encoding_of(head(url))
    with opened(url) as stream:
        if encoding in ("utf-8", None):
            yield stream
        elif encoding == "utf-8-sig":
            stream.read(len(codecs.BOM_UTF8))
            yield stream
        else:
            yield io.BufferedReader(cast(io.RawIOBase, _Recoded(stream, str(encoding))), _BLOCK_BYTES)


class _Recoded(io.RawIOBase):
    """A stream in UTF-8 over one in another encoding; what does not decode becomes U+FFFD."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._left = b""
        self._is_over = False

    def readable(self) -> bool:
        """It can."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with what comes next; the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        while not self._left and not self._is_over:
            block = self._stream.read(_BLOCK_BYTES)
            self._is_over = not block
            self._left = self._decoder.decode(block, final=self._is_over).encode()
        size = min(len(view), len(self._left))
        view[:size], self._left = self._left[:size], self._left[size:]
        return size
