"""Runs of words as numbers, for texts of any length: a block of text at a time, a number for each run in it.

    texts --pieces, blocks--> "a block of neighbouring texts" --find_words--> a number a word --sums_of, runs_of-->
        a number for each run of n words, which equal runs share

By sums of powers (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987), of which the one of a run
is the difference of two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instructpt.words.wordforms import Unsigned, find_words, mixed, powers

BLOCK_CHARACTERS = 1 << 17
"""Enough that numpy's own cost a call does not show, few enough that its arrays stay in a core's cache."""
_CUT = re.compile(r"[\s!-&(-/:-@\[-_{-~、。，．]")
"""Where a text may be cut: no word has these in it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text."""

    text: int
    offset: int
    """Of its first character in the text."""
    string: str


def sums_of(hashes: Unsigned) -> Unsigned:
    """For each word, the sum of the words' numbers before it, each times a power that tells its place; and of all."""
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * powers(len(hashes))[0][: len(hashes)], out=sums[1:])
    return sums


def runs_of(sums: Unsigned, size: int, firsts: NDArray[np.int64] | None = None) -> Unsigned:
    """A number for each run of `size` words, or for those that begin at `firsts`. Other sizes have other numbers."""
    _, table = powers(len(sums))
    if firsts is None:
        count = max(0, len(sums) - size)
        runs = (sums[size:] - sums[:count]) * table[:count]
    else:
        runs = (sums[firsts + size] - sums[firsts]) * table[firsts]
    return mixed(runs + np.uint64(size))


def counted_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... for each count, one after the other: [2, 3] -> [0, 1, 0, 1, 2]."""
    numbers: NDArray[np.int64] = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
    return numbers


def pieces(texts: Iterable[str], *, overlap_words: int) -> Iterator[Piece]:
    """The texts, long ones cut: each piece begins with the last words of the one before, so that no run is torn."""
    for number, text in enumerate(texts):
        start = 0
        while len(text) - start > BLOCK_CHARACTERS and (cut := _CUT.search(text, start + BLOCK_CHARACTERS)):
            yield Piece(number, start, text[start : cut.start()])
            start = _back(text, start, cut.start(), overlap_words)
        yield Piece(number, start, text[start:])


def _back(text: str, start: int, stop: int, num_words: int) -> int:
    """Where the last `num_words` words before `stop` begin.

    Where half the piece does not hold so many, a place there that cuts no word: a run of such words may be missed.
    """
    if num_words == 0:
        return stop
    half, reach = (start + stop) // 2, 16 * (num_words + 1)
    while True:
        first = max(stop - reach, half)
        starts = find_words(text[first:stop]).starts
        if len(starts) > num_words:  # the first of them may be the end of a longer one
            return first + int(starts[-num_words])
        if first == half:
            cut = _CUT.search(text, half, stop)
            return cut.start() if cut else stop
        reach *= 2


def blocks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces that fill a block together; a longer one is alone."""
    block: list[Piece] = []
    num_characters = 0
    for piece in pieces:
        if block and num_characters + len(piece.string) > BLOCK_CHARACTERS:
            yield block
            block, num_characters = [], 0
        block.append(piece)
        num_characters += len(piece.string) + 1
    if block:
        yield block
