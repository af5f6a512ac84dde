"""Files wherever they lie, found by path or URL; `streams` opens them, `digests` tells them apart by their content.

A corpus is named by paths and fsspec URLs of files, folders (with all that is in them) and globs:

    news.jsonl.gz    data/    data/**/*.parquet    s3://bucket/dump/*.jsonl.zst    hf://datasets/owner/name/*.parquet

and what ships with the package by `sample:` and its name.

A file keeps the name that the user's own spelling gives it ("data/" and the file a.txt in it: "data/a.txt"), never an
absolute path that the user did not write, so that the same command makes the same bytes on every machine.
"""

from __future__ import annotations

import io
import posixpath
import re
from dataclasses import dataclass

from instructpt.errors import InputError
from instructpt.files.streams import compression, locate, readable

_MAGIC = re.compile(r"[*?\[]")
_KIB = 1 << 10
_HEAD_BYTES = 256 * _KIB


@dataclass(frozen=True, slots=True)
class File:
    """A file of the corpus."""

    url: str
    """As the user's spelling names it."""
    num_bytes: int
    """As it lies on disk, compressed or not; 0 if its file system does not tell."""

    @property
    def suffix(self) -> str:
        """The extension that tells the format, without that of a compression, in small letters: ".jsonl"."""
        url = self.url.lower()
        return posixpath.splitext(posixpath.splitext(url)[0] if compression(url) else url)[1]


def find(url: str) -> list[File]:
    """The files that a path or URL of a file, a folder or a glob stands for, sorted.

    In folders and globs, names that begin with "." or "_" are left out, as are folders of such names: they hold
    bookkeeping (_SUCCESS, .cache), not data. Raises InputError if there is nothing, or the URL cannot be opened.
    """
    with readable(url):
        fs, path = locate(url)
        if fs.isfile(path):
            return [File(url, fs.info(path).get("size") or 0)]
        base = url
        if fs.isdir(path):
            found = fs.find(path, detail=True)
        elif magic := _MAGIC.search(url):
            base = url[: url.rfind("/", 0, magic.start()) + 1]
            found = fs.glob(path, detail=True)
        else:
            raise InputError(f"there is no file, folder or glob match at {url}: check the path")
        top = locate(base or ".")[1]
    files = []
    for name, info in sorted(found.items()):
        inner = posixpath.relpath(name, top or "/")
        if info["type"] == "file" and not any(step[0] in "._" for step in inner.split("/")):
            files.append(File(posixpath.join(base, inner), info.get("size") or 0))
    if not files:
        raise InputError(f"no file is in {url}: give files, a folder that holds some, or a glob that matches")
    return files


def expansion(url: str) -> int:
    """How many times larger a file is decompressed, rounded, judged by its first 256 KiB; 1 for a plain file.

    Raises InputError for one of which nothing can be decompressed.
    """
    kind = compression(url)
    if kind is None:
        return 1
    import pyarrow as pa

    num_bytes = 0
    with readable(url):
        fs, path = locate(url)
        head = fs.read_block(path, 0, _HEAD_BYTES)
        with pa.CompressedInputStream(io.BytesIO(head), kind) as stream:
            try:
                while chunk := stream.read(_KIB):
                    num_bytes += len(chunk)
            except OSError:
                # The head of a longer file ends amid its stream; one that gives nothing at all is damaged.
                if num_bytes == 0:
                    raise
    return max(1, round(num_bytes / max(1, len(head))))


def base_name(url: str) -> str:
    """The last step of a path or URL."""
    return posixpath.basename(url.rstrip("/"))
