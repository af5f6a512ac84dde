"""What the checks find and what they break, on a labelled sample.

annotated sets --Convert--> groups --Spoil--> labelled sample --(Consistency, Judged)--.
                                                   |                                   v
                                                   '--------- each check -----> CheckQuality --> scores
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.records import Group, Score, Shot
from instructpt.verification.checks import VERIFY_CHECKS

if TYPE_CHECKING:
    from instructpt.verification.check_quality import Rate

ALL = "all checks"
"""The row of pairs that any of the checks rejects, models not among them."""


@dataclass(frozen=True, kw_only=True)
class Spoil(Stage[Group]):
    """A sample of annotated pairs, half of them spoilt in named ways: a group a passage, its labels in the meta."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "contexts"
    makes: ClassVar[str] = "passages"

    annotated: Stage[Group]
    num_pairs: int = 300
    seed: int = 0

    def num_shards(self, run: Run) -> int:
        """One: the sample is drawn from all."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The sample, in drawn order."""
        del index
        from instructpt.verification.check_quality import LABELS, labelled

        shots = [s for i in range(run.num_shards(self.annotated)) for g in run.take(self.annotated, i) for s in g.shots]
        sample = labelled(shots, num_pairs=self.num_pairs, seed=self.seed)
        run.tally.keep(len(sample))
        for _ in range(len(shots) - len(sample)):
            run.tally.drop("not_drawn")
        for number, shot in enumerate(sample):
            for label in shot.document.meta[LABELS]:
                run.tally.count(f"label/{label or 'as annotated'}")
            yield count_pairs(Group(f"{number:05d}:{shot.document.id}", (shot,)), run.tally)


@dataclass(frozen=True, kw_only=True)
class CheckQuality(Stage[Score]):
    """Precision and recall of each check on a labelled sample, and how many good pairs it rejects: a task a check.

    Each is tried by itself, whatever the others reject. `evaluation.check_quality.rates` says what the metrics are.
    """

    record: ClassVar[Any] = Score
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "scores"
    is_summary = True

    sample: Spoil
    checks: tuple[str, ...] = VERIFY_CHECKS
    models: tuple[Stage[Group], ...] = ()
    """The sample as a model left it: `Consistency`, `Judged`; named after the stage."""

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of each check, of all together, and of each model."""
        from instructpt.verification.check_quality import is_rejected, rates
        from instructpt.verification.checks import Seen, apply_checks

        before = [group.shots[0] for group in run.take(self.sample, index)]
        run.tally.keep(len(before))

        def tried(checks: Sequence[str]) -> list[list[bool]]:
            seen = Seen()
            return [is_rejected(shot, apply_checks(shot, checks, seen=seen)) for shot in before]

        for name in self.checks:
            yield from _scores(name, rates(before, tried([name])))
        yield from _scores(ALL, rates(before, tried(self.checks)))
        for stage in self.models:
            after: list[Shot] = [group.shots[0] for group in run.records(stage, index)]
            rejected = [is_rejected(old, new) for old, new in zip(before, after, strict=True)]
            yield from _scores(stage.name, rates(before, rejected))


def _scores(check: str, found: dict[str, Rate]) -> Iterator[Score]:
    for metric, rate in found.items():
        yield Score(check, metric, rate.share, None, rate.count, "check")
