"""Passages to groups without a model: rules mine pairs, checks take pairs out; and how a group's pairs are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.records import Document, Group
from instructpt.tally import Tally

DEFAULT_CHECKS = ("empty", "too_long", "answer_not_in_options", "duplicate_question", "repetition", "copied_context")
MODEL_CHECKS = (*DEFAULT_CHECKS, "leaked_markup")
"""Of pairs that a model wrote."""


@dataclass(frozen=True, kw_only=True)
class Mine(Stage[Group]):
    """Pairs for every passage by rules, without a model: the paper's baseline (its table 4)."""

    record: ClassVar[Any] = Group
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
        from instructpt.synthesis.chains import chains
        from instructpt.synthesis.rules import mine

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


@dataclass(frozen=True, kw_only=True)
class Verify(Stage[Group]):
    """Groups without the pairs that fail a check; no passage is lost."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    groups: Stage[Group]
    checks: tuple[str, ...] = DEFAULT_CHECKS

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, failing pairs turned into rejects."""
        from instructpt.synthesis.checks import apply_checks

        for group in run.take(self.groups, index):
            shots = tuple(apply_checks(shot, self.checks) for shot in group.shots)
            yield count_pairs(Group(group.id, shots), run.tally)


def count_pairs(group: Group, tally: Tally) -> Group:
    """Count a group's pairs by kind and its rejects by reason; the group itself."""
    for shot in group.shots:
        tally.count("pairs", len(shot.pairs))
        tally.count("passages_with_pairs", bool(shot.pairs))
        tally.count(f"pairs_per_passage/{len(shot.pairs)}")
        for pair in shot.pairs:
            answer = "choice" if pair.options else "free"
            tally.count(f"format/{answer}{'' if pair.rationale is None else ' + rationale'}")
            if pair.category:
                tally.count(f"category/{pair.category}")
        for reject in shot.rejects:
            tally.count(f"rejects/{reject.reason}")
            tally.show(f"rejects/{reject.reason}", reject.text)
    return group
