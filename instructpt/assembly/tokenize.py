"""Texts to token files: the flat form in which text is kept once it will be only counted, placed and trained on.

    text              "Herons wade.|They eat fish."        | a break; loss on "They eat fish." alone
    tokens.bin        <s> Her ons _wade . </s> <s> They _eat _fish . </s>     uint16, or uint32 for large vocabularies
    documents.npy     0                                                   12  where each document starts; the end
    silent.npy       [0                          7)                           ranges of tokens that carry no loss
    names.parquet     id and source of each document
    passages.npy      a number for each passage whose texts are to stand apart, 0 for other texts; only if there are any
    head.json         counts, type of a token, fingerprint of the vocabulary

Text is only text: what spells a special token gets the ids of its characters. Each part between breaks is encoded by
itself between one BOS (where the vocabulary has one) and one EOS, as `Vocabulary.sequence` does for prompts. A text
becomes one document, also an empty one, so that none is lost.

Loss: without spans everything carries it. With spans a token does if it begins inside one, an EOS if the character
before it lies in one, a BOS never, for nobody asks a model to write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import orjson

from instructpt.records import Text
from instructpt.seeds import digest
from instructpt.words.batches import batches
from instructpt.words.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMAT = 1
"""Raised when the files change their meaning."""
TOKENS, DOCUMENTS, SILENT, NAMES, HEAD = "tokens.bin", "documents.npy", "silent.npy", "names.parquet", "head.json"
PASSAGES = "passages.npy"

_BATCH_CHARACTERS = 1 << 22
"""Texts encoded at once: enough to keep threads busy, about 100 MB."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a token file holds."""

    documents: int = 0
    tokens: int = 0
    """BOS and EOS included."""
    loss_tokens: int = 0
    """Tokens that carry loss as targets. The first of a document is never a target."""
    characters: int = 0


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A batch of texts in tokens."""

    tokens: np.ndarray
    lengths: np.ndarray
    silent: np.ndarray
    """[num_ranges, 2], counted from the batch's first token."""


def tokenize(texts: Iterable[Text], *, vocabulary: Vocabulary, folder: Path) -> Counts:
    """Write the token files of `texts` into `folder`, which is made if it is missing; files in it are replaced.

    Memory is bounded by 4 Mi characters of text or the longest text, plus 8 bytes a document.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = token_type(vocabulary.size)
    counts, lengths, silent = Counts(), [np.zeros(1, np.int64)], [np.zeros((0, 2), np.int64)]
    passages: list[np.ndarray] = [np.zeros(0, np.int64)]
    with (folder / TOKENS).open("wb") as tokens, (folder / NAMES).open("wb") as names, _names_writer(names) as writer:
        for batch, encoded in _encoded_ahead(
            batches(texts, size=lambda text: len(text.text), enough=_BATCH_CHARACTERS), vocabulary
        ):
            encoded.tokens.astype(dtype).tofile(tokens)
            _write_names(writer, batch)
            lengths.append(encoded.lengths)
            silent.append(encoded.silent + counts.tokens)
            passages.append(np.array([_passage_number(text) for text in batch], np.int64))
            counts = _add(counts, batch, encoded)
    np.save(folder / DOCUMENTS, np.cumsum(np.concatenate(lengths)))
    np.save(folder / SILENT, np.concatenate(silent))
    (folder / PASSAGES).unlink(missing_ok=True)
    if (numbers := np.concatenate(passages)).any():
        np.save(folder / PASSAGES, numbers)
    head = {
        "format": FORMAT,
        "dtype": dtype.name,
        "vocabulary": vocabulary.fingerprint,
        "vocabulary_size": vocabulary.size,
        **asdict(counts),
    }
    (folder / HEAD).write_bytes(orjson.dumps(head, option=orjson.OPT_INDENT_2))
    return counts


def passages_of(folder: Path) -> np.ndarray | None:
    """The passage of each document of token files, int64; None if none is to stand apart."""
    return np.load(folder / PASSAGES) if (folder / PASSAGES).exists() else None


def _passage_number(text: Text) -> int:
    """The same for equal names, never 0 but for none."""
    return int.from_bytes(digest(text.passage)[:7], "little") | 1 if text.passage else 0


def token_type(vocabulary_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned type that holds every id, little-endian."""
    return np.dtype("<u2") if vocabulary_size <= 1 << 16 else np.dtype("<u4")


