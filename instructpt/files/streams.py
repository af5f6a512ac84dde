"""Files opened for reading, wherever they lie: by path, URL or `sample:` name, decompressed; errors name them.

    rows.jsonl    rows.jsonl.gz    s3://bucket/rows.jsonl.zst    sample:passages.jsonl.zst

A compressed file that breaks off is an error, never a shorter file.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

from instructpt import sample
from instructpt.errors import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_COMPRESSIONS: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".zst": "zstd"}


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if its name ends in .gz or .zst (then they cannot be sought in).

    What goes wrong inside the `with`, reading or decoding them, becomes an InputError that names the file.
    """
    with readable(url):
        fs, path = locate(url)
        with fs.open(path, "rb") as file:
            if kind := compression(url):
                # pyarrow's reader raises on a cut stream; zstandard's ends it in silence.
                import pyarrow as pa

                with pa.CompressedInputStream(file, kind) as stream:
                    yield io.BufferedReader(cast(io.RawIOBase, stream))
            else:
                yield file


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
    except (OSError, EOFError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot read {url} ({reason}): fetch or write it again, or leave it out") from error


def compression(url: str) -> Literal["gzip", "zstd"] | None:
    """How a file is compressed, by its name; None for a plain one."""
    return _COMPRESSIONS.get(posixpath.splitext(url.lower())[1])


def locate(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and the path within it. Raises InputError for a scheme that is not known."""
    url = sample.resolve(url)
    if "://" not in url:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(), str(Path(url).expanduser().absolute())
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package is not installed
        raise InputError(f"cannot open {url}: {error}") from error
    return fs, path
