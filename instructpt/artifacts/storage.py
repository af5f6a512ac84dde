"""Files that appear whole or not at all, on a local disk or any fsspec file system.

On a local disk a file is written under a temporary name, flushed to the device and renamed; folders likewise. Object
stores show an upload only when it is complete, so there the upload itself is the rename.

    .00003.parquet.5f0c9b1e4a77.writing     one writer's own name, so that two that write the same thing never meet
     00003.parquet                          either's: the same bytes, and the later rename changes nothing

What a killed writer left under its own name is of no use to anybody: `Folder.clean`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from instructpt.errors import ArtifactError, InstructptError, StorageError
from instructpt.records import R, from_row, schema, to_row

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ROWS_PER_CHUNK = 1024
"""Records a Parquet row group: small enough to stream a shard in little memory, large enough to compress well."""

_UNFINISHED = ".writing"
"""Ends the names of what is not whole yet."""

_REFUSALS = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file size limit is reached",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "writing is not allowed",
    errno.EPERM: "writing is not allowed",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
}


@contextmanager
def refusals_named(path: object) -> Iterator[None]:
    """Turn a disk's refusal to write into a StorageError that says what to do. Other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise StorageError(
            f"cannot write {path}: {_REFUSALS[error.errno]}; mend that and run the same command again, "
            "what is finished is kept"
        ) from error


@contextmanager
def damage_named(path: object, *, remove: str) -> Iterator[None]:
    """Turn what reading a missing or damaged file of our own raises into an ArtifactError: what to remove, so that it
    is made anew."""
    try:
        yield
    except InstructptError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # also of orjson and pyarrow
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtifactError(
            f"{path} is missing or damaged ({reason}): put it back, or remove {remove} and run the recipe again, "
            "it is made anew"
        ) from error


