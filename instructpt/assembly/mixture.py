"""Which source the n-th row of a training run is taken from: arithmetic, no state.

Weights are shares of tokens. The run's rows come in blocks of 256. Of the first n rows, n ending a block, source k has
given exactly round(W_k * n) - round(W_k-1 * n), W_k being the sum of the first k shares: no source is then more than
one row away from its share. With shares of 80, 15 and 5 %:

    block      0                        1                        2
    rows       0 ... 255                256 ... 511              512 ... 767
    web        205 (  0 ... 204)        205 (205 ... 409)        204 (410 ... 613)     rows of its own stream
    tasks       38 (  0 ...  37)         38 ( 38 ...  75)         40 ( 76 ... 115)
    code        13 (  0 ...  12)         13 ( 13 ...  25)         12 ( 26 ...  37)
    order      shuffled within the block, a permutation of its own for each

A source's own stream is endless: its rows in a random order, each once, then in another order, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from instructpt.assembly.rows import Source
from instructpt.errors import RecipeError
from instructpt.seeds import digest, permute

BLOCK_ROWS = 256
_UNITS = 1 << 48
"""Shares are whole numbers of these, so that every machine rounds alike."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a run takes from one source."""

    name: str
    size: int
    """Rows the source has."""
    rows: int
    """Rows that are taken from it, repetitions included."""
    tokens: int
    """Tokens in those rows."""
    share: float
    """Of the run's tokens."""
    epochs: float
    """How often each of its rows is seen."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The rows of a run, by number. Made by `plan`."""

    parts: tuple[Part, ...]
    num_rows: int
    seed: int
    bounds: tuple[int, ...]
    """Sums of the first shares, [num_parts + 1], from 0 to `_UNITS`."""

    def row(self, index: int) -> tuple[str, int]:
        """Source and row number within it of the run's row `index`, from 0 to num_rows - 1."""
        assert 0 <= index < self.num_rows, f"row {index} of {self.num_rows}"
        block, place = divmod(index, BLOCK_ROWS)
        start = block * BLOCK_ROWS
        stop = min(start + BLOCK_ROWS, self.num_rows)
        place = permute(place, size=stop - start, key=_key(self.seed, "mixture", block))
        for k, part in enumerate(self.parts):
            taken = _taken(self.bounds, k, start)
            count = _taken(self.bounds, k, stop) - taken
            if place < count:
                epoch, index = divmod(taken + place, part.size)
                return part.name, permute(index, size=part.size, key=_key(self.seed, "order", part.name, epoch))
            place -= count
        raise AssertionError("shares do not add up")


def _taken(bounds: Sequence[int], k: int, num_rows: int) -> int:
    """Rows of source k among the run's first `num_rows`, a whole number of blocks or all."""
    before, after = ((bound * num_rows + _UNITS // 2) // _UNITS for bound in bounds[k : k + 2])
    return after - before


@lru_cache(maxsize=4096)
def _key(seed: int, *names: object) -> bytes:
    return digest(seed, *names)


def plan(
    sources: Mapping[str, Source],
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
    row_weights = [weights[name] / tokens_a_row[name] for name in sources]
    sums = [math.fsum(row_weights[:k]) for k in range(len(row_weights) + 1)]
    bounds = tuple(round(total / sums[-1] * _UNITS) for total in sums)
    rows = [_taken(bounds, k, num_rows) for k in range(len(sources))]
    tokens = [count * tokens_a_row[name] for name, count in zip(sources, rows, strict=True)]
    parts = tuple(
        Part(name, len(source), count, round(number), number / math.fsum(tokens), count / len(source))
        for (name, source), count, number in zip(sources.items(), rows, tokens, strict=True)
    )
    for part in parts:
        _refuse_repetition(part, weight=weights[part.name], num_rows=num_rows, max_epochs=max_epochs)
    return Mixture(parts, num_rows, seed, bounds)


def _check(sources: Mapping[str, Source], *, weights: Mapping[str, float], num_rows: int) -> None:
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


def _refuse_repetition(part: Part, *, weight: float, num_rows: int, max_epochs: float) -> None:
    if part.epochs > max_epochs:
        raise RecipeError(
            f"source {part.name!r} has {part.size:,} rows and would be seen {part.epochs:.2f} times, more than the "
            f"{max_epochs:g} allowed: lower its weight ({weight:g}), train on at most "
            f"{int(num_rows * max_epochs / part.epochs):,} rows instead of {num_rows:,}, give it more text, "
            "or allow more epochs"
        )