def _encoded_ahead(batches: Iterator[list[Text]], vocabulary: Vocabulary) -> Iterator[tuple[list[Text], _Encoded]]:
    """Each batch with its tokens, in order; the next one is read and encoded while the caller works on one."""
    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for batch in batches:
            started = (batch, ahead.submit(_encode, batch, vocabulary))
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = started
        if waiting:
            yield waiting[0], waiting[1].result()


def _encode(texts: list[Text], vocabulary: Vocabulary) -> _Encoded:
    plain = iter(vocabulary.encode_arrays([part for text in texts if text.spans is None for part in _parts(text)]))
    timed = iter(
        vocabulary.encode_with_starts([part for text in texts if text.spans is not None for part in _parts(text)])
    )
    begin = np.array([] if vocabulary.bos is None else [vocabulary.bos], np.uint32)
    end = np.array([vocabulary.eos], np.uint32)
    pieces: list[np.ndarray] = []
    silent: list[np.ndarray] = []
    lengths: list[int] = []
    total = 0
    for text in texts:
        if text.spans is None:
            document = [piece for _ in range(len(text.breaks) + 1) for piece in (begin, next(plain), end)]
        else:
            parts = [next(timed) for _ in range(len(text.breaks) + 1)]
            document = [piece for ids, _ in parts for piece in (begin, ids, end)]
            silent.append(_silent(text, [starts for _, starts in parts], has_begin=len(begin) > 0) + total)
        pieces += document
        lengths.append(sum(map(len, document)))
        total += lengths[-1]
    return _Encoded(
        np.concatenate(pieces), np.array(lengths, np.int64), np.concatenate([np.zeros((0, 2), np.int64), *silent])
    )


def _parts(text: Text) -> list[str]:
    return [text.text[start:stop] for start, stop in _bounds(text)] if text.breaks else [text.text]


def _bounds(text: Text) -> Iterator[tuple[int, int]]:
    return pairwise([0, *text.breaks, len(text.text)])


def _silent(text: Text, starts: list[np.ndarray], *, has_begin: bool) -> np.ndarray:
    """Ranges of a document's tokens that carry no loss, [num_ranges, 2]."""
    # Where each token stands, in characters: -1, in no span, for BOS; for EOS the character before it.
    characters = [
        piece
        for (first, stop), inside in zip(_bounds(text), starts, strict=True)
        for piece in ([-1] * has_begin, inside + first, [stop - 1])
    ]
    edges = np.array(text.spans, np.int64).reshape(-1)
    carries_loss = np.searchsorted(edges, np.concatenate(characters), side="right") & 1
    changes = np.flatnonzero(np.diff(carries_loss, prepend=1, append=1))
    return changes.reshape(-1, 2)


def _add(counts: Counts, batch: list[Text], encoded: _Encoded) -> Counts:
    firsts = np.cumsum(encoded.lengths) - encoded.lengths
    starts, stops = encoded.silent.T
    is_first_silent = np.searchsorted(starts, firsts, side="right") > np.searchsorted(stops, firsts, side="right")
    num_silent = int((stops - starts).sum() + (~is_first_silent).sum())
    return Counts(
        counts.documents + len(batch),
        counts.tokens + len(encoded.tokens),
        counts.loss_tokens + len(encoded.tokens) - num_silent,
        counts.characters + sum(len(text.text) for text in batch),
    )


def _names_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field("id", pa.string()), pa.field("source", pa.string())])


def _names_writer(file: IO[bytes]) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(file, _names_schema(), compression="zstd")


def _write_names(writer: pq.ParquetWriter, texts: list[Text]) -> None:
    import pyarrow as pa

    columns = [[text.id for text in texts], [text.source for text in texts]]
    arrays = [pa.array(column, pa.string()) for column in columns]
    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_names_schema()))
