"""The records of an artifact by number, without reading more than what is looked at.

    record 1,500 of 3,000, shards of 1,000 and 2,000 records:

    00000.json  1,000 records              seals say how many records a shard holds
    00001.json  2,000 records     <---     so it is row 500 of shard 1
    00001.parquet   footer: row groups of 1,024, 976
                    row group 0   <---     the only one that is read

Records are numbered through all shards, from 0. What is read at once is a block: a row group, or 1,024 rows of one that
another program wrote larger.

The viewer is started on one artifact, and shows what stands beside it under its root (`Library`):

runs/mine/            root: `instructpt view runs/mine` begins with its last artifact
  documents/  ...  texts/        `instructpt view runs/mine/texts` begins with this one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from instructpt.artifacts import read_manifest, read_tally
from instructpt.artifacts.storage import ROWS_PER_CHUNK, Folder, damage_named
from instructpt.assembly.rows import Rows, open_rows
from instructpt.errors import ArtifactError, InputError
from instructpt.report.artifacts import Artifact, artifact_in, load

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SEALS_AT_ONCE = 16
"""Seals read side by side: on an object store each takes a round trip."""
_BLOCKS_KEPT = 4
_FOOTERS_KEPT = 32
"""Those of a search through thousands of shards do not add up."""
_MAX_KEPT_BYTES = 64 * 2**20
"""A larger block is read again for the next page of it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some records in a row."""

    first: int
    """Number of the first one."""
    batch: pa.RecordBatch
    """Its columns, or those that were asked for."""

    @property
    def stop(self) -> int:
        """One more than the number of the last one."""
        return self.first + int(self.batch.num_rows)

    def row(self, number: int) -> dict[str, Any]:
        """The stored row of the record with this number."""
        row: dict[str, Any] = self.batch.slice(number - self.first, 1).to_pylist()[0]
        return row


class Shelf:
    """The records of one artifact. Its methods may be called from several threads."""

    def __init__(self, artifact: Artifact) -> None:
        """Reads the seals. Raises ArtifactError where one is missing or damaged."""
        self.artifact = artifact
        with ThreadPoolExecutor(_SEALS_AT_ONCE) as pool:
            tallies = list(pool.map(lambda shard: read_tally(artifact.folder, shard), range(artifact.num_shards)))
        self._starts = np.concatenate([[0], np.cumsum([tally.records for tally in tallies], dtype=np.int64)])
        self._footer = lru_cache(_FOOTERS_KEPT)(self._read_footer)
        self._kept: dict[int, Block] = {}
        self._lock = Lock()
        self.num_blocks_read = 0
        """Since it was opened: what a page costs."""

    def __len__(self) -> int:
        return int(self._starts[-1])

    def first_of(self, shard: int) -> int:
        """The number of a shard's first record."""
        return int(self._starts[shard])

    def place_of(self, row: int) -> tuple[int, int]:
        """Shard and row in it of a record. Raises InputError if there is no such record."""
        if not 0 <= row < len(self):
            raise InputError(f"{self.artifact.name} has no record {row:,}: give a number below {len(self):,}")
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return shard, row - self.first_of(shard)

    def rows(self, start: int, count: int) -> list[tuple[int, dict[str, Any]]]:
        """Up to `count` records from number `start` on: number and stored row of each."""
        found: list[tuple[int, dict[str, Any]]] = []
        while len(found) < count and start < len(self):
            block = self._block_with(start)
            part = block.batch.slice(start - block.first, count - len(found)).to_pylist()
            found += enumerate(part, start)
            start += len(part)
        return found

    def row(self, number: int) -> dict[str, Any]:
        """One stored row. Raises InputError if there is no such record."""
        self.place_of(number)
        return self.rows(number, 1)[0][1]

    def blocks(
        self,
        start: int = 0,
        *,
        columns: Sequence[str] | None = None,
        skips: Callable[[pq.RowGroupMetaData], bool] | None = None,
    ) -> Iterator[Block]:
        """The blocks from that of the row group with record `start` on; footers are read as they are come to.

        columns: paths of leaves as Parquet spells them; all without it. skips: says by its statistics that a row group
        need not be read.
        """
        for shard in range(self.artifact.num_shards):
            if self._starts[shard + 1] <= start:
                continue
            footer, first = self._footer(shard), self.first_of(shard)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                if group.num_rows and first + group.num_rows > start and not (skips and skips(group)):
                    yield from self._read(shard, number, first, columns)
                first += group.num_rows

    def _read(self, shard: int, group: int, first: int, columns: Sequence[str] | None) -> Iterator[Block]:
        """A row group, whose first record has the number `first`, in blocks."""
        import pyarrow.parquet as pq

        path, names = self._path(shard), None if columns is None else list(columns)
        with (
            damage_named(path, remove=f"it and {self.artifact.folder.join('manifest.json')}"),
            self.artifact.folder.fs.open(path, "rb") as file,
        ):
            parquet = pq.ParquetFile(file, metadata=self._footer(shard), pre_buffer=False)
            for batch in parquet.iter_batches(ROWS_PER_CHUNK, row_groups=[group], columns=names, use_threads=False):
                self.num_blocks_read += 1
                yield Block(first, batch)
                first += batch.num_rows

    def _block_with(self, row: int) -> Block:
        with self._lock:
            for block in self._kept.values():
                if block.first <= row < block.stop:
                    return block
            block = next(block for block in self.blocks(row) if row < block.stop)
            if block.batch.nbytes <= _MAX_KEPT_BYTES:
                self._kept[block.first] = block
            while len(self._kept) > _BLOCKS_KEPT:
                del self._kept[next(iter(self._kept))]
            return block

    def _path(self, shard: int) -> str:
        return self.artifact.folder.join(f"{shard:05d}.parquet")

    def _read_footer(self, shard: int) -> pq.FileMetaData:
        import pyarrow.parquet as pq

        path, manifest = self._path(shard), self.artifact.folder.join("manifest.json")
        with damage_named(path, remove=f"it and {manifest}"), self.artifact.folder.fs.open(path, "rb") as file:
            footer = pq.ParquetFile(file).metadata
        sealed = int(self._starts[shard + 1] - self._starts[shard])
        if footer.num_rows != sealed:
            raise ArtifactError(
                f"{path} holds {footer.num_rows:,} records, its seal says {sealed:,}: "
                f"remove it and {manifest} and run the recipe again, it is made anew"
            )
        return footer


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """An artifact that is looked at."""

    artifact: Artifact
    content: Shelf | Rows | None
    """Its records, its packed rows, or neither (models, vocabularies)."""

    @property
    def record(self) -> str:
        """Name of its records' type; "Row" for packed rows, "" for other files."""
        kind = self.artifact.kind
        return "Row" if isinstance(self.content, Rows) else kind.__name__ if kind else ""


