"""Raw files to documents: what is read, in which pieces, and what becomes of rows that are broken.

    shards(["data/", "more.jsonl.zst"], shard_bytes=...)      read(shard)

    data/a.jsonl     300 MB   -> Part 0-100, 100-200, 200-    -> three shards
    data/b.txt         4 kB   -> Part                         \\
    data/c.txt         7 kB   -> Part                          > one shard: small parts ride together
    more.jsonl.zst     2 MB   -> Part                         /

A shard is a tuple of parts, a part is a piece of one file; both are plain values that any process can read from. Parts
keep the order of the files as given, sorted within a folder or glob. What `read` gives for all shards together does not
depend on `shard_bytes`. Every row of every file comes out once: as a document, or as a reject with its reason:

    broken_json         no JSON (also what JSON forbids: NaN, a lone surrogate)
    not_an_object       JSON, but a list, a number, ...
    nested_too_deeply   an object of more levels than can be written again (254)
    not_utf8            bytes that are no UTF-8
    missing_text        the text field is absent or null
    text_not_a_string   the text field holds something else

Blank lines are no rows. A file that is damaged, or of which none of the first 100 rows can be used, is not the user's
intent: it stops the run with an InputError instead of vanishing row by row.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from instructpt import files
from instructpt.corpus import hub, lines, tables, texts
from instructpt.corpus.parts import Part, Row
from instructpt.errors import InputError, RecipeError
from instructpt.files import File
from instructpt.records import Document, Reject

Shard = tuple[Part, ...]
"""What is read as one unit of work: parts that follow each other."""

ROWS_CHECKED = 100
"""So many rows of a file may be without a usable one before it counts as the wrong file."""

_FIELDS_SHOWN = 20
_SAMPLE_CHARACTERS = 1000


class Cut(Protocol):
    """Cuts a file into parts, in order, at least one."""

    def __call__(self, file: File, *, shard_bytes: int) -> list[Part]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """How the files of one format are read. A new one is a file with these functions and a line in `FORMATS`."""

    suffixes: tuple[str, ...]
    """Extensions it goes by; each may be followed by .gz or .zst."""
    cut: Cut
    rows: Callable[[Part], Iterator[Row | Reject]]
    digest: Callable[[File], str] = files.content_digest


FORMATS = {
    "jsonl": Format((".jsonl", ".json", ".ndjson"), lines.cut, lines.rows),
    "parquet": Format((".parquet",), tables.cut, tables.rows),
    "text": Format((".txt", ".md", ".markdown"), texts.cut, texts.rows),
    "dataset": Format((), hub.cut, hub.rows, hub.content_digest),
}


def shards(urls: Sequence[str], *, shard_bytes: int) -> list[Shard]:
    """Cut the files at `urls` into shards of about `shard_bytes` uncompressed bytes each.

    urls: paths and fsspec URLs of files, folders and globs, and Hub data sets (hf://owner/name:split). A file named
    twice is read once. Raises InputError for what is missing, empty, damaged or of an unknown format.
    """
    if shard_bytes < 1:
        raise RecipeError(f"shard_bytes is {shard_bytes}: give at least 1")
    packed: list[list[Part]] = []
    num_bytes = 0
    for file in _found(urls):
        for part in FORMATS[_format(file)].cut(file, shard_bytes=shard_bytes):
            if not packed or num_bytes + part.num_bytes > shard_bytes:
                packed.append([])
                num_bytes = 0
            packed[-1].append(part)
            num_bytes += part.num_bytes
    return [tuple(parts) for parts in packed]


def sources(urls: Sequence[str]) -> dict[str, str]:
    """What the corpus at `urls` is: each file's name and a digest of its content, so that a changed file is noticed.

    Reads up to 64 MiB of a file (`Format.digest`). Raises InputError as `shards` does.
    """
    return {file.url: FORMATS[_format(file)].digest(file) for file in _found(urls)}


def read(shard: Shard, *, text_field: str = "text", id_field: str = "id", skip: int = 0) -> Iterator[Document | Reject]:
    """The documents of a shard, and its rows that are none, in the order of the files. Streams.

    id_field: its value is the document's id, where it is a string or number; else the id is the file's name and the
    place of the row (the byte where a line starts, the number of a table's row). The document's source is the file as
    the user named it: a row's own field "source" often names a page, and chains of passages (`synthesis.chains`) are
    made within one source. All other fields go to `meta`.
    skip: rows left out at the start of each file.
    Raises InputError for a file that is missing or damaged, whose first 100 rows hold no `text_field`, or whose first
    part has no more than `skip` rows.
    """
    for part in shard:
        rows = FORMATS[part.format].rows(part)
        field = texts.FIELD if part.format == "text" else text_field
        checked = rows if part.start or part.format == "text" else _checked(rows, part, field)
        for row in checked if part.start or not skip else _after(checked, skip, part):
            yield row if isinstance(row, Reject) else _document(row, part.url, field, id_field)


def _found(urls: Sequence[str]) -> list[File]:
    """Every file and data set of the corpus once, in order."""
    assert not isinstance(urls, str), "urls is one string: give a sequence of them"
    if not urls:
        raise InputError("no input is given: name files, folders or globs")
    found: dict[str, File] = {}
    for url in urls:
        for file in [File(url, 0)] if hub.is_dataset(url) else files.find(url):
            found.setdefault(file.url, file)
    return list(found.values())


def _format(file: File) -> str:
    """The name of a file's format."""
    if hub.is_dataset(file.url):
        return "dataset"
    for name, known in FORMATS.items():
        if file.suffix in known.suffixes:
            return name
    supported = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
    raise InputError(
        f"{file.url} is of no known format: files may end in {supported}, then .gz or .zst; "
        f"to leave it out, give a glob such as {posixpath.join(posixpath.dirname(file.url), '*.jsonl')}"
    )


def _checked(rows: Iterator[Row | Reject], part: Part, text_field: str) -> Iterator[Row | Reject]:
    """The rows of a file's first part; raises InputError when the first ones show that it is not what was said."""
    seen: dict[str, None] = {}
    num_rows = 0
    for row in rows:
        if num_rows < ROWS_CHECKED and text_field not in seen:
            num_rows += 1
            if isinstance(row, Row):
                seen |= dict.fromkeys(row.fields)
            if num_rows == ROWS_CHECKED and text_field not in seen:
                raise _wrong(part.url, text_field, seen)
        yield row
    if num_rows and text_field not in seen and part.stop is None:
        raise _wrong(part.url, text_field, seen)


def _after(rows: Iterator[Row | Reject], skip: int, part: Part) -> Iterator[Row | Reject]:
    """The rows of a file's first part but for the first `skip`."""
    number = -1
    for number, row in enumerate(rows):
        if number >= skip:
            yield row
    if number < skip:
        raise InputError(f"{part.url} begins with {number + 1} rows and {skip} are to be skipped: lower skip")


def _wrong(url: str, text_field: str, seen: dict[str, None]) -> InputError:
    if not seen:
        return InputError(
            f"no row of {url} is a JSON object: one object a line is expected (of an array: `jq -c '.[]'`)"
        )
    names = ", ".join(list(seen)[:_FIELDS_SHOWN]) + (", ..." if len(seen) > _FIELDS_SHOWN else "")
    return InputError(
        f"no row of {url} has a field {text_field!r} (fields: {names}): name the right one with --text-field"
    )


def _document(row: Row, url: str, text_field: str, id_field: str) -> Document | Reject:
    meta = row.fields
    text = meta.pop(text_field, None)
    if not isinstance(text, str):
        sample = f"{row.name}: {text_field}={text!r} {meta!r}"[:_SAMPLE_CHARACTERS]
        return Reject(sample, "missing_text" if text is None else "text_not_a_string")
    name = row.name
    if isinstance(meta.get(id_field), str | int | float):
        name = str(meta.pop(id_field))
    return Document(name, text, url, meta)
