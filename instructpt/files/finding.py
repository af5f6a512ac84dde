"""Files wherever they lie, found by path or URL and told apart by their content; `streams` opens them.

A corpus is named by paths and fsspec URLs of files, folders (with all that is in them) and globs:

    news.jsonl.gz    data/    data/**/*.parquet    s3://bucket/dump/*.jsonl.zst    hf://datasets/owner/name/*.parquet

what ships with the package by `sample:` and its name, and standard input by `-`.

A file keeps the name that the user's own spelling gives it ("data/" and the file a.txt in it: "data/a.txt"), never an
absolute path that the user did not write, so that the same command makes the same bytes on every machine. Links are
followed. Left out, and told with the reason, is what folders and globs hold beside data:

    hidden         names that begin with "." or "_", and folders of such names: bookkeeping (_SUCCESS, .cache)
    our output     folders with a recipe.json, and the reports beside them
    same file      another link to a file that is read already
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from instructpt.errors import InputError
from instructpt.files.streams import (
    compression,
    decompressed,
    escaped,
    is_local,
    locate,
    opened,
    opened_raw,
    plain_name,
    readable,
    serves_ranges,
)

_MAGIC = re.compile(r"[*?\[]")
_KIB = 1 << 10
_HEAD_BYTES = 256 * _KIB
_MIB = 1 << 20
_DIGESTED_WHOLE_BYTES = 64 * _MIB
_NUM_BLOCKS = 64
_BLOCK_BYTES = 64 << 10
_OUTPUT_MARK = "recipe.json"
_LOCK = ".lock"
"""Of a run that may not have made an artifact yet."""
_NO_FILE = -1
"""Stands for the size of a pipe or device."""
_OUTPUTS_BESIDE = re.compile(r"report\.html|status(\..+)?\.json")
"""What a run writes beside its artifacts."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the corpus."""

    url: str
    """As the user's spelling names it."""
    num_bytes: int
    """As it lies on disk, compressed or not; 0 if its file system does not tell."""
    is_named: bool = False
    """Whether the user named this very file, and no folder or glob that holds it."""
    name: str = ""
    """What its rows are called by: its base name, with folders before it where another file has the same one."""

    @property
    def suffix(self) -> str:
        """The extension that tells the format, without that of a compression, in small letters: ".jsonl"."""
        if self.url in ("-", "/dev/stdin"):
            return ".jsonl"
        url = plain_name(self.url)
        return posixpath.splitext(posixpath.splitext(url)[0] if compression(url) else url)[1]