class Library:
    """What can be looked at. Its methods may be called from several threads."""

    def __init__(self, path: str) -> None:
        """path: folder of a finished artifact, or of a run. Raises ArtifactError if it is neither."""
        folder = Folder.at(path)
        if folder.exists("manifest.json") or folder.exists("recipe.json") or not folder.exists():
            read_manifest(folder)
            root, _, self.first = folder.path.rstrip("/").rpartition("/")
            self.root = Folder(folder.fs, root, folder.is_local)
        else:
            self.root, self.first = folder, list(load(path))[-1]
        self._opened: dict[str, OpenArtifact] = {}
        self._lock = Lock()
        self.opened(self.first)

    def names(self) -> list[str]:
        """The finished artifacts beside the first one."""
        return [name for name in self.root.names() if self.root.child(name).exists("manifest.json")]

    def opened(self, name: str) -> OpenArtifact:
        """An artifact. Raises ArtifactError for one that is not finished or damaged, InputError for an unknown name."""
        with self._lock:
            folder = self.root.child(name)
            if "/" in name or "\\" in name or name.startswith(".") or not folder.exists():
                raise InputError(f"no artifact {name!r} under {self.root.path}: choose from {', '.join(self.names())}")
            manifest = read_manifest(folder)
            known = self._opened.get(name)
            if known is None or known.artifact.manifest != manifest:
                with damage_named(folder.path, remove="it"):
                    artifact = artifact_in(folder)
                known = self._opened[name] = OpenArtifact(artifact, _content(artifact))
            return known


def shelf_of(opened: OpenArtifact) -> Shelf:
    """The records of an artifact. Raises InputError if it has none."""
    if not isinstance(opened.content, Shelf):
        raise InputError(f"{opened.artifact.name} holds no records: look at what it was made from")
    return opened.content


def _content(artifact: Artifact) -> Shelf | Rows | None:
    if artifact.kind is not None:
        return Shelf(artifact)
    if artifact.stage != "Pack":
        return None
    if not artifact.folder.is_local:
        raise ArtifactError(f"{artifact.folder.path} holds packed rows on another machine: copy them here to look at")
    return open_rows(Path(artifact.folder.join("joined")))
