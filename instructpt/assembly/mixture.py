"""Which source the n-th row of a training run is taken from: arithmetic, no state.

Weights are shares of tokens. The run's rows come in blocks of 256. Of the first n rows, n ending a block, each source
has given floor(w * n), w being its share, and the one with the largest share what is left: none is a whole row behind
its share, and the largest is fewer rows ahead than there are other sources. With shares of 80, 15 and 5 %:

    block      0                        1                        2
    rows       0 ... 255                256 ... 511              512 ... 767
    web        206 (  0 ... 205)        205 (206 ... 410)        204 (411 ... 614)     rows of its own stream
    tasks       38 (  0 ...  37)         38 ( 38 ...  75)         39 ( 76 ... 114)
    code        12 (  0 ...  11)         13 ( 12 ...  24)         13 ( 25 ...  37)
    order      shuffled within the block, a permutation of its own for each

A source's own stream is endless: its rows in a random order, each once, then in another order, and so on. One
whose rows are in order (`spacing`) is taken as they lie, round and round, from a row on that the seed draws; others
come between them, so that what lies so many rows apart there is at least as far apart in the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from instructpt.assembly.rows import RowSource
from instructpt.errors import RecipeError
from instructpt.seeds import digest, permute

BLOCK_ROWS = 256
"""Rows of a block for up to 16 sources, the square of their number for more: the largest source then always has room
for what the others round up."""
_UNITS = 1 << 48
"""Shares are whole numbers of these, so that every machine rounds alike."""


@dataclass(frozen=True, slots=True)
class MixturePart:
    """What a run takes from one source."""

    name: str
    size: int
    """Rows the source has."""
    rows: int
    """Rows that are taken from it, repetitions included."""
    epochs: float
    """How often each of its rows is seen."""
    is_in_order: bool = False
    """Whether they are taken as they lie."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The rows of a run, by number. Made by `plan`."""

    parts: tuple[MixturePart, ...]
    num_rows: int
    seed: int
    shares: tuple[int, ...]
    """Of rows, [num_parts], in `_UNITS`, which is their sum."""

    def row(self, index: int) -> tuple[str, int]:
        """Source and row number within it of the run's row `index`, from 0 to num_rows - 1."""
        assert 0 <= index < self.num_rows, f"row {index} of {self.num_rows}"
        block_rows = _block_rows(self.shares)
        block, place = divmod(index, block_rows)
        start = block * block_rows
        stop = min(start + block_rows, self.num_rows)
        key, first = _key(self.seed, "mixture", block), 0
        drawn = permute(place, size=stop - start, key=key)
        for part, taken, count in zip(self.parts, *_block(self.shares, start, stop), strict=True):
            if drawn < first + count:
                if part.is_in_order:
                    rank = _places(key, stop - start, first, first + count).index(place)
                    begin = permute(0, size=part.size, key=_key(self.seed, "begin", part.name))
                    return part.name, (begin + taken + rank) % part.size
                epoch, index = divmod(taken + drawn - first, part.size)
                return part.name, permute(index, size=part.size, key=_key(self.seed, "order", part.name, epoch))
            first += count
        raise AssertionError("shares do not add up")


def _block_rows(shares: Sequence[int]) -> int:
    return max(BLOCK_ROWS, len(shares) ** 2)


@lru_cache(maxsize=4096)
def _block(shares: tuple[int, ...], start: int, stop: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows that each source gave before the block from `start` to `stop`, and those that it gives in it."""
    largest = max(range(len(shares)), key=shares.__getitem__)
    taken = [share * start // _UNITS for share in shares]
    counts = [share * stop // _UNITS - before for share, before in zip(shares, taken, strict=True)]
    taken[largest] += start - sum(taken)
    counts[largest] = 0
    # In a last, short block the others may round up to more rows than it has: those least behind their share give.
    while sum(counts) > stop - start:
        behind = {k: shares[k] * stop % _UNITS for k, count in enumerate(counts) if count}
        counts[min(behind, key=behind.__getitem__)] -= 1
    counts[largest] = stop - start - sum(counts)
    return tuple(taken), tuple(counts)


@lru_cache(maxsize=64)
def _places(key: bytes, size: int, first: int, stop: int) -> tuple[int, ...]:
    """The places of a block that the numbers from `first` to `stop` are drawn to, in order."""
    return tuple(place for place in range(size) if first <= permute(place, size=size, key=key) < stop)


@lru_cache(maxsize=4096)
def _key(seed: int, *names: object) -> bytes:
    return digest(seed, *names)


def plan(
    sources: Mapping[str, RowSource],
    *,
    weights: Mapping[str, float],
    num_rows: int,
    seed: int,
    max_epochs: float,
) -> Mixture:
    """Mix sources for a run of `num_rows` rows so that their tokens are in the ratio of `weights`.

    max_epochs: how often a row may be seen at most. Raises RecipeError for more repetition than that, weights that do
    not fit the sources, an empty source, or rows of different lengths.
    """
    _check(sources, weights=weights, num_rows=num_rows)
    sources = dict(sorted(sources.items()))  # the order in which they are named means nothing
    # Rows of one source may be less full than those of another: a share of tokens is not quite one of rows.
    tokens_a_row = {name: source.num_tokens / len(source) for name, source in sources.items()}
    row_weights = {name: weights[name] / tokens_a_row[name] for name in sources}
    total = math.fsum(row_weights.values())
    shares = [round(weight / total * _UNITS) for weight in row_weights.values()]
    shares[shares.index(max(shares))] += _UNITS - sum(shares)
    last_start = (num_rows - 1) // _block_rows(shares) * _block_rows(shares)
    rows = [taken + count for taken, count in zip(*_block(tuple(shares), last_start, num_rows), strict=True)]
    parts = tuple(
        MixturePart(name, len(source), count, count / len(source), source.is_in_order)
        for (name, source), count in zip(sources.items(), rows, strict=True)
    )
    for part in parts:
        _refuse_repetition(part, weight=weights[part.name], num_rows=num_rows, max_epochs=max_epochs)
    return Mixture(parts, num_rows, seed, tuple(shares))


def _check(sources: Mapping[str, RowSource], *, weights: Mapping[str, float], num_rows: int) -> None:
    if not sources or sources.keys() != weights.keys():
        named, weighed = sorted(sources), sorted(weights)
        raise RecipeError(f"the mixture has the sources {named} and weights for {weighed}: give each one weight")
    for name, source in sources.items():
        if not (math.isfinite(weights[name]) and weights[name] > 0):
            raise RecipeError(f"source {name!r} has weight {weights[name]}: give a number above 0, or leave it out")
        if not len(source):
            raise RecipeError(f"source {name!r} has no rows: leave it out, or give it text")
    if len(lengths := {source.row_tokens for source in sources.values()}) > 1:
        raise RecipeError(f"the sources have rows of {sorted(lengths)} tokens: pack them all to one length")
    if num_rows < 1:
        raise RecipeError(f"a run of {num_rows} rows trains nothing: give a budget of at least one")


def _refuse_repetition(part: MixturePart, *, weight: float, num_rows: int, max_epochs: float) -> None:
    if part.epochs > max_epochs:
        raise RecipeError(
            f"source {part.name!r} has {part.size:,} rows and would be seen {part.epochs:.2f} times, more than the "
            f"{max_epochs:g} allowed: lower its weight ({weight:g}), train on at most "
            f"{int(num_rows * max_epochs / part.epochs):,} rows instead of {num_rows:,}, give it more text, "
            "or allow more epochs"
        )
