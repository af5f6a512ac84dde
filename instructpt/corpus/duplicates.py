"""Exact duplicates over a whole corpus: 16 bytes a document, one sort, the first of equal ones is kept.

    shard 0:  a b a c      digests      sort by (digest, place)        later copies
    shard 1:  d b          a b a c  ->  a a b b c d               ->   shard 0: [2]
                           d b          0 2 1 5 3 4 (places)           shard 1: [1]

Documents are equal if their texts are, whatever the white space between words. That two different texts among n have
equal digests has a probability of about n^2 / 2^129: below 10^-18 for ten thousand million documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from instructpt.records import Document

_DIGEST_BYTES = 16


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
