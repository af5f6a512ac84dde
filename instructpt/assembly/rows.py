"""Rows of exactly L tokens: an index into token files, no second copy of the tokens.

Three documents in two shards, rows of 6. Tokens are numbered through all shards:

    00000/tokens.bin    <s> a b c d e f </s> <s> g h </s>       0 ... 7 the first document, 8 ... 11 the second
    00001/tokens.bin    <s> i </s>                             12 ... 14 the third

    joined/starts.npy     0    8  6    12       the first token of each piece, ordered by row
           lengths.npy    6    4  2     3       its tokens
           goes_on.npy    1    0  0     0       whether its document goes on after it, in another row
           rows.npy       0    1        3   4   the first piece of each row

`batch` turns row numbers into what the model sees, here rows 1 and 2:

    inputs      <s>  g    h  </s>  f  </s>      <s>  i   </s>  0   0   0     0 in unused places
    targets      g   h  </s>   0  </s>  0        i  </s>   0   0   0   0     the next token of the document, if any
    weights      1   1    1    0    1   0        1   1     0   0   0   0     0 as well where the target is silent
    positions    0   1    2    3    0   1        0   1     2   0   0   0     restart with each piece
    documents    0   0    0    0    1   1        0   0     0  -1  -1  -1     attention stays within equal numbers

In row 0 the target of the last place, "e", is "f", although that stands in row 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from instructpt.assembly import apart, packing, spacing, tokenize
from instructpt.errors import InputError
from instructpt.records import Batch
from instructpt.words.vocabulary import Vocabulary

FORMAT = 1
"""Raised when the files change their meaning."""
_HEAD = "head.json"
_ARRAYS = ("starts", "lengths", "goes_on", "rows")


@dataclass(frozen=True, slots=True)
class Packed:
    """What `pack` made."""

    rows: int
    tokens: int
    documents: int
    pieces: int
    """As many as documents, and one more for every cut."""
    fill: float
    """Share of all places in rows that hold a token."""
    near: int
    """Texts that come less than `rows_apart` rows after another one of their passage."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where tokens of a row come from."""

    shard: str
    document: int
    """Its number in the shard."""
    id: str
    """As the text was called; the user's own name."""
    source: str


class RowSource(Protocol):
    """What a mixture has to know of rows."""

    @property
    def row_tokens(self) -> int:
        """L, the places of a row."""

    @property
    def num_tokens(self) -> int:
        """Tokens in all rows, padding not counted."""

    @property
    def is_in_order(self) -> bool:
        """Whether they are to be taken as they lie, round and round, which keeps texts of one passage apart."""

    def __len__(self) -> int:
        """How many rows there are."""


def pack(
    shards: Sequence[Path],
    *,
    capacity: int,
    policy: str,
    folder: Path,
    vocabulary_fingerprint: str,
    rows_apart: int = 1,
) -> Packed:
    """Place all documents of token files in rows of `capacity` tokens and write the index into `folder`.

    shards: the folders that `tokenize` wrote. `open_rows` looks for them beside `folder`, under the same names.
    rows_apart: between texts of one passage; from 2 on rows are in order (`spacing`), whatever the policy.
    Raises RecipeError as `apart.place` does, InputError for tokens of another vocabulary.
    """
    heads = [_read_head(shard, tokenize.FORMAT) for shard in shards]
    for shard, head in zip(shards, heads, strict=True):
        if head["vocabulary"] != vocabulary_fingerprint:
            raise InputError(
                f"{shard} holds tokens of the vocabulary {head['vocabulary']}, not of {vocabulary_fingerprint}: "
                "make the tokens again with the vocabulary that is wanted"
            )
    counts = [np.diff(np.load(shard / tokenize.DOCUMENTS)) for shard in shards]
    lengths = np.concatenate([np.zeros(0, np.int64), *counts])
    each = zip(map(tokenize.passages_of, shards), counts, strict=True)
    parts = [np.zeros(len(count), np.int64) if found is None else found for found, count in each]
    passages = np.concatenate([np.zeros(0, np.int64), *parts])
    is_in_order, near = rows_apart > 1 and bool(passages.any()), 0
    if is_in_order:
        plan, near = spacing.place(lengths, capacity=capacity, passages=passages, rows_apart=rows_apart)
    elif passages.any():
        plan = apart.place(lengths, capacity=capacity, policy=policy, passages=passages)
    else:
        plan = packing.place(lengths, capacity=capacity, policy=policy)
    stops = plan.starts + plan.lengths
    arrays = {
        "starts": (np.cumsum(lengths) - lengths)[plan.documents] + plan.starts,
        "lengths": plan.lengths.astype(np.int32),
        "goes_on": stops < lengths[plan.documents],
        "rows": plan.rows,
    }
    made = Packed(plan.num_rows, plan.num_tokens, len(lengths), len(plan.documents), plan.fill, near)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])
    head = {
        "format": FORMAT,
        "row_tokens": capacity,
        "policy": policy,
        "is_in_order": is_in_order,
        "num_rows": made.rows,
        "num_tokens": made.tokens,
        "vocabulary": vocabulary_fingerprint,
        "shards": [{"name": s.name, "tokens": head["tokens"]} for s, head in zip(shards, heads, strict=True)],
    }
    (folder / _HEAD).write_bytes(orjson.dumps(head, option=orjson.OPT_INDENT_2))
    return made


