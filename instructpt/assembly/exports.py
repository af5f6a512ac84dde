"""Token files and rows in the formats of other trainers. One function a format, one table line each.

    token files of a shard  -->  Megatron   00000.bin    the tokens, end to end
                                            00000.idx    their type, and where each document starts
                            -->  datatrove  00000.ds     the tokens
                                            00000.ds.index   where each document ends, in tokens
                                            00000.ds.loss    a byte a token: does it carry loss
                            -->  OLMo       00000.npy    the tokens, without a header: that trainer maps them
                                            00000.csv.gz     start, end and name of each document
                                            00000.labels.npy a byte a token, as above (its `label_mask_paths`)
    rows                    -->  Parquet, JSON lines: a row of exactly L places each, ready to train on

Documents go out whole and in their order, each with its own begin and end of text, for trainers that pack by
themselves; rows go out as they were packed.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from instructpt.assembly import tokenize
from instructpt.assembly.rows import Rows, open_rows
from instructpt.errors import RecipeError

ROWS_AT_ONCE = 256
"""Rows laid out at once: 256 of 4,096 places are 40 MB."""

_MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
_MEGATRON_TYPES = {np.dtype("<u2"): 8, np.dtype("<i4"): 4}
"""Its codes of the token types that it reads (megatron/core/datasets/indexed_dataset.py)."""


@dataclass(frozen=True, slots=True)
class TokenShard:
    """The token files of one shard, mapped."""

    name: str
    folder: Path
    tokens: np.ndarray
    """[num_tokens], uint16 or uint32."""
    documents: np.ndarray
    """[num_documents + 1]: where each starts, and the end."""
    carries_loss: np.ndarray | None
    """[num_tokens] bool; None if all do."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    tokens: int
    documents: int = 0
    rows: int = 0
    silent_tokens_exported: int = 0
    """Tokens without loss that the format cannot mark as such: they will be trained on."""


def export_tokens(shards: Sequence[Path], *, to: str, folder: Path) -> Exported:
    """Write the token files of all shards into `folder`. Raises RecipeError for an unknown format."""
    if to not in TOKEN_FORMATS:
        raise RecipeError(f"tokens cannot be exported to {to!r}: choose one of {', '.join(sorted(TOKEN_FORMATS))}")
    write, marks_loss = TOKEN_FORMATS[to]
    folder.mkdir(parents=True, exist_ok=True)
    num_documents = num_tokens = num_silent = 0
    for path in shards:
        shard = open_tokens(path)
        write(shard, folder)
        num_documents += len(shard.documents) - 1
        num_tokens += len(shard.tokens)
        if shard.carries_loss is not None and not marks_loss:
            num_silent += int((~shard.carries_loss).sum())
    return Exported(num_tokens, documents=num_documents, silent_tokens_exported=num_silent)


def export_rows(joined: Path, shards: Sequence[Path], *, to: str, folder: Path) -> Exported:
    """Write packed rows into `folder`, a file for all. Raises RecipeError for an unknown format."""
    if to not in ROW_FORMATS:
        raise RecipeError(f"rows cannot be exported to {to!r}: choose one of {', '.join(sorted(ROW_FORMATS))}")
    rows = open_rows(joined, shards=shards)
    folder.mkdir(parents=True, exist_ok=True)
    ROW_FORMATS[to](rows, folder)
    return Exported(rows.num_tokens, rows=len(rows))


def open_tokens(folder: Path) -> TokenShard:
    """The token files that `tokenize` wrote into `folder`."""
    head = orjson.loads((folder / tokenize.HEAD).read_bytes())
    dtype = np.dtype(head["dtype"]).newbyteorder("<")
    tokens = np.memmap(folder / tokenize.TOKENS, dtype, "r") if head["tokens"] else np.zeros(0, dtype)
    silent = np.load(folder / tokenize.SILENT).reshape(-1, 2)
    carries_loss = None
    if len(silent):
        carries_loss = np.ones(len(tokens), bool)
        for start, stop in silent.tolist():
            carries_loss[start:stop] = False
    return TokenShard(folder.name, folder, np.asarray(tokens), np.load(folder / tokenize.DOCUMENTS), carries_loss)


