"""Raw files to documents: what is read, in which pieces, and what becomes of rows that are broken.

    shards(["data/", "more.jsonl.zst"], shard_bytes=...)      read(shard)

    data/a.jsonl     300 MB   -> Part 0-100, 100-200, 200-    -> three shards
    data/b.txt         4 kB   -> Part                         \\
    data/c.txt         7 kB   -> Part                          > one shard: small parts ride together
    more.jsonl.zst     2 MB   -> Part                         /

A shard is a tuple of parts, a part is a piece of one file; both are plain values that any process can read from. Parts
keep the order of the files as given, sorted within a folder or glob. What `read` gives for all shards together does not
depend on `shard_bytes`. Every row of every file comes out once: as a document, or as a reject with its reason:

    broken_json               no JSON (also a lone surrogate)
    not_an_object             JSON, but a list, a number, ...
    nested_too_deeply         an object of more levels than can be written again (254)
    not_utf8                  bytes that are neither UTF-8 nor of an encoding that is certain (`encodings`)
    missing_text              the text field is absent or null
    text_not_a_string         the text field holds something else, or a list of which some piece is no text (`fields`)
    more_cells_than_columns   a row of CSV that does not fit its header
    no_text, no_text_type, no_text_member, cannot_be_converted     pages, records and samples without a text

Blank lines are no rows. A file that is damaged, or of which none of the first 100 rows can be used, is not the user's
intent: it stops the run with an InputError instead of vanishing row by row. What is found beside data in folders
(licences, code, pictures) is not read, and listed by `not_read`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import unquote

from instructpt import files
from instructpt.corpus import hub, lines, pages, tables, values
from instructpt.corpus.parts import Part, Row, cut_evenly, joined, value_at, whole, without
from instructpt.errors import InputError, RecipeError
from instructpt.files import File, finding
from instructpt.records import Document, Reject

Shard = tuple[Part, ...]
"""What is read as one unit of work: parts that follow each other."""

NO_INPUT = "no input is given: name files, folders or globs"
ROWS_CHECKED = 100
"""So many rows of a file may be without a usable one before it counts as the wrong file."""

_FIELDS_SHOWN = 20
_SAMPLE_CHARACTERS = 1000
_SAMPLE_SHOWN = 60


class Cut(Protocol):
    """Cuts a file of the format of a name into parts, in order, at least one."""

    def __call__(self, file: File, name: str, /, *, shard_bytes: int) -> list[Part]: ...


class ReadRows(Protocol):
    """The rows of a part. Where a format has no fields of its own, the text is in `text_field`."""

    def __call__(self, part: Part, text_field: str = ...) -> Iterator[Row | Reject]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """How the files of one format are read. A new one is a file with these functions and a line in `FORMATS`."""

    suffixes: tuple[str, ...]
    """Endings it goes by; each may be followed by that of a compression (`files.streams`)."""
    cut: Cut
    rows: ReadRows
    is_text: bool = False
    """Whether a file is one document, which has no field that could be named wrongly."""


FORMATS = {
    "jsonl": Format((".jsonl", ".json", ".ndjson", ".jsonlines"), lines.cut, lines.rows),
    "json": Format((), lines.cut, values.rows),  # of the same names: `lines.cut` tells by the beginning
    "parquet": Format((".parquet",), tables.cut, tables.rows),
    "arrow": Format((".arrow",), cut_evenly, tables.arrow_rows),
    "csv": Format((".csv", ".tsv"), cut_evenly, tables.csv_rows),
    "text": Format((".txt", ".md", ".markdown"), whole, pages.text_rows, is_text=True),
    "page": Format(pages.SUFFIXES, pages.cut, pages.rows, is_text=True),
    "warc": Format((".warc", ".wet"), pages.cut_warc, pages.warc_rows, is_text=True),
    "tar": Format((".tar",), cut_evenly, pages.tar_rows),
    "dataset": Format((), hub.cut, hub.rows),
}

_NO_DATA = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|contributing|code_of_conduct|security|authors|citation)(\W.*)?"
    r"|(dataset_infos?|dataset_dict|state|metadata|croissant|package|tokenizer_config|config)\.json"
    r"|(requirements|robots)\.txt",
    re.IGNORECASE,
)
"""Names of what stands beside data in a clone of a data set or a folder of `save_to_disk`."""
_SPARK_PART = re.compile(r"part-\d+(-[\w-]+)?")
_MOST_SHARDS = 100_000
_KINDS_SHOWN = 8


def shards(urls: Sequence[str], *, shard_bytes: int) -> list[Shard]:
    """Cut the files at `urls` into shards of about `shard_bytes` uncompressed bytes each.

    urls: paths and fsspec URLs of files, folders and globs, and Hub data sets (hf://owner/name:split). A file named
    twice is read once. Raises InputError for what is missing, empty, damaged or of an unknown format, RecipeError for
    shards so small that there were more than 100,000.
    """
    if shard_bytes < 1:
        raise RecipeError(f"shard_bytes is {shard_bytes}: give at least 1")
    packed: list[list[Part]] = []
    num_bytes = 0
    found = _corpus(urls)
    total = sum(file.num_bytes for file in found.files)
    if total > _MOST_SHARDS * shard_bytes:
        raise RecipeError(
            f"shard_bytes is {shard_bytes} for {total:,} bytes of files: give at least {total // _MOST_SHARDS + 1}"
        )
    for file in found.files:
        name = _format(file)
        for part in FORMATS[name].cut(file, name, shard_bytes=shard_bytes):
            if not packed or num_bytes + part.num_bytes > shard_bytes:
                packed.append([])
                num_bytes = 0
            packed[-1].append(part)
            num_bytes += part.num_bytes
    return [tuple(parts) for parts in packed]


def sources(urls: Sequence[str], *, digest: Callable[[File], str] = files.content_digest) -> dict[str, str]:
    """What the corpus at `urls` is: each file's name and a digest of its content, so that a changed file is noticed.

    digest: of a file; not asked for data sets of the Hub. Raises InputError as `shards` does.
    """
    return {
        file.url: hub.content_digest(file) if hub.is_dataset(file.url) else digest(file) for file in _corpus(urls).files
    }


def not_read(urls: Sequence[str]) -> dict[str, list[str]]:
    """What lies beside the data in folders and is not read: kind ("hidden", "LICENSE", "*.png") -> names."""
    kinds: dict[str, list[str]] = {}
    for kind, name in _corpus(urls).left_out:
        kinds.setdefault(kind, []).append(name)
    return kinds


def read(
    shard: Shard,
    *,
    text_field: str = "text",
    id_field: str = "id",
    skip: int = 0,
    flag: str = "--text-field",
    is_private: bool = False,
) -> Iterator[Document | Reject]:
    """The documents of a shard, and its rows that are none, in the order of the files. Streams.

    text_field, id_field: names of fields, or dotted paths into objects (`fields`). The id's value is the document's id,
    where it is a string or number; else the id is the file's name and the place of the row (the byte where a line
    starts, the number of a table's row). The document's source is the file as the user named it: a row's own field
    "source" often names a page, and chains of passages (`synthesis.chains`) are made within one source. All other
    fields go to `meta`, and with them what folders say (lang=en/part-0.parquet).
    skip: rows left out at the start of each file. flag: what names the field, for messages. is_private: whether
    messages are to hold nothing of a row.
    Raises InputError for a file that is missing or damaged, whose first 100 rows hold no `text_field`, or whose first
    part has no more than `skip` rows.
    """
    for part in shard:
        kind = FORMATS[part.format]
        rows = kind.rows(part, text_field)
        checked = rows if part.start or kind.is_text else _checked(rows, part, text_field, flag, is_private)
        told = _told_by_folders(part.url)
        for row in checked if part.start or not skip else _after(checked, skip, part):
            yield row if isinstance(row, Reject) else _document(row, part.url, text_field, id_field, told)


def _corpus(urls: Sequence[str]) -> finding.Found:
    """Every file and data set of the corpus once, in order, each with the name of its rows; and what is left out.

    Raises InputError for a file of no known format that the user named, and if nothing is left.
    """
    assert not isinstance(urls, str), "urls is one string: give a sequence of them"
    if not urls:
        raise InputError(NO_INPUT)
    found: dict[str, File] = {}
    left_out: list[tuple[str, str]] = []
    for url in urls:
        looked = finding.Found([File(url, 0, is_named=True)]) if hub.is_dataset(url) else finding.look(url)
        left_out += looked.left_out
        num_before = len(left_out)
        for file in looked.files:
            kind = _no_data(file)
            if kind and not file.is_named:
                left_out.append((kind, file.url))
            else:
                found.setdefault(file.url, file)
        if len(left_out) - num_before == len(looked.files):  # nothing here is data
            here = Counter(kind for kind, _ in (*looked.left_out, *left_out[num_before:]))
            told = (
                f" ({', '.join(f'{count} {kind}' for kind, count in here.most_common(_KINDS_SHOWN))})" if here else ""
            )
            raise InputError(
                f"no file is in {url} that can be read{told}: files may end in {_known()}, then .gz, .bz2, .xz or .zst"
            )
    return finding.Found(_named(list(found.values())), left_out)


def _named(found: list[File]) -> list[File]:
    """Files with the names of their rows: the base name, with as many folders before it as files of one name need."""
    same: dict[str, list[str]] = {}
    for file in found:
        same.setdefault(files.base_name(file.url), []).append(file.url)
    names: dict[str, str] = {}
    for base, urls in same.items():
        steps = [url.rstrip("/").split("/") for url in urls]
        count = 1
        while len({tuple(step[-count:]) for step in steps}) < len(urls):
            count += 1
        names |= {url: "/".join(step[-count:]) if count > 1 else base for url, step in zip(urls, steps, strict=True)}
    return [replace(file, name=hub.name(file.url) if hub.is_dataset(file.url) else names[file.url]) for file in found]


def _no_data(file: File) -> str:
    """As what kind a file that lies in a folder is left out; "" for data."""
    base = files.base_name(file.url)
    if _NO_DATA.fullmatch(base):
        return base
    if _known_format(file) is None:
        return f"*{file.suffix}" if file.suffix else "files without an ending"
    if file.suffix in pages.SUFFIXES and not pages.is_ready(file.suffix):
        return f"*{file.suffix}, which needs pip install 'instructpt[docs]'"
    return ""


def _format(file: File) -> str:
    """The name of a file's format."""
    known = _known_format(file)
    if known is None:
        raise InputError(
            f"{file.url} is of no known format: files may end in {_known()}, then .gz, .bz2, .xz or .zst; "
            "give its folder, and what can be read in there is"
        )
    return known


def _known_format(file: File) -> str | None:
    if hub.is_dataset(file.url):
        return "dataset"
    for name, known in FORMATS.items():
        if file.suffix in known.suffixes:
            return name
    if _SPARK_PART.fullmatch(files.base_name(file.url)):  # Spark leaves the ending out of what it writes as text
        start = finding.head(file.url)
        return "parquet" if start.startswith(b"PAR1") else "jsonl" if start.lstrip().startswith(b"{") else "text"
    return None


def _known() -> str:
    return ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)


