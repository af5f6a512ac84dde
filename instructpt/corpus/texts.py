"""Plain text and Markdown: one document a file, read whole."""

from __future__ import annotations

from collections.abc import Iterator

from instructpt.corpus.parts import Part, Row
from instructpt.files import File, base_name
from instructpt.files.streams import opened
from instructpt.records import Reject

FIELD = "text"
"""Where a row of these files holds its text."""

_SAMPLE_BYTES = 1000


def cut(file: File, *, shard_bytes: int) -> list[Part]:  # noqa: ARG001 - the signature of every format
    """The file as one part: a document is never cut by a reader."""
    return [Part(file.url, "text", num_bytes=file.num_bytes)]


def rows(part: Part) -> Iterator[Row | Reject]:
    """The file's text as one row, line breaks as \\n, without a byte order mark; a reject if it is not UTF-8."""
    with opened(part.url) as stream:
        data = stream.read()
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        yield Reject(data[:_SAMPLE_BYTES].decode("utf-8", "replace"), "not_utf8")
    else:
        yield Row(base_name(part.url), {FIELD: text})
