"""Files of queries to queries: one a line of text, or one a row of any format that `corpus.readers` reads.

    how do i reset the pump            -> how do i reset the pump
    How do I reset the pump?           -> repeated           the same words: the first one stays
    {"query": "pump\\tleaks  oil"}       -> pump leaks oil

Of a row the text alone is read: who asked, from where and when stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructpt.corpus import readers
from instructpt.corpus.encodings import opened_utf8
from instructpt.corpus.parts import Part
from instructpt.records import Document, Reject
from instructpt.seeds import digest
from instructpt.words.wordforms import folded_words

FIELD_FLAG = "--query-field"
MAX_CHARACTERS = 1_000
"""Of a query: a longer one is a letter, and fills the window of a small reader by itself."""
_MAX_LINE_BYTES = 1 << 16
_SHARD_BYTES = 2**40
"""One shard: that a query repeats another one is seen in the whole alone."""


def key(query: str) -> int:
    """64 bits that queries of the same words share, whatever their case, accents and punctuation."""
    return int.from_bytes(digest("query", *folded_words(query))[:8], "little")


def read_queries(files: Sequence[str], *, field: str) -> Iterator[Document | Reject]:
    """The queries of all files in order, each once, as documents of one line; a reject for each row that is none.

    field: of rows with fields. Streams; 60 bytes a query are held to know it again. Rejects have a reason and no text:
    those of `readers`, and `no_words`, `too_long`, `repeated`. Raises InputError as `readers.read` does.
    """
    seen = set[int]()
    number = 0
    for shard in readers.shards(files, shard_bytes=_SHARD_BYTES):
        for part in shard:
            for row in _rows(part, field):
                found = row if isinstance(row, Reject) else _query(row, seen)
                if isinstance(found, str):
                    yield Document(f"{number:08d}", found, part.url)
                else:
                    yield Reject("", found.reason)
                number += 1


def _query(text: str, seen: set[int]) -> str | Reject:
    line = " ".join(text.split())
    if len(line) > MAX_CHARACTERS:
        return Reject("", "too_long")
    if not folded_words(line):
        return Reject("", "no_words")
    if (named := key(line)) in seen:
        return Reject("", "repeated")
    seen.add(named)
    return line


def _rows(part: Part, field: str) -> Iterator[str | Reject]:
    if part.format == "text":
        yield from _lines(part.url)
        return
    for row in readers.read((part,), text_field=field, flag=FIELD_FLAG, is_private=True):
        yield row if isinstance(row, Reject) else row.text


def _lines(url: str) -> Iterator[str | Reject]:
    """The lines of a file that are not blank; one of more than 64 KiB is `too_long`, and never held as a whole."""
    with opened_utf8(url) as stream:
        while line := stream.readline(_MAX_LINE_BYTES):
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (more := stream.readline(_MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                    pass
                yield Reject("", "too_long")
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError:
                yield Reject("", "not_utf8")
                continue
            if text.strip():
                yield text
