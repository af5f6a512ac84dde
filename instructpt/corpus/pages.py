"""One document a file: plain text; web pages, PDF and DOCX, whose text is taken out by packages of the extra `docs`.

Many documents a file: records of web crawls (WARC, WET), and tar files with samples side by side (WebDataset).

crawl.warc.wet.gz    a record "conversion" is a document            {"text", "url", "date"}
crawl.warc.gz        a record "response" of type HTML is one, its main content, by resiliparse
train-000.tar        00001.txt + 00001.json + 00001.jpg             {"text": of .txt, fields of .json}
                     rows.jsonl                                     a row a line
"""

from __future__ import annotations

import io
import itertools
import posixpath
import re
import tarfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from instructpt.corpus import lines
from instructpt.corpus.encodings import decoded, refusal
from instructpt.corpus.parts import Part, Row, cut_evenly, in_order, whole
from instructpt.errors import InputError, require
from instructpt.files import File
from instructpt.files.streams import opened
from instructpt.records import Reject

_SAMPLE_CHARACTERS = 1000
_MOST_BYTES = 1 << 29
"""A page or document is converted in memory; what is larger is refused by name."""
_TAG = re.compile(rb"<(/?)(?:div|table|tr|td|span|b|i|font|ul|ol|li|dl|section|blockquote|center)\b", re.IGNORECASE)
_MOST_NESTED = 2000
"""Browsers stop at 512. Finding the main content takes time with the square of the depth; of deeper pages all text is
taken, which does not."""


@dataclass(frozen=True, slots=True)
class _Converter:
    package: str
    text_of: Callable[[Any, bytes], str]
    """From the imported package and the file's bytes."""


