"""Rules find pairs without a model: for passages that have none, or beside those that a model wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Shot
from instructpt.words.evidence import count_covered


@dataclass(frozen=True, kw_only=True)
class Mine(Stage[Group]):
    """Pairs for every passage by rules, without a model: the paper's baseline (its table 4)."""

    version: ClassVar[int] = 3

    passages: Stage[Document]
    shots: int = 2
    max_pairs: int = 8
    """A passage."""
    max_per_kind: int = 2
    """A passage."""
    kinds: tuple[str, ...] = ()
    """Names of rules; none: all."""
    options: bool = True
    """Whether questions may list options that came out of the passage."""
    seed: int = 0

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain, chained as `Synthesize` does."""
        from instructpt.mining import mine
        from instructpt.synthesis.chains import chains

        for number, chain in enumerate(chains(run.take(self.passages, index), shots=self.shots)):
            shots = tuple(
                mine(
                    document,
                    seed=self.seed,
                    max_pairs=self.max_pairs,
                    max_per_kind=self.max_per_kind,
                    kinds=self.kinds or None,
                    options=self.options,
                )
                for document in chain
            )
            group = Group(f"{index:05d}-{number:08d}:{chain[0].id}", shots)
            count_covered(group, run.tally)
            yield count_pairs(group, run.tally)


@dataclass(frozen=True, kw_only=True)
class Fill(Stage[Group]):
    """Groups with pairs of rules added to passages that have fewer than are wanted, for sentences that none needs yet.

    Counted are pairs that rules added ("pairs_mined"), passages that still hold fewer than are wanted
    ("passages_short") and how many pairs they lack ("pairs_missing").
    """

    groups: Stage[Group]
    pairs: int
    """A passage, those that are there included."""
    max_per_kind: int = 2
    """A passage."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise RecipeError(f"{self.name}: {self.pairs} pairs a passage: give at least 1")

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, with more pairs behind those that are there."""
        for group in run.take(self.groups, index):
            filled = replace(group, shots=tuple(map(self._filled, group.shots)))
            added = sum(len(new.pairs) - len(old.pairs) for new, old in zip(filled.shots, group.shots, strict=True))
            missing = [lack for shot in filled.shots if (lack := self.pairs - len(shot.pairs)) > 0]
            run.tally.count("pairs_mined", added)
            run.tally.count("passages_short", len(missing))
            run.tally.count("pairs_missing", sum(missing))
            count_covered(filled, run.tally)
            yield count_pairs(filled, run.tally)

    def _filled(self, shot: Shot) -> Shot:
        from instructpt.mining import mine

        lacking = max(0, self.pairs - len(shot.pairs))
        mined = mine(
            shot.document,
            seed=self.seed,
            max_pairs=lacking,
            max_per_kind=self.max_per_kind,
            beside=shot.pairs,
        )
        return replace(shot, pairs=(*shot.pairs, *mined.pairs))
