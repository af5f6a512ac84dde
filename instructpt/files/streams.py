"""Files opened for reading, wherever they lie: by path, URL or `sample:` name, decompressed; errors name them.

    rows.jsonl    rows.jsonl.gz    s3://bucket/rows.jsonl.zst    sample:passages.jsonl.zst    - (standard input)

A compressed file that breaks off is an error, never a shorter file. A name whose bytes are not UTF-8 is written with
escapes ("caf\\xe9.txt"), since what stores it is UTF-8; the same spelling opens it.
"""

from __future__ import annotations

import atexit
import bz2
import io
import lzma
import os
import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

from instructpt import sample
from instructpt.errors import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_BUFFER_BYTES = 1 << 20
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def _arrow(kind: Literal["gzip", "zstd"]) -> Callable[[IO[bytes]], IO[bytes]]:
    def decompressed(file: IO[bytes]) -> IO[bytes]:
        # pyarrow's reader raises on a cut stream; zstandard's ends it in silence.
        import pyarrow as pa

        return cast(IO[bytes], pa.CompressedInputStream(cast(io.IOBase, file), kind))

    return decompressed


_DECOMPRESSED: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    ".gz": _arrow("gzip"),
    ".zst": _arrow("zstd"),
    ".zstd": _arrow("zstd"),
    ".bz2": lambda file: cast(IO[bytes], bz2.BZ2File(file)),
    ".xz": lambda file: cast(IO[bytes], lzma.LZMAFile(file)),  # noqa: SIM115 - closed by `opened`
}
"""Ending of a name -> its decompressed bytes."""

_SHORT_ENDINGS = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}

_COPY = "INSTRUCTPT_COPY_OF_"
"""Environment variables tell worker processes where the main one's copies are."""


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if its name says so. Whether they can be sought in, `is_seekable` tells.

    What goes wrong inside the `with`, reading or decoding them, becomes an InputError that names the file.
    """
    with opened_raw(url) as file:
        if ending := compression(url):
            with decompressed(file, ending) as stream:
                yield io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER_BYTES)
        else:
            yield file


@contextmanager
def opened_raw(url: str) -> Iterator[IO[bytes]]:
    """As `opened`, the bytes as they lie there."""
    with readable(url):
        fs, path = locate(url)
        if serves_ranges(url):
            with fs.open(path, "rb") as file:
                yield file
        else:
            with fs.open(path, "rb", block_size=0) as file:
                yield io.BufferedReader(cast(io.RawIOBase, file), _BUFFER_BYTES)


def decompressed(file: IO[bytes], ending: str) -> IO[bytes]:
    """The bytes of an open file with a name of this ending, decompressed; not buffered."""
    return _DECOMPRESSED[ending](file)


def lines(url: str) -> Iterator[bytes]:
    """The lines of a file, decompressed, without those that are blank. Raises InputError as `opened` does."""
    with opened(url) as stream:
        yield from (line for line in stream if line.strip())


@contextmanager
def readable(url: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an InputError that names it."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file at {url}: check the path") from error
    except PermissionError as error:
        raise InputError(f"reading {url} is not allowed: check its permissions or your credentials") from error
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot read {url} ({reason}): fetch or write it again, or leave it out") from error


def compression(url: str) -> str | None:
    """The ending by which a file's name says that it is compressed (".gz"); None for a plain one."""
    ending = posixpath.splitext(plain_name(url))[1]
    return ending if ending in _DECOMPRESSED else None


def plain_name(url: str) -> str:
    """A name in small letters, short endings written out: "A.TGZ" is "a.tar.gz"."""
    start, ending = posixpath.splitext(url.lower())
    return start + _SHORT_ENDINGS.get(ending, ending)


def is_seekable(url: str) -> bool:
    """Whether the bytes that `opened` gives can be sought in: not in a compressed file, nor on every web server."""
    return compression(url) is None and serves_ranges(url)


@cache
def serves_ranges(url: str) -> bool:
    """Whether any stretch of the file can be asked for; of web servers, some send whole files alone."""
    if not url.startswith(("http://", "https://")):
        return True
    with readable(url):
        fs, path = locate(url)
        size = fs.info(path).get("size")
        if not size:
            return False
        try:
            with fs.open(path, "rb", block_size=1 << 12, cache_type="none") as file:
                file.seek(size - 1)
                return len(file.read(1)) == 1
        except ValueError:  # "does not appear to support range requests", and the like
            return False


def locate(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and the path within it. Raises InputError for a scheme that is not known."""
    url = sample.resolve(url)
    if "://" not in url:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(), str(_local(url))
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package is not installed
        raise InputError(f"cannot open {url}: {error}") from error
    return fs, path


def escaped(name: str) -> str:
    """A name as it can be stored and shown: bytes that are not UTF-8, lone surrogates in Python, are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_local(url: str) -> bool:
    """Whether a path or URL is on this machine's file system."""
    return "://" not in url


def is_pipe(url: str) -> bool:
    """Whether a name stands for standard input or another pipe."""
    if url in ("-", "/dev/stdin"):
        return True
    return is_local(url) and Path(url).is_fifo()


def _local(url: str) -> Path:
    """The path on this machine; of what can be read once alone (standard input, a pipe), that of its copy."""
    if is_pipe(url):
        return _spooled("/dev/stdin" if url == "-" else url)
    path = Path(url).expanduser().absolute()
    if path.exists():
        return path
    raw = Path(os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(path))))
    return raw if raw != path and raw.exists() else path


def _spooled(path: str) -> Path:
    """The copy of a pipe's content, which can be read only once, made the first time.

    Raises InputError for a terminal, and if nothing comes.
    """
    name = _COPY + path
    if name not in os.environ:
        if path == "/dev/stdin" and sys.stdin is not None and sys.stdin.isatty():
            raise InputError("standard input is a terminal: pipe JSON lines into the command, or name files")
        handle, copy = tempfile.mkstemp(prefix="instructpt-", suffix=".jsonl")
        atexit.register(_remove, copy)
        with Path(path).open("rb") as source, os.fdopen(handle, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.environ[name] = copy
    if not Path(os.environ[name]).stat().st_size:
        raise InputError(f"nothing came from {path}: pipe JSON lines into the command, or name files")
    return Path(os.environ[name])


def _remove(copy: str) -> None:
    with suppress(OSError):
        Path(copy).unlink()