@dataclass(frozen=True, slots=True)
class Found:
    """What a path or URL stands for."""

    files: list[File]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Reason and name of what is no data."""


def find(*urls: str) -> list[File]:
    """The files that each path or URL of a file, a folder or a glob stands for, sorted.

    Raises InputError if there is nothing, if a folder or link cannot be read, or if the URL cannot be opened.
    """
    files: list[File] = []
    for url in urls:
        found = look(url)
        if not found.files:
            left = f" ({len(found.left_out)} left out as {found.left_out[0][0]})" if found.left_out else ""
            raise InputError(f"no file is in {url}{left}: give files, a folder that holds some, or a glob that matches")
        files += found.files
    return files


def look(url: str) -> Found:
    """As `find`, with what is left out of folders and globs; there may be no file."""
    if not url.strip():
        raise InputError("an input is empty (''): name files, folders or globs; is a shell variable unset?")
    with readable(url):
        fs, path = locate(url)
        if url == "-" or fs.isfile(path):
            return Found([File(escaped(url), fs.info(path).get("size") or 0, is_named=True)])
        if fs.isdir(path):
            base = url
            inner = _walk(Path(path)) if is_local(url) else _inner(fs.find(path, detail=True), path)
        elif magic := _MAGIC.search(url):
            base = url[: url.rfind("/", 0, magic.start()) + 1]
            top = locate(base or ".")[1]
            inner = _glob(top, url[len(base) :]) if is_local(url) else _inner(fs.glob(path, detail=True), top)
        else:
            raise InputError(f"there is no file, folder or glob match at {url}: check the path")
        return _sorted_out(base, inner)


def _walk(top: Path) -> list[tuple[str, int, str]]:
    """Files below a folder of this machine, links followed: path within it, bytes, real path. Sorted by path.

    A folder is walked once, by its own name rather than a link's; the links of a cycle end there.
    """
    seen: set[str] = set()

    def below(folder: Path, inner: str) -> Iterator[tuple[str, int, str]]:
        real = os.path.realpath(folder)
        if real in seen:
            return
        seen.add(real)
        with readable(escaped(str(folder))), os.scandir(folder) as entries:
            named = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
        for entry in named:
            path = posixpath.join(inner, entry.name)
            if _is_hidden(entry.name):
                yield path, 0, entry.path
            elif entry.is_dir():
                yield from below(folder / entry.name, path)
            else:
                yield _local_file(top, path)

    return sorted(below(top, ""))


def _local_file(top: Path, inner: str) -> tuple[str, int, str]:
    path = top / inner
    with readable(escaped(str(path))):
        if path.is_symlink() and not path.exists():
            target = escaped(str(path.readlink()))
            raise InputError(f"{escaped(str(path))} is a link to {target}, which is not there: fetch it, or remove it")
        return inner, path.stat().st_size if path.is_file() else _NO_FILE, os.path.realpath(path)


def _glob(top: str, pattern: str) -> Iterator[tuple[str, int, str]]:
    """As `_walk`, of the files that a glob matches; letters of `top` are no pattern."""
    if "**" in pattern:  # the library's would go round in a circle of links
        from fsspec.utils import glob_translate

        matches = re.compile(glob_translate(pattern)).match
        yield from (found for found in _walk(Path(top)) if matches(found[0]))
        return
    for inner in sorted(glob.glob(pattern, root_dir=top, recursive=True, include_hidden=True)):  # noqa: PTH207
        if any(map(_is_hidden, inner.split("/"))):
            yield inner, 0, inner
        elif not Path(top, inner).is_dir():
            yield _local_file(Path(top), inner)


def _inner(infos: dict[str, dict[str, object]], top: str) -> Iterator[tuple[str, int, str]]:
    """As `_walk`, of what another file system lists."""
    for path, info in sorted(infos.items()):
        if info["type"] == "file":
            yield posixpath.relpath(path, top or "/"), int(info.get("size") or 0), path  # type: ignore[call-overload]


def _sorted_out(base: str, found: Iterable[tuple[str, int, str]]) -> Found:
    listed = list(found)
    outputs = {posixpath.dirname(inner) for inner, _, _ in listed if posixpath.basename(inner) == _OUTPUT_MARK}
    if "" in outputs and b'"stage"' not in raw_head(escaped(posixpath.join(base, _OUTPUT_MARK))):
        outputs.remove("")  # a user's own file of that name
    beside = {posixpath.dirname(folder) for folder in outputs if folder}
    beside |= {posixpath.dirname(inner) for inner, _, _ in listed if posixpath.basename(inner) == _LOCK}
    files, left_out = [], []
    names: dict[str, str] = {}  # of one file by several, the first with an ending: blobs of a cache have none
    for inner, _, real in listed:
        if real not in names or (posixpath.splitext(inner)[1] and not posixpath.splitext(names[real])[1]):
            names[real] = inner
    for inner, num_bytes, real in listed:
        url = escaped(posixpath.join(base, inner))
        folder, name = posixpath.split(inner)
        if any(_is_hidden(step) for step in inner.split("/")):
            left_out.append(("hidden", url))
        elif _is_within(folder, outputs - {""}) or (folder in beside and _OUTPUTS_BESIDE.fullmatch(name)):
            left_out.append(("our output", url))
        elif folder == "" and "" in outputs and not name.endswith(".parquet"):
            left_out.append(("our output", url))  # an artifact that the user named: its shards are the data
        elif num_bytes == _NO_FILE:
            left_out.append(("no file", url))
        elif names[real] != inner:
            left_out.append(("same file", url))
        else:
            files.append(File(url, num_bytes))
    return Found(files, left_out)


def _is_within(folder: str, tops: set[str]) -> bool:
    steps = folder.split("/")
    return any("/".join(steps[:count]) in tops for count in range(1, len(steps) + 1))


def _is_hidden(name: str) -> bool:
    return name[0] in "._"


def content_digest(file: File) -> str:
    """What tells a file from a changed one: 32 hex digits of its size and content, blake2b.

    Of a file over 64 MiB: the first and last MiB and 64 blocks of 64 KiB spread evenly between them; all of it where a
    web server sends whole files alone.
    """
    state = hashlib.blake2b(file.num_bytes.to_bytes(8, "little"), digest_size=16)
    with opened_raw(file.url) as stream:
        if file.num_bytes <= _DIGESTED_WHOLE_BYTES or not serves_ranges(file.url):
            while chunk := stream.read(_MIB):
                state.update(chunk)
            return state.hexdigest()
        middle = file.num_bytes - 2 * _MIB - _BLOCK_BYTES
        state.update(stream.read(_MIB))
        for i in range(_NUM_BLOCKS):
            stream.seek(_MIB + middle * i // (_NUM_BLOCKS - 1))
            state.update(stream.read(_BLOCK_BYTES))
        stream.seek(file.num_bytes - _MIB)
        state.update(stream.read(_MIB))
    return state.hexdigest()


def stamp(url: str) -> str:
    """What changes when a file is written anew: its size and time of change, or its version; "" where none is told."""
    with readable(url):
        fs, path = locate(url)
        if is_local(url):
            told = Path(path).stat()
            return f"{told.st_size} {told.st_mtime_ns} {told.st_ctime_ns}"
        info = fs.info(path)
    names = [name for name in ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "mtime") if info.get(name)]
    return " ".join(str(info[name]) for name in ("size", *names)) if names else ""


def expansion(url: str) -> int:
    """How many times larger a file is decompressed, rounded, judged by its first 256 KiB; 1 for a plain file.

    Raises InputError for one of which nothing can be decompressed.
    """
    ending = compression(url)
    if ending is None:
        return 1
    num_bytes = 0
    with readable(url):
        head = raw_head(url)
        with decompressed(io.BytesIO(head), ending) as stream:
            try:
                while chunk := stream.read(_KIB):
                    num_bytes += len(chunk)
            except (OSError, EOFError):
                # The head of a longer file ends amid its stream; one that gives nothing at all is damaged.
                if num_bytes == 0:
                    raise
    return max(1, round(num_bytes / max(1, len(head))))


def raw_head(url: str) -> bytes:
    """The first 256 KiB of a file as it lies there, compressed or not."""
    with opened_raw(url) as file:
        return bytes(file.read(_HEAD_BYTES))


def head(url: str) -> bytes:
    """The first 256 KiB of a file's decompressed bytes. Raises InputError as `streams.opened` does."""
    with opened(url) as stream:
        return bytes(stream.read(_HEAD_BYTES))


def base_name(url: str) -> str:
    """The last step of a path or URL."""
    return posixpath.basename(url.rstrip("/"))
