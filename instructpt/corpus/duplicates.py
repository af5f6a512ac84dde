"""Documents of a whole corpus that repeat earlier ones, word for word or nearly.

Exact ones: 16 bytes a document, one sort, the first of equal ones is kept.

    shard 0:  a b a c      digests      sort by (digest, place)        later copies
    shard 1:  d b          a b a c  ->  a a b b c d               ->   shard 0: [2]
                           d b          0 2 1 5 3 4 (places)           shard 1: [1]

Documents are equal if their texts are, whatever the white space between words. That two different texts among n have
equal digests has a probability of about n^2 / 2^129: below 10^-18 for ten thousand million documents.

Near ones: MinHash signatures, compared where a band of them is the same.

    document --runs of 5 words, a number each--> MinHash (rensa) --> signature, 128 numbers
    signatures --bands of a few places, one sort each--> documents that share a band --share of equal places--> near

The share of equal places in two signatures is an estimate of the Jaccard index of their runs (those that both have, of
those that either has; Broder 1997), with a standard deviation of at most 0.044. A document is a near duplicate if an
earlier one is as near as that; of those that share a band it is compared with the first and with the last before it.
Words are those of `wordforms`: case, accents and punctuation do not count. Documents without a word are left alone.

Memory: about 50 bytes a document in the join, and 8 bytes a word of the longest document before. Disk: 512 bytes a
document. The same on any machine and with any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from instructpt.records import Document
from instructpt.words.wordforms import Unsigned, blocks, find_words, mixed, pieces, runs_of, sums_of

_DIGEST_BYTES = 16
RUN_WORDS = 5
NUM_PLACES = 128
MAX_MISSED = 0.01
"""Of documents exactly as near as asked for, those that may share no band; of nearer ones fewer are missed."""
_SEED = 0
_GROUP_RUNS = 1 << 20
"""Sketched at a time, so that the threads of rensa have work."""
_COMPARED_ROWS = 1 << 16

Signatures = NDArray[np.uint32]


def digests(documents: Iterable[Document]) -> NDArray[np.uint64]:
    """A digest a document, [num_documents, 2]: blake2b of its text, runs of white space as one blank. Streams."""
    data = bytearray()
    for document in documents:
        words = " ".join(document.text.split()).encode("utf-8", "surrogatepass")
        data += hashlib.blake2b(words, digest_size=_DIGEST_BYTES).digest()
    return np.frombuffer(bytes(data), "<u8").reshape(-1, 2)


def later_copies(digests_by_shard: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.int64]]:
    """For each shard, the ascending numbers of the rows that repeat an earlier row of it or of an earlier shard.

    digests_by_shard: [num_documents, 2] each, from `digests`. Memory: about 50 bytes a document while sorting.
    """
    if not digests_by_shard:
        return []
    high, low = (np.concatenate([shard[:, column] for shard in digests_by_shard]) for column in (0, 1))
    order = np.lexsort((low, high))  # stable: equal digests stay in the order of the corpus
    is_repeat = (high[order[1:]] == high[order[:-1]]) & (low[order[1:]] == low[order[:-1]])
    repeats = np.zeros(len(order), bool)
    repeats[order[1:][is_repeat]] = True
    bounds = np.cumsum([len(shard) for shard in digests_by_shard])
    return [np.flatnonzero(part) for part in np.split(repeats, bounds[:-1])]


def signatures(texts: Iterable[str]) -> Signatures:
    """A signature a text, [num_texts, 128], all zeros for a text without a word. Streams."""
    made: list[Signatures] = [np.zeros((0, NUM_PLACES), np.uint32)]
    waiting: list[Unsigned] = []
    num_runs = 0
    for _, parts in groupby(_runs(texts), key=lambda part: part[0]):
        waiting.append(np.concatenate([runs for _, runs in parts]))
        num_runs += len(waiting[-1])
        if num_runs >= _GROUP_RUNS:
            made.append(_sketched(waiting))
            waiting, num_runs = [], 0
    return np.concatenate([*made, _sketched(waiting)] if waiting else made)


def near_copies(signatures_by_shard: Sequence[Signatures], *, share: float) -> list[NDArray[np.int64]]:
    """For each shard, the ascending numbers of the rows that are near an earlier row of it or of an earlier shard.

    signatures_by_shard: [num_documents, 128] each, from `signatures`; may be memory maps. share: of equal places.
    """
    bounds = np.cumsum([0, *map(len, signatures_by_shard)])
    near = np.zeros(bounds[-1], bool)
    num_bands, num_places = bands(share)
    for band in range(num_bands if len(near) else 0):
        columns = slice(band * num_places, (band + 1) * num_places)
        keys = np.concatenate([_keys(shard[:, columns]) for shard in signatures_by_shard])
        order = np.argsort(keys, kind="stable")  # equal keys stay in the order of the corpus
        follows = np.concatenate([[False], keys[order[1:]] == keys[order[:-1]]])
        starts = np.flatnonzero(~follows)
        firsts = order[starts].repeat(np.diff([*starts, len(order)]))
        for later, earlier in ((order[1:], order[:-1]), (order[1:], firsts[1:])):
            open_ones = np.flatnonzero(follows[1:] & ~near[later])
            for chosen in np.array_split(open_ones, max(1, -(-len(open_ones) // _COMPARED_ROWS))):
                ours, theirs = (_gathered(signatures_by_shard, bounds, rows[chosen]) for rows in (later, earlier))
                is_near = ((ours == theirs).mean(axis=1) >= share) & ours.any(axis=1)
                near[later[chosen[is_near]]] = True
    return [np.flatnonzero(part) for part in np.split(near, bounds[1:-1])] if len(bounds) > 1 else []


def bands(share: float) -> tuple[int, int]:
    """How many bands of how many places find all but `MAX_MISSED` of the documents that are as near as `share`."""
    fitting = [n for n in range(1, NUM_PLACES + 1) if (1 - share**n) ** (NUM_PLACES // n) <= MAX_MISSED]
    num_places = max(fitting, default=1)
    return NUM_PLACES // num_places, num_places


def _runs(texts: Iterable[str]) -> Iterator[tuple[int, Unsigned]]:
    """The number of a text and those of its runs, or of its words if there are too few; a long text in parts."""
    for block in blocks(pieces(texts, overlap_words=RUN_WORDS - 1)):
        found = find_words("\n".join([piece.string for piece in block]))
        begins = np.cumsum([0, *(len(piece.string) + 1 for piece in block)])
        bounds = np.searchsorted(found.starts, begins).tolist()
        runs = runs_of(sums_of(found.hashes), RUN_WORDS)
        for piece, first, last in zip(block, bounds, bounds[1:], strict=False):
            is_long = last - first >= RUN_WORDS
            yield piece.text, runs[first : last - RUN_WORDS + 1] if is_long else found.hashes[first:last]


def _sketched(runs: Sequence[Unsigned]) -> Signatures:
    from rensa import RMinHash

    lengths = [len(numbers) for numbers in runs]
    offsets = np.cumsum([0, *lengths]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(runs), offsets, NUM_PLACES, _SEED)
    made = np.array(matrix.to_rows(), np.uint32)
    made[np.array(lengths) == 0] = 0
    return made


def _keys(places: Signatures) -> Unsigned:
    """A number for each row, which equal rows share."""
    keys = np.zeros(len(places), np.uint64)
    for column in range(places.shape[1]):
        keys = mixed(keys + places[:, column])
    return keys


def _gathered(shards: Sequence[Signatures], bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> Signatures:
    """The signatures of rows of the corpus, out of the shards that they are in."""
    found = np.empty((len(rows), NUM_PLACES), np.uint32)
    places = np.searchsorted(bounds, rows, side="right") - 1
    for place in np.unique(places).tolist():
        chosen = places == place
        found[chosen] = shards[place][rows[chosen] - bounds[place]]
    return found