@contextmanager
def _gone_on_failure(path: Path) -> Iterator[None]:
    """Leave nothing half-written behind: on a full disk it would take the room of the next try."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            _remove(path)
        raise


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of an fsspec file system, by URL or path."""

    fs: AbstractFileSystem
    path: str
    is_local: bool

    @staticmethod
    def at(url: str) -> Folder:
        """The folder at `url`; it need not exist. Raises ArtifactError for a URL of an unknown kind, and for none."""
        if not url.strip():
            raise ArtifactError("the name of a folder is empty (is a variable of the shell not set?): give a folder")
        if "://" not in url:
            from fsspec.implementations.local import LocalFileSystem

            return Folder(LocalFileSystem(), str(Path(url).expanduser().resolve()), is_local=True)
        from fsspec.core import url_to_fs

        try:
            fs, path = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ArtifactError(f"cannot open {url}: {error}") from error
        return Folder(fs, path, is_local="file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)))

    def child(self, name: str) -> Folder:
        """The folder `name` inside this one."""
        return Folder(self.fs, posixpath.join(self.path, name), self.is_local)

    def join(self, name: str) -> str:
        """The path of `name` inside this folder, as its file system spells it."""
        return posixpath.join(self.path, name)

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder `name` is there (or this folder, without a name)."""
        return bool(self.fs.exists(self.join(name) if name else self.path))

    def names(self) -> list[str]:
        """The names of what lies in this folder, sorted; none if it does not exist."""
        if not self.exists():
            return []
        return sorted(posixpath.basename(str(path).rstrip("/")) for path in self.fs.ls(self.path, detail=False))

    def refresh(self) -> None:
        """Forget what is remembered of this file system: other processes may have changed it."""
        self.fs.invalidate_cache()

    def clean(self, prefixes: Collection[str] | None = None) -> None:
        """Remove what killed writers left, of files and folders called `prefix.*` or `prefix`; of all but `recipe.json`
        without one. Nobody may be writing these."""
        for unfinished in self.names():
            if not (unfinished.startswith(".") and unfinished.endswith(_UNFINISHED)):
                continue
            prefix = unfinished[1:].partition(".")[0]
            if prefix in prefixes if prefixes is not None else prefix != "recipe":
                self.fs.rm(self.join(unfinished), recursive=True)

    def read(self, name: str) -> bytes:
        """The bytes of the file `name`."""
        data: bytes = self.fs.cat_file(self.join(name))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Make the file `name` hold `data`: all of it, or what it held before."""
        with refusals_named(self.join(name)):
            self.fs.makedirs(self.path, exist_ok=True)
            if self.is_local:
                temporary = self._temporary(name)
                with _gone_on_failure(temporary):
                    temporary.write_bytes(data)
                    self._rename(temporary, name)
            else:
                self.fs.pipe_file(self.join(name), data)

    def publish(self, source: Path, name: str) -> None:
        """Move a finished local file or folder to `name` here: whole, or not at all. From another disk it is copied."""
        with refusals_named(self.join(name)):
            self.fs.makedirs(self.path, exist_ok=True)
            if not self.is_local:
                if source.is_dir():  # the slashes: what is in it, also where `name` is there already
                    self.fs.put(f"{source}/", f"{self.join(name)}/", recursive=True)
                else:
                    self.fs.put(str(source), self.join(name))
                _remove(source)
                return
            try:
                self._rename(source, name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                copy = self._temporary(name)
                with _gone_on_failure(copy):
                    shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)
                    self._rename(copy, name)
                _remove(source)

    def _temporary(self, name: str) -> Path:
        return Path(self.join(f".{name}.{uuid.uuid4().hex[:12]}{_UNFINISHED}"))

    def _rename(self, source: Path, name: str) -> None:
        for path in [source, *source.rglob("*")] if source.is_dir() else [source]:
            _flush(path)
        if Path(self.join(name)).is_dir():
            # A folder cannot be renamed onto another; by this, whoever looks sees one of the two or none, not half.
            aside = self._temporary(name)
            Path(self.join(name)).replace(aside)
            shutil.rmtree(aside)
        source.replace(self.join(name))
        _flush(Path(self.path))


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_parquet(path: Path, records: Iterable[R], record: type[R]) -> int:
    """Write records as zstd Parquet in row groups of `ROWS_PER_CHUNK`; how many there were. Streams."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, count = schema(record), 0
    with refusals_named(path), path.open("wb") as file, pq.ParquetWriter(file, wanted, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for item in records:
            rows.append(to_row(item))
            if len(rows) == ROWS_PER_CHUNK:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=wanted), row_group_size=ROWS_PER_CHUNK)
                count, rows = count + len(rows), []
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=wanted), row_group_size=ROWS_PER_CHUNK)
    return count + len(rows)


def read_parquet(file: IO[bytes], record: type[R], *, start: int = 0) -> Iterator[R]:
    """The records of a Parquet file from row `start` on, streamed."""
    import pyarrow.parquet as pq

    # In this thread alone: one of Arrow's own lets go of a Python file some time after the read, and aborts the process
    # if that is at its end (apache/arrow issues 34314, 33975). A row group is too small to gain from more.
    parquet, skipped = pq.ParquetFile(file, pre_buffer=False), 0
    for group in range(parquet.num_row_groups):
        num_rows = parquet.metadata.row_group(group).num_rows
        if skipped + num_rows <= start:
            skipped += num_rows
            continue
        for row in parquet.read_row_group(group, use_threads=False).to_pylist()[max(0, start - skipped) :]:
            yield from_row(record, row)
        skipped += num_rows


def read_shard(folder: Folder, index: int, record: type[R]) -> Iterator[R]:
    """The records of a finished shard, streamed. Raises ArtifactError for a damaged one."""
    path = folder.join(f"{index:05d}.parquet")
    with damage_named(path, remove=f"it and {folder.join('manifest.json')}"), folder.fs.open(path, "rb") as file:
        yield from read_parquet(file, record)