def open_rows(folder: Path, *, shards: Sequence[Path] | None = None) -> Rows:
    """The rows whose index `pack` wrote into `folder`, memory-mapped.

    shards: the token files, in the order they were packed in; without them they are looked for beside `folder`.
    Raises InputError if a part is missing, cut short, or of another format.
    """
    head = _read_head(folder, FORMAT)
    if shards is None:
        shards = [folder.parent / shard["name"] for shard in head["shards"]]
    tokens = [_open_tokens(path, shard) for path, shard in zip(shards, head["shards"], strict=True)]
    return Rows(head, [_mapped(folder / f"{name}.npy") for name in _ARRAYS], tokens)


def check_vocabulary(rows: Rows, vocabulary: Vocabulary) -> None:
    """Raises InputError if the rows were made with another vocabulary."""
    if rows.vocabulary_fingerprint != vocabulary.fingerprint:
        raise InputError(
            f"the rows were made with the vocabulary {rows.vocabulary_fingerprint}, the model has "
            f"{vocabulary.fingerprint}: pack the texts with the model's own vocabulary"
        )


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The token files of one shard."""

    folder: Path
    tokens: np.ndarray
    documents: np.ndarray
    edges: np.ndarray
    """Starts and ends of silent ranges in turn: a token is silent if the number of edges up to it is odd."""


class Rows:
    """Rows of `row_tokens` places over the token files of an artifact. Made by `open_rows`."""

    def __init__(self, head: dict[str, Any], arrays: Sequence[np.ndarray], shards: Sequence[_Tokens]) -> None:
        self.row_tokens: int = head["row_tokens"]
        self.num_tokens: int = head["num_tokens"]
        self.vocabulary_fingerprint: str = head["vocabulary"]
        self.is_in_order: bool = head.get("is_in_order", False)
        self._starts, self._lengths, self._goes_on, self._rows = arrays
        self._shards = shards
        self._ends = np.cumsum([len(shard.tokens) for shard in shards], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows) - 1

    def batch(self, indices: Sequence[int]) -> Batch:
        """The rows of these numbers, in this order."""
        pieces, row_of = self._pieces(indices)
        lengths = self._lengths[pieces].astype(np.int64)
        goes_on = self._goes_on[pieces]
        offsets = np.cumsum(lengths) - lengths
        tokens, targets, is_silent = self._gather(pieces, offsets, int(lengths.sum()))
        has_target = np.ones(len(tokens), bool)
        has_target[(offsets + lengths - 1)[~goes_on]] = False
        shape = len(indices), self.row_tokens
        used = np.arange(self.row_tokens) < np.bincount(row_of, lengths, len(indices))[:, None]

        def laid_out(values: np.ndarray, dtype: type, empty: int = 0) -> np.ndarray:
            array: np.ndarray = np.full(shape, empty, dtype)
            array[used] = values
            return array

        first_pieces = np.searchsorted(row_of, row_of)
        return Batch(
            inputs=laid_out(tokens, np.int64),
            targets=laid_out(np.where(has_target, targets, 0), np.int64),
            weights=laid_out(has_target & ~is_silent, np.float32),
            positions=laid_out(np.arange(len(tokens)) - np.repeat(offsets, lengths), np.int64),
            documents=laid_out(np.repeat(np.arange(len(pieces)) - first_pieces, lengths), np.int64, empty=-1),
        )

    def documents_in(self, indices: Sequence[int]) -> list[Origin]:
        """The documents that these rows hold a piece of, in the order of the pieces: to name what a bad batch read."""
        pieces, _ = self._pieces(indices)
        origins: list[Origin] = []
        for start, shard in zip(self._starts[pieces].tolist(), self._shards_of(pieces).tolist(), strict=True):
            files = self._shards[shard]
            document = int(np.searchsorted(files.documents, start - self._first_token(shard), side="right")) - 1
            origins.append(Origin(files.folder.name, document, *_name(files.folder, document)))
        return origins

    def _pieces(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The pieces of rows, and for each the place of its row in `indices`."""
        wanted = np.asarray(indices, np.int64)
        assert wanted.min(initial=0) >= 0, indices
        firsts, counts = self._rows[wanted], self._rows[wanted + 1] - self._rows[wanted]
        row_of = np.repeat(np.arange(len(wanted)), counts)
        return np.arange(len(row_of)) - (np.cumsum(counts) - counts - firsts)[row_of], row_of

    def _shards_of(self, pieces: np.ndarray) -> np.ndarray:
        return np.asarray(np.searchsorted(self._ends, self._starts[pieces], side="right"))

    def _first_token(self, shard: int) -> int:
        return int(self._ends[shard]) - len(self._shards[shard].tokens)

    def _gather(self, pieces: np.ndarray, offsets: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every place: its token, the one after it in the file (whosever it is), whether that one is silent."""
        tokens, targets = np.zeros(total, np.int64), np.zeros(total, np.int64)
        edges_before = np.zeros(total + 1, np.int64)
        each = zip(
            self._shards_of(pieces).tolist(),
            self._starts[pieces].tolist(),
            self._lengths[pieces].tolist(),
            offsets.tolist(),
            strict=True,
        )
        for shard, start, length, offset in each:
            files = self._shards[shard]
            start -= self._first_token(shard)
            following = files.tokens[start : start + length + 1]
            tokens[offset : offset + length] = following[:length]
            targets[offset : offset + len(following) - 1] = following[1:]
            if len(files.edges):
                first, last = np.searchsorted(files.edges, (start + 1, start + length), side="right").tolist()
                edges_before[offset] += first
                edges_before[offset + length] -= last
                np.add.at(edges_before, offset + files.edges[first:last] - start - 1, 1)
        return tokens, targets, (np.cumsum(edges_before[:-1]) & 1).astype(bool)


def _read_head(folder: Path, wanted_format: int) -> dict[str, Any]:
    path = folder / _HEAD
    if not path.exists():
        raise InputError(f"{folder} holds no {_HEAD}: run the recipe that packs it to its end")
    head: dict[str, Any] = orjson.loads(path.read_bytes())
    if head["format"] != wanted_format:
        raise InputError(f"{folder} has format {head['format']}, not {wanted_format}: pack the texts again")
    return head


def _open_tokens(folder: Path, wanted: dict[str, Any]) -> _Tokens:
    head = _read_head(folder, tokenize.FORMAT)
    dtype = np.dtype(head["dtype"]).newbyteorder("<")
    path = folder / tokenize.TOKENS
    if head["tokens"] != wanted["tokens"] or path.stat().st_size != wanted["tokens"] * dtype.itemsize:
        raise InputError(f"{path} does not hold the {wanted['tokens']} tokens it was packed with: pack the texts again")
    # Plain views of the maps: a slice of np.memmap itself takes ten times as long.
    tokens = np.asarray(np.memmap(path, dtype, "r")) if head["tokens"] else np.zeros(0, dtype)
    silent = _mapped(folder / tokenize.SILENT).reshape(-1)
    return _Tokens(folder, tokens, _mapped(folder / tokenize.DOCUMENTS), silent)


def _mapped(path: Path) -> np.ndarray:
    if not path.exists():
        raise InputError(f"{path} is missing: pack the texts again")
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): remove it, and pack the texts again") from error


def _name(folder: Path, document: int) -> tuple[str, str]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / tokenize.NAMES)
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        if document < num_rows:
            row = file.read_row_group(group).slice(document, 1).to_pylist()[0]
            return row["id"], row["source"]
        document -= num_rows
    raise AssertionError(f"{folder} has no name for its document {document}")
