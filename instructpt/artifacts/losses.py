"""What a stage left out, and why: told at the end of every run, and the end of a run that has nothing left.

filtered: 8 of 9 documents kept (too_short 1)            units that are not in what came out
groups: 7 of 8 passages have pairs (passage_too_long 1)  passages that came out as they went in
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from instructpt.artifacts.stage import Stage, inputs
from instructpt.artifacts.tally import Tally
from instructpt.records import Group

LARGE_SHARE = 0.2
"""Of what went into a stage: a run that lost more says so in a warning."""
_NUM_TOLD = 3
_NUM_REASONS = 3
_SAMPLE_CHARACTERS = 80
_BY_DESIGN = ("other_kind", "other_portion", "not_drawn", "answered", "known", "not_asked")
"""Reasons that are no loss: what another stage takes."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How much of what went into a stage is left, and what became of the rest."""

    stage: str
    kept: int
    total: int
    what: str
    """"documents kept", "passages have pairs"."""
    reasons: Mapping[str, int]
    samples: Mapping[str, str] = field(default_factory=dict)
    """Of what each reason left out, one."""

    @property
    def share(self) -> float:
        """Lost of all."""
        return 1 - self.kept / self.total if self.total else 1.0

    def words(self, *, with_samples: bool = False) -> str:
        """A few words, the largest reasons first."""
        first = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{reason} {count:,}" for reason, count in (first if with_samples else first[:_NUM_REASONS])]
        if with_samples:
            shown = [self.samples.get(reason, "") for reason, _ in first]
            parts = [f"{part} (such as {text!r})" if text else part for part, text in zip(parts, shown, strict=True)]
        why = f" ({', '.join(parts)})" if not with_samples else f": {', '.join(parts)}"
        return f"{self.stage}: {self.kept:,} of {self.total:,} {self.what}{why if parts else ''}"


def losses(stage: Stage[Any], tally: Tally) -> list[Loss]:
    """What a finished stage left out."""
    found = []
    dropped = {reason: count for reason, count in tally.dropped.items() if reason not in _BY_DESIGN}
    if dropped:
        total = tally.kept + sum(dropped.values())
        found.append(Loss(stage.name, tally.kept, total, f"{stage.takes} kept", dropped, _samples(tally, "")))
    if total := tally.counts.get("queries", 0):
        reasons = _counted(tally, "unanswered/")
        found.append(Loss(stage.name, tally.counts.get("queries_answered", 0), total, "queries answered", reasons))
    num_with = tally.counts.get("passages_with_pairs")
    num_alone = tally.counts.get("passages_with_writings_alone", 0)
    if stage.record is Group and num_with is not None and (num_with := num_with + num_alone) < tally.made:
        rejects, shown = _counted(tally, "rejects/"), _samples(tally, "rejects/")
        what = "passages have pairs or writings" if "writings" in tally.counts else "passages have pairs"
        found.append(Loss(stage.name, num_with, tally.made, what, rejects, shown))
    return found


def nothing_left(stage: Stage[Any], tally: Tally) -> Loss | None:
    """Why a finished stage has nothing that the stages after it could use; None if it has."""
    if stage.may_leave_nothing:
        return None
    if stage.product == "records" and not inputs(stage) and not tally.taken and not tally.made:
        return Loss(stage.name, 0, 0, f"{stage.takes} kept", {})
    return next((loss for loss in losses(stage, tally) if not loss.kept), None)


def last_words(found: Iterable[Loss]) -> tuple[str, str | None]:
    """The line that ends a run, and the warning below it, if more than `LARGE_SHARE` was lost anywhere."""
    every = list(found)
    if not every:
        return "Kept: all that was read", None
    largest = sorted(every, key=lambda loss: -loss.share)[:_NUM_TOLD]
    line = f"Kept: {'; '.join(loss.words() for loss in every if loss in largest)}"
    large = [f"{loss.share:.0%} in {loss.stage}" for loss in largest if loss.share > LARGE_SHARE]
    if not large:
        return line, None
    return line, f"warning: more than {LARGE_SHARE:.0%} was left out ({', '.join(large)}): see the reasons above"


def _counted(tally: Tally, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in tally.counts.items() if name.startswith(prefix)}


def _samples(tally: Tally, prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): " ".join(texts[0].split())[:_SAMPLE_CHARACTERS]
        for name, texts in tally.samples.items()
        if name.startswith(prefix) and texts
    }