def cut(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002
    """The file as one part. Raises InputError without the extra, or for a file of more than 512 MiB."""
    require(_CONVERTERS[file.suffix].package, of=file.url, extra="docs")
    if file.num_bytes > _MOST_BYTES:
        raise InputError(f"{file.url} has {file.num_bytes:,} bytes, too many to convert at once: split it")
    return whole(file, format, shard_bytes=shard_bytes)


def rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The file's text as one row; a reject if it cannot be converted or holds no text (a scan, say)."""
    converter = _CONVERTERS[File(part.url, 0).suffix]
    package = require(converter.package, of=part.url, extra="docs")
    with opened(part.url) as stream:
        data = stream.read()
    yield _converted(lambda: converter.text_of(package, data), part.name, {}, text_field)


def text_rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """A text file as one row, line breaks as \\n, without a byte order mark.

    A reject that says which bytes are at fault, if it is neither UTF-8 nor of an encoding that is certain.
    """
    with opened(part.url) as stream:
        data = stream.read()
    text = decoded(data)
    yield Reject(refusal(data, part.url), "not_utf8") if text is None else Row(part.name, {text_field: text})


def html_row(data: bytes, name: str, fields: dict[str, Any], text_field: str) -> Row | Reject:
    """A web page's main content in a row with these other fields; a reject if it holds none."""
    require("resiliparse", of=name, extra="docs")
    return _converted(lambda: _html_text(data), name, fields, text_field)


def _converted(text_of: Callable[[], str], name: str, fields: dict[str, Any], text_field: str) -> Row | Reject:
    try:
        text = text_of().strip().encode("utf-8", "replace").decode()
    except Exception as error:  # whatever a converter meets in a damaged file: counted, with its words
        return Reject(f"{name}: {type(error).__name__}: {error}"[:_SAMPLE_CHARACTERS], "cannot_be_converted")
    if not text:
        return Reject(f"{name} holds no text: a scan needs character recognition first", "no_text")
    return Row(name, {**fields, text_field: text})


def _html_text(data: bytes) -> str:
    """The main content of a web page, or all its text."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    depth = deepest = 0
    for tag in _TAG.finditer(data):
        depth = max(0, depth - 1 if tag[1] else depth + 1)
        deepest = max(deepest, depth)
    page = bytes_to_str(data, detect_encoding(data, html5_compatible=True) or "utf-8")
    main = extract_plain_text(page, main_content=True) if deepest <= _MOST_NESTED else ""
    return str(main or extract_plain_text(page))


def is_ready(suffix: str) -> bool:
    """Whether the package that files of this ending need is installed."""
    return find_spec(_CONVERTERS[suffix].package) is not None


def _pdf_text(pypdf: Any, data: bytes) -> str:
    return "\n\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages)


def _docx_text(docx: Any, data: bytes) -> str:
    blocks = []
    for block in docx.Document(io.BytesIO(data)).iter_inner_content():
        if hasattr(block, "rows"):
            blocks.append("\n".join(" | ".join(cell.text for cell in row.cells) for row in block.rows))
        else:
            blocks.append(block.text)
    return "\n\n".join(block for block in blocks if block.strip())


_HTML = _Converter("resiliparse", lambda _, data: _html_text(data))
_CONVERTERS = {
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".pdf": _Converter("pypdf", _pdf_text),
    ".docx": _Converter("docx", _docx_text),
}
SUFFIXES = tuple(_CONVERTERS)


_WITH_TEXT = ("response", "conversion")
_WARC_FIELDS = {"url": "WARC-Target-URI", "date": "WARC-Date", "record_id": "WARC-Record-ID"}
_TEXT_MEMBERS = (".txt", ".md", ".text")


def cut_warc(file: File, format: str, *, shard_bytes: int) -> list[Part]:  # noqa: A002
    """Parts of about `shard_bytes` bytes. Raises InputError without the extra `docs`."""
    require("warcio", of=file.url, extra="docs")
    return cut_evenly(file, format, shard_bytes=shard_bytes)


def warc_rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The documents of a part, named by the number of their record; records of other types are no rows."""
    from warcio.archiveiterator import ArchiveIterator

    def begin() -> Generator[tuple[int, tuple[int, str, bytes, dict[str, str]]], None, None]:
        position = 0
        with opened(part.url) as stream:
            records = iter(ArchiveIterator(stream))
            for number in itertools.count():
                try:
                    record = next(records, None)
                    data = record.content_stream().read() if record and record.rec_type in _WITH_TEXT else b""
                except (OSError, EOFError):
                    raise  # told by `opened`
                except Exception as error:  # warcio has no one error for what is no record
                    raise InputError(
                        f"{part.url} is damaged after {number} records ({error}): fetch it again"
                    ) from error
                if record is None:
                    return
                if record.rec_type in _WITH_TEXT:
                    told = {name: record.rec_headers.get_header(header) for name, header in _WARC_FIELDS.items()}
                    meta = {name: value for name, value in told.items() if value}
                    kind = "text/plain"
                    if record.rec_type == "response":
                        kind = (record.http_headers and record.http_headers.get_header("Content-Type")) or ""
                    yield position, (number, kind, data, meta)
                position += len(data)

    for _, (number, kind, data, meta) in in_order(part, begin):
        name = f"{part.name}:{number}"
        if "html" in kind:
            yield html_row(data, name, {**meta}, text_field)
        elif not kind.startswith("text/"):
            yield Reject(f"{name}: {meta.get('url')} is of type {kind or 'unknown'}", "no_text_type")
        elif (text := decoded(data)) is None:
            yield Reject(f"{name}: {data[:_SAMPLE_CHARACTERS]!r}", "not_utf8")
        else:
            yield Row(name, {**meta, text_field: text})


def tar_rows(part: Part, text_field: str = "text") -> Iterator[Row | Reject]:
    """The samples of a part, named by the archive and the names of their members without endings."""

    def begin() -> Generator[tuple[int, dict[str, bytes | None]], None, None]:
        with opened(part.url) as stream:
            try:
                with tarfile.open(fileobj=stream, mode="r|") as archive:
                    yield from _samples(archive)
            except tarfile.TarError as error:
                raise InputError(f"cannot read {part.url} ({error}): fetch or write it again") from error

    for _, sample in in_order(part, begin):
        yield from _sample_rows(part.name, sample, text_field)


def _samples(archive: tarfile.TarFile) -> Generator[tuple[int, dict[str, bytes | None]], None, None]:
    """Members of one name but for the ending, which stand together; None for what holds no text."""
    key, begins, sample = "", 0, dict[str, bytes | None]()
    for member in archive:
        if not member.isfile() or posixpath.basename(member.name).startswith((".", "_")):
            continue
        folder, name = posixpath.split(member.name)
        own = posixpath.join(folder, name.split(".")[0])
        if sample and own != key:
            yield begins, sample
            sample = {}
        if not sample:
            key, begins = own, member.offset
        is_read = name.endswith((*_TEXT_MEMBERS, ".json", ".jsonl")) and member.size <= _MOST_BYTES
        content = archive.extractfile(member) if is_read else None
        sample[member.name] = content.read() if content else None
        archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
    if sample:
        yield begins, sample


def _sample_rows(archive: str, sample: dict[str, bytes | None], text_field: str) -> Iterator[Row | Reject]:
    first = next(iter(sample))
    name = f"{archive}/{posixpath.join(posixpath.dirname(first), posixpath.basename(first).split('.')[0])}"
    fields: dict[str, Any] = {}
    num_rows = 0
    for member, data in sample.items():
        if data is None:
            continue
        if member.endswith(".jsonl"):
            for number, line in enumerate(data.splitlines()):
                if line.strip():
                    num_rows += 1
                    yield lines.row(line, f"{archive}/{member}:{number}")
        elif member.endswith(".json"):
            row = lines.row(data, name)
            if isinstance(row, Reject):
                num_rows += 1
                yield row
            else:
                fields = {**row.fields, **fields}
        elif (text := decoded(data)) is None:
            num_rows += 1
            yield Reject(f"{archive}/{member}: {data[:_SAMPLE_CHARACTERS]!r}", "not_utf8")
        else:
            fields[text_field] = text
    if fields:
        yield Row(name, fields)
    elif not num_rows:
        yield Reject(f"{name}: {', '.join(sample)}"[:_SAMPLE_CHARACTERS], "no_text_member")
