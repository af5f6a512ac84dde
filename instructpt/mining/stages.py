"""Passages to groups without a model: rules mine the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.records import Document, Group


@dataclass(frozen=True, kw_only=True)
class Mine(Stage[Group]):
    """Pairs for every passage by rules, without a model: the paper's baseline (its table 4)."""

    version: ClassVar[int] = 2
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

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
            yield count_pairs(Group(f"{index:05d}-{number:08d}:{chain[0].id}", shots), run.tally)
