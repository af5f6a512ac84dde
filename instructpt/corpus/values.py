"""JSON that is not in lines: an array of rows, objects over several lines, an object that holds the rows.

    [{"text": ...}, {"text": ...}]          {"version": 1, "data": [{"text": ...}]}          {
                                                                                               "text": ...
                                                                                             }
One element is in memory at a time. The rows of an object are those of its first list whose first element has the text
field, where the object itself has none.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator
from typing import IO, Any

import orjson

from instructpt.corpus.encodings import encoding_of, opened_utf8
from instructpt.corpus.parts import Part, Row, in_order, value_at
from instructpt.errors import InputError
from instructpt.records import Reject

_CHUNK_BYTES = 1 << 20
_WHOLE_CHARACTERS = 1 << 24
"""An object up to this size is looked at as a whole before it is taken for a row or for what holds the rows."""
_SAMPLE_CHARACTERS = 1000
_BLANK = re.compile(r"[ \t\r\n]*")
_LIST_OF_OBJECTS = re.compile(
    r'\{\s*("[^"\\]{0,100}"\s*:\s*(\d+|true|false|null|"[^"\\]{0,1000}")\s*,\s*)*"[^"\\]{0,100}"\s*:\s*\[\s*\{'
)


def _integer(digits: str) -> int | str:
    """An integer that JSON writers of 64 bits can store; the digits of a longer one."""
    if len(digits) > 20:
        return digits
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else digits


_decoder = json.JSONDecoder(parse_constant=lambda _: None, parse_int=_integer)
loads = _decoder.decode


def is_in_lines(start: bytes) -> bool:
    """Whether a file that begins with `start` has one JSON value a line; else its values are read one by one."""
    encoding = encoding_of(start) or "utf-8"
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start).lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        first, _, rest = text.partition("\n")
        return bool(rest.strip()) and _is_value(first) and not rest.lstrip().startswith((",", "]"))
    if not text.startswith("{"):
        return True
    first, _, rest = text.partition("\n")
    if not rest.strip():  # one line: an object that holds rows, or a row, or the start of a long one
        return not _LIST_OF_OBJECTS.match(text)
    if _is_value(first):
        return True
    try:
        _decoder.raw_decode(text)
    except json.JSONDecodeError as error:  # broken at once, or only cut off by the end of what was looked at
        return not (error.pos >= len(text.rstrip()) - 10 or error.msg.startswith("Unterminated"))
    except RecursionError:
        return True
    return False


def _is_value(line: str) -> bool:
    try:
        loads(line)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The rows of a part, named by their number in the file.

    Raises InputError where a file is damaged: what follows cannot be told from it.
    """

    def begin() -> Generator[tuple[int, tuple[int, Any]], None, None]:
        with opened_utf8(part.url) as stream:
            text = _Text(stream)
            try:
                for number, value in enumerate(_rows(text, text_field)):
                    yield text.position, (number, value)
            except (json.JSONDecodeError, RecursionError) as error:
                what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                raise InputError(
                    f"{part.url} is no whole JSON ({what}, near character {text.position:,}): mend it there, or give "
                    "one object a line"
                ) from error

    for _, (number, value) in in_order(part, begin):
        yield _row(value, f"{part.name}:{number}")


def _row(value: Any, name: str) -> Row | Reject:
    if not isinstance(value, dict):
        return Reject(repr(value)[:_SAMPLE_CHARACTERS], "not_an_object")
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        reason = "nested_too_deeply" if "ecursion" in str(error) else "not_utf8"
        return Reject(ascii(value)[:_SAMPLE_CHARACTERS], reason)
    return Row(name, value)


def _rows(text: _Text, text_field: str) -> Iterator[Any]:
    while start := text.peek():
        if start == "[":
            yield from text.elements()
        elif start == "{" and (value := text.value(most=_WHOLE_CHARACTERS)) is None:
            yield from _large(text, text_field)
        elif start == "{":
            yield from _held(value, text_field) or [value]
        else:
            yield text.value()


def _held(value: dict[str, Any], text_field: str) -> list[Any]:
    """The rows that an object holds; none if it is one itself."""
    if value_at(value, text_field) is None:
        for items in value.values():
            if isinstance(items, list) and items and value_at(items[0], text_field) is not None:
                return items
    return []


def _large(text: _Text, text_field: str) -> Iterator[Any]:
    """As `_held`, of an object too large to be looked at as a whole: field by field."""
    fields: dict[str, Any] = {}
    has_rows = False
    for key in text.names():
        if text.peek() == "[" and not has_rows and value_at(fields, text_field) is None:
            items = text.elements()
            first = next(items, None)
            has_rows = value_at(first, text_field) is not None
            if has_rows:
                yield first
                yield from items
            else:
                fields[key] = [first, *items]
        else:
            fields[key] = text.value()
    if not has_rows:
        yield fields


class _Text:
    """JSON text, a stretch of it at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._is_over = False
        self._before = 0

    @property
    def position(self) -> int:
        """Characters that are read."""
        return self._before + self._at

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            found = _BLANK.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text) or not self._fill(_CHUNK_BYTES):
                return self._text[self._at : self._at + 1]

    def value(self, *, most: int | None = None) -> Any:
        """The value that begins here; None, and nothing read, if it has more than `most` characters."""
        self.peek()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or self._is_over:
                    self._at = end
                    return value
            except json.JSONDecodeError:
                if self._is_over:
                    raise
            held = len(self._text) - self._at
            if most is not None and held >= most:
                return None
            self._fill(max(_CHUNK_BYTES, held))  # twice as much each time: linear in all

    def elements(self) -> Iterator[Any]:
        """The elements of the array that begins here."""
        return (self.value() for _ in self._items("[", "]"))

    def names(self) -> Iterator[str]:
        """The names in the object that begins here; the value of each is to be read before the next."""
        for _ in self._items("{", "}"):
            key = self.value()
            self._expect(":")
            yield key

    def _items(self, first: str, last: str) -> Iterator[None]:
        """Stops before each item of what begins here; the item is to be read before the next."""
        self._expect(first)
        while self.peek() != last:
            yield
            if self.peek() == ",":
                self._at += 1
            elif self.peek() != last:
                self._expect(",")
        self._at += 1

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise json.JSONDecodeError(f"{character!r} is expected", self._text, self._at)
        self._at += 1

    def _fill(self, size: int) -> bool:
        """Read on; whether there was more."""
        if self._is_over:
            return False
        block = self._stream.read(size)
        self._is_over = not block
        self._before += self._at
        self._text = self._text[self._at :] + self._decoder.decode(block, final=self._is_over)
        self._at = 0
        return True