def _checked(
    rows: Iterator[Row | Reject], part: Part, text_field: str, flag: str, is_private: bool
) -> Iterator[Row | Reject]:
    """The rows of a file's first part; raises InputError when the first ones show that it is not what was said."""
    seen: dict[str, None] = {}
    rejects: Counter[str] = Counter()
    sample, num_rows, is_right = "", 0, False
    for row in rows:
        if num_rows < ROWS_CHECKED and not is_right:
            num_rows += 1
            if isinstance(row, Row):
                seen |= dict.fromkeys(row.fields)
                is_right = text_field in row.fields or value_at(row.fields, text_field) is not None
            else:
                rejects[row.reason] += 1
                sample = sample or ("" if is_private else row.text)
            if num_rows == ROWS_CHECKED and not is_right:
                raise _wrong(part.url, text_field, seen, rejects, sample, flag)
        yield row
    if num_rows and not is_right and part.stop is None:
        raise _wrong(part.url, text_field, seen, rejects, sample, flag)


def _after(rows: Iterator[Row | Reject], skip: int, part: Part) -> Iterator[Row | Reject]:
    """The rows of a file's first part but for the first `skip`."""
    number = -1
    for number, row in enumerate(rows):
        if number >= skip:
            yield row
    if number < skip:
        raise InputError(f"{part.url} begins with {number + 1} rows and {skip} are to be skipped: lower skip")


