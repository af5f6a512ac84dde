"""One document a file: plain text; web pages, PDF and DOCX, whose text is taken out by packages of the extra `docs`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from instructpt.corpus.encodings import decoded, refusal
from instructpt.corpus.parts import Part, Row, whole
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
