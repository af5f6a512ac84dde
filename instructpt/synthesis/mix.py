"""Which categories a passage is asked for: a mix such as "summarization=1,numerical reasoning=2", drawn evenly.

    passage          0      1      2      3      4      5  ...      5 pairs a passage, shares 1/3 (s) and 2/3 (n)
    asked for      nsnns  nsnsn  snsnn  nsnnn  nsnns  snnsn ...      in 64 passages: 107 s and 213 n

A passage gets of every category its share of the pairs, rounded up or down; over a block of 64 passages in a row the
rounding comes out even. This is systematic sampling: evenly spaced points on a line that is divided among the
categories by share. What goes with what, and in which order, changes from block to block and passage to passage.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import accumulate

from instructpt.engines.models import Prompting
from instructpt.errors import RecipeError
from instructpt.seeds import rng
from instructpt.synthesis.dialects import open_dialect

BLOCK_PASSAGES = 64
"""After so many passages the shares come out as asked, to one pair a category."""
_STRIDE = 39
"""Through a block, coprime to its size and near its golden section: passages that follow one another (one chain) get
points far apart, and a block that breaks off is still nearly even."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Categories with the share of pairs that each is to have."""

    shares: tuple[tuple[str, float], ...]
    """Name and share, in the order in which they were given; shares sum to 1."""


def mix_of(prompting: Prompting) -> Mix | None:
    """What a model is asked for; None leaves the choice to it.

    Raises RecipeError for an unknown dialect, for categories that the model does not know, and for any if the dialect
    cannot ask for them; also for less than one pair a passage.
    """
    dialect, mix = open_dialect(prompting.dialect), prompting.mix
    if prompting.pairs < 1:
        raise RecipeError(f"{prompting.pairs} pairs a passage: give at least 1")
    if not mix:
        return None
    if not dialect.can_steer:
        raise RecipeError(
            f"the dialect {prompting.dialect} cannot ask for categories (asked: {mix}): leave them out, or use a model "
            "that was tuned on one that can, such as steered"
        )
    found = parse_mix(mix, known=prompting.answers or None)
    dialect.prompt([], "", categories=[name for name, _ in found.shares])  # refuses a name that it cannot write
    return found


def parse_mix(text: str, *, known: Iterable[str] | None = None) -> Mix:
    """The mix in "name=weight,name=weight"; a name alone has weight 1.

    known: the categories there are; None if that cannot be told. Raises RecipeError for a name that is not among them
    (with those near it), a name given twice, a weight that is not a number above 0, and a text without names.
    """
    weights: dict[str, float] = {}
    for item in text.split(","):
        name, sign, number = (part.strip() for part in item.partition("="))
        if not name:
            raise RecipeError(f"the mix {text!r} has an item without a name: write it as name=weight,name=weight")
        if name in weights:
            raise RecipeError(f"the mix {text!r} names {name!r} twice: give it once, with the sum")
        weights[name] = _weight(number, of=name) if sign else 1.0
    if known is not None:
        for name in weights:
            _find(name, sorted(known))
    total = math.fsum(weights.values())
    return Mix(tuple((name, weight / total) for name, weight in weights.items()))


def draw(mix: Mix, *, num_pairs: int, seed: int, place: tuple[int, int]) -> tuple[str, ...]:
    """The categories to ask for at a passage, one name a pair, in the order to ask for them.

    place: shard, and the passage's number in it. The same arguments give the same names, on every machine.
    Raises RecipeError if num_pairs < 1.
    """
    if num_pairs < 1:
        raise RecipeError(f"{num_pairs} pairs a passage: give at least 1")
    shard, number = place
    block, step = divmod(number, BLOCK_PASSAGES)
    stream = rng(seed, "categories", shard, block)
    shares = list(mix.shares)
    stream.shuffle(shares)
    ends = list(accumulate(share for _, share in shares))
    offset = (step * _STRIDE % BLOCK_PASSAGES + stream.random()) / BLOCK_PASSAGES
    names = [
        shares[min(bisect_right(ends, (pair + offset) / num_pairs), len(shares) - 1)][0] for pair in range(num_pairs)
    ]
    rng(seed, "order of categories", shard, number).shuffle(names)
    return tuple(names)


def _weight(number: str, *, of: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise RecipeError(f"the weight of {of!r} is {number!r}: give a number above 0, as in {of}=2")
    return weight


def _find(name: str, known: list[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        choice = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(known)}"
        raise RecipeError(f"no category is called {name!r}: {choice}")
