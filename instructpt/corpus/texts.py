"""Plain text and Markdown: one document a file, read whole."""

from __future__ import annotations

from collections.abc import Iterator

from instructpt.corpus.encodings import encoding_of, refusal
from instructpt.corpus.parts import Part, Row, whole
from instructpt.files import File
from instructpt.files.streams import opened
from instructpt.records import Reject


def cut(file: File, *, shard_bytes: int) -> list[Part]:  # noqa: ARG001 - the signature of every format
    """The file as one part: a document is never cut by a reader."""
    return whole(file, "text")


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The file's text as one row, line breaks as \\n, without a byte order mark.

    A reject that says which bytes are at fault, if it is neither UTF-8 nor of an encoding that is certain.
    """
    with opened(part.url) as stream:
        data = stream.read()
    text = decoded(data)
    if text is None:
        yield Reject(refusal(data, part.url), "not_utf8")
    else:
        yield Row(part.name, {text_field: text})


def decoded(data: bytes) -> str | None:
    """Text from bytes in UTF-8, or in an encoding that is certain; None if none is."""
    encoding = encoding_of(data)
    try:
        return data.decode(encoding).replace("\r\n", "\n") if encoding else None
    except UnicodeDecodeError:  # what follows the part that was looked at
        return None
