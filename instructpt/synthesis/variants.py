"""Several sets of pairs about the same passages, each beside its passage in a group of its own.

    passage p      set 1: a b c      set 2: a' d e      set 3: d' f        ': in nearly the same words
    groups         p with a b c      p with d e         p with f

What is said once is hardly remembered; said in other words each time, it is (arXiv 2309.14316).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.records import Group, Pair, Reject, Shot
from instructpt.words import overlap

TEMPERATURE = 0.8
"""Of all sets but the first, as of variants in forms."""
NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True, kw_only=True)
class Variants(Stage[Group]):
    """The groups of several sets, without pairs that an earlier set has of the same passage in nearly the same words.

    A passage is there once a set, so that all passages count alike, even where a set says nothing new about it.
    """

    sets: tuple[Stage[Group], ...]
    """Of the same passages in the same chains."""

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """Chain by chain, the sets one after the other. A pair that is left out becomes a reject."""
        for chain in zip(*(run.take(stage, index) for stage in self.sets), strict=True):
            said: list[list[frozenset[str]]] = [[] for _ in chain[0].shots]
            for number, group in enumerate(chain):
                shots = tuple(new_pairs(shot, known) for shot, known in zip(group.shots, said, strict=True))
                name = f"{group.id}.{number}" if number else group.id  # each has a style of its own
                yield count_pairs(replace(group, id=name, shots=shots), run.tally)


def new_pairs(shot: Shot, said: list[frozenset[str]]) -> Shot:
    """A shot without what is said already; what it says itself is added to that, once it is through."""
    runs = [_runs(pair) for pair in shot.pairs]
    is_new = [not any(_is_near(own, other) for other in said) for own in runs]
    said += [own for own, new in zip(runs, is_new, strict=True) if new]
    rejects = tuple(
        Reject(f"{pair.question}\n{pair.answer}", NEAR_DUPLICATE)
        for pair, new in zip(shot.pairs, is_new, strict=True)
        if not new
    )
    kept = tuple(pair for pair, new in zip(shot.pairs, is_new, strict=True) if new)
    return replace(shot, pairs=kept, rejects=(*shot.rejects, *rejects))


def _runs(pair: Pair) -> frozenset[str]:
    """A pair's runs of words; all of its words as one, where they are fewer."""
    from instructpt.synthesis.forms.accepted import RUN_WORDS

    text = f"{pair.question} {pair.answer}"
    return frozenset(overlap.grams(text, RUN_WORDS)) or frozenset({" ".join(overlap.words(text))})


def _is_near(one: frozenset[str], other: frozenset[str]) -> bool:
    """As variants in forms are near duplicates."""
    from instructpt.synthesis.forms.accepted import MAX_SHARED

    return len(one & other) > MAX_SHARED * len(one | other)