def _write_megatron(shard: TokenShard, folder: Path) -> None:
    """`.bin` and `.idx`: version 1, a sequence a document. It reads no unsigned type of four bytes."""
    dtype = np.dtype("<u2") if shard.tokens.dtype.itemsize == 2 else np.dtype("<i4")
    shard.tokens.astype(dtype).tofile(folder / f"{shard.name}.bin")
    lengths = np.diff(shard.documents)
    with (folder / f"{shard.name}.idx").open("wb") as file:
        file.write(_MEGATRON_MAGIC + struct.pack("<QB", 1, _MEGATRON_TYPES[dtype]))
        file.write(struct.pack("<QQ", len(lengths), len(shard.documents)))
        file.write(lengths.astype("<i4").tobytes())
        file.write((shard.documents[:-1] * dtype.itemsize).astype("<i8").tobytes())
        file.write(np.arange(len(shard.documents), dtype="<i8").tobytes())


def _write_datatrove(shard: TokenShard, folder: Path) -> None:
    """`.ds`, `.ds.index` (ends of documents, 8 bytes each, unsigned), and `.ds.loss` where it says something."""
    shutil.copyfile(shard.folder / tokenize.TOKENS, folder / f"{shard.name}.ds")
    (folder / f"{shard.name}.ds.index").write_bytes(shard.documents[1:].astype("<u8").tobytes())
    if shard.carries_loss is not None:
        (folder / f"{shard.name}.ds.loss").write_bytes(shard.carries_loss.tobytes())


def _write_olmo(shard: TokenShard, folder: Path) -> None:
    """A bare array of tokens called `.npy`, the documents in it, and a mask of labels where it says something."""
    shutil.copyfile(shard.folder / tokenize.TOKENS, folder / f"{shard.name}.npy")
    if shard.carries_loss is not None:
        (folder / f"{shard.name}.labels.npy").write_bytes(shard.carries_loss.tobytes())
    with (
        (folder / f"{shard.name}.csv.gz").open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        lines = csv.writer(text)
        bounds = zip(shard.documents[:-1].tolist(), shard.documents[1:].tolist(), _names(shard), strict=True)
        for number, (start, stop, (name, source)) in enumerate(bounds):
            lines.writerow((start, stop, name, source, number))


def _names(shard: TokenShard) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(shard.folder / tokenize.NAMES).iter_batches():
        yield from zip(batch.column("id").to_pylist(), batch.column("source").to_pylist(), strict=True)


def _row_batches(rows: Rows) -> Iterator[Mapping[str, np.ndarray]]:
    """Columns of a few rows.

    labels: the id at the same place, or -100 where it carries no loss, padding and first of a piece included: the way
    of Hugging Face, whose models shift them by one themselves.
    """
    for start in range(0, len(rows), ROWS_AT_ONCE):
        batch = rows.batch(range(start, min(len(rows), start + ROWS_AT_ONCE)))
        labels = np.full_like(batch.inputs, -100)
        is_asked = (batch.weights[:, :-1] > 0) & (batch.documents[:, 1:] == batch.documents[:, :-1])
        labels[:, 1:][is_asked] = batch.inputs[:, 1:][is_asked]
        yield {
            "input_ids": batch.inputs,
            "labels": labels,
            "position_ids": batch.positions,
            "document_ids": batch.documents,
        }


def _write_rows_parquet(rows: Rows, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("input_ids", "labels", "position_ids", "document_ids")
    schema = pa.schema([pa.field(name, pa.list_(pa.int32(), rows.row_tokens)) for name in names])
    with pq.ParquetWriter(folder / "rows.parquet", schema, compression="zstd") as writer:
        for columns in _row_batches(rows):
            values = [
                pa.FixedSizeListArray.from_arrays(pa.array(columns[name].reshape(-1), pa.int32()), rows.row_tokens)
                for name in names
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(values, schema=schema))


def _write_rows_jsonl(rows: Rows, folder: Path) -> None:
    with (
        (folder / "rows.jsonl.gz").open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
    ):
        for columns in _row_batches(rows):
            for place in range(len(columns["input_ids"])):
                line: dict[str, Any] = {name: values[place].tolist() for name, values in columns.items()}
                packed.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


TOKEN_FORMATS: dict[str, tuple[Callable[[TokenShard, Path], None], bool]] = {
    "megatron": (_write_megatron, False),
    "datatrove": (_write_datatrove, True),
    "olmo": (_write_olmo, True),
}
"""Name -> what writes a shard, and whether the format can say which tokens carry loss."""

ROW_FORMATS: dict[str, Callable[[Rows, Path], None]] = {
    "parquet": _write_rows_parquet,
    "jsonl": _write_rows_jsonl,
}
"""Name -> what writes all rows."""
