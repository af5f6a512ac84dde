"""Passages to groups without a model: rules mine pairs, checks take pairs out; and how a group's pairs are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_left_out, count_pairs
from instructpt.engines.models import Model, prompting_of
from instructpt.records import Group
from instructpt.seeds import digest
from instructpt.verification.checks import DEFAULT_CHECKS
from instructpt.words.evidence import count_covered


@dataclass(frozen=True, kw_only=True)
class Verify(Stage[Group]):
    """Groups without the pairs that fail a check; no passage is lost.

    Counted are the pairs that were looked at ("checked"), how many failed each check ("failed/NAME", also where an
    earlier one had failed before), and how many were left out for each reason ("left_out/REASON").
    """

    version: ClassVar[int] = 3
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    groups: Stage[Group]
    checks: tuple[str, ...] = DEFAULT_CHECKS
    synthesizer: Model | None = field(default=None, metadata={"later": True})
    """Who wrote the pairs: its `synthesizer.json` says in which categories answers are spans. None: short ones count
    as such."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """What a synthesizer that no stage makes says of its categories."""
        if not isinstance(self.synthesizer, str):
            return {}
        return {"synthesizer/categories": digest(sorted(self._answers(run).items())).hex()[:32]}

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, failing pairs turned into rejects; near duplicates are looked for in the whole shard."""
        from instructpt.verification.checks import Seen, apply_checks

        answers, seen, failed = self._answers(run), Seen(), Counter[str]()
        for group in run.take(self.groups, index):
            shots = tuple(
                apply_checks(shot, self.checks, answers=answers, seen=seen, failed=failed) for shot in group.shots
            )
            checked = Group(group.id, shots)
            count_left_out(group, checked, run.tally)
            count_covered(checked, run.tally)
            yield count_pairs(checked, run.tally)
        for name, number in failed.items():
            run.tally.count(f"failed/{name}", number)

    def _answers(self, run: Run) -> dict[str, str]:
        return prompting_of(self.synthesizer, run).answers if self.synthesizer is not None else {}