def _wrong(
    url: str, text_field: str, seen: dict[str, None], rejects: Counter[str], sample: str, flag: str
) -> InputError:
    if not seen:
        counts = ", ".join(f"{reason} {count}" for reason, count in rejects.most_common())
        told = f"{counts}; {sample[:_SAMPLE_SHOWN]!r}" if sample else counts
        return InputError(
            f"no row of {url} is a JSON object or a row of a table ({told}): "
            "one object a line is expected, or an array of objects"
        )
    names = ", ".join(list(seen)[:_FIELDS_SHOWN]) + (", ..." if len(seen) > _FIELDS_SHOWN else "")
    return InputError(f"no row of {url} has a field {text_field!r} (fields: {names}): name the right one with {flag}")


def _told_by_folders(url: str) -> Mapping[str, str]:
    """Columns that folders stand for, in the layout of Hive: lang=en/year=2024/part-0.parquet."""
    steps = [step.partition("=") for step in url.split("/")[:-1]]
    pairs = [(name, unquote(value)) for name, is_pair, value in steps if is_pair and name.isidentifier()]
    return {name: value for name, value in pairs if value != "__HIVE_DEFAULT_PARTITION__"}


def _document(row: Row, url: str, text_field: str, id_field: str, told: Mapping[str, str]) -> Document | Reject:
    value = value_at(row.fields, text_field)
    text = joined(value)
    if text is None:
        sample = f"{row.name}: {text_field}={value!r} {row.fields!r}"[:_SAMPLE_CHARACTERS]
        return Reject(sample, "missing_text" if value is None else "text_not_a_string")
    meta = without(row.fields, text_field)
    name = value_at(meta, id_field)
    if isinstance(name, str | int | float):
        return Document(str(name), text, url, {**told, **without(meta, id_field)})
    return Document(row.name, text, url, {**told, **meta})
