"""Passages to groups without a model: rules mine pairs, checks take pairs out; and how a group's pairs are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.records import Document, Group
from instructpt.seeds import digest
from instructpt.stages.models import Model, speaks
from instructpt.tally import Tally

DEFAULT_CHECKS = ("empty", "too_long", "answer_not_in_options", "duplicate_question", "repetition", "copied_context")
MODEL_CHECKS = (
    *DEFAULT_CHECKS,
    "leaked_markup",
    "repeated_question",
    "unsafe_markup",
    "wrong_gap",
    "words_not_used",
    "wrong_verdict",
)
"""Of pairs that a model wrote: what leaves out next to nothing that people wrote (6 of 70,082)."""
VERIFY_CHECKS = (
    *MODEL_CHECKS,
    "language_mismatch",
    "grounded",
    "unsupported_number",
    "unsupported_name",
    "near_duplicate",
)
"""All there are: of pairs that are to be trusted."""


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
    """Groups without the pairs that fail a check; no passage is lost.

    Counted are the pairs that were looked at ("checked"), how many failed each check ("failed/NAME", also where an
    earlier one had failed before), and how many were left out for each reason ("left_out/REASON").
    """

    record: ClassVar[Any] = Group
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
        from instructpt.synthesis.checks import Seen, apply_checks

        answers, seen, failed = self._answers(run), Seen(), Counter[str]()
        for group in run.take(self.groups, index):
            shots = tuple(
                apply_checks(shot, self.checks, answers=answers, seen=seen, failed=failed) for shot in group.shots
            )
            checked = Group(group.id, shots)
            count_left_out(group, checked, run.tally)
            yield count_pairs(checked, run.tally)
        for name, number in failed.items():
            run.tally.count(f"failed/{name}", number)

    def _answers(self, run: Run) -> dict[str, str]:
        speech = speaks(self.synthesizer, run) if self.synthesizer is not None else None
        return speech.answers if speech else {}


def count_left_out(before: Group, after: Group, tally: Tally) -> None:
    """Count the pairs that a check saw, and those that it left out by reason: the rejects that came to be."""
    for old, new in zip(before.shots, after.shots, strict=True):
        tally.count("checked", len(old.pairs))
        for reject in new.rejects[len(old.rejects) :]:
            tally.count(f"left_out/{reject.reason}")
            tally.show(f"left_out/{reject.reason}", reject.text)


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
