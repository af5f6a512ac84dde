"""Counts: what went into a shard, what came out, what was left out and why. A shard's tally must add up.

What a run tells while it works goes through `Progress`; the room `progress` shows it to people and machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from instructpt.records import Group

SAMPLES_PER_REASON = 3
SAMPLE_CHARACTERS = 300
NOT_READ = "not_read/"
"""Begins the counts of files that lie beside the data, by kind."""


@dataclass(slots=True)
class Tally:
    """The counts of one shard, or the sum of those of an artifact."""

    taken: int = 0
    """Units that went in: rows for Read, documents for Filter, passages for Synthesize..."""
    kept: int = 0
    """Units of what went in that are in what came out: `taken == kept + sum(dropped.values())`."""
    made: int = 0
    """Units that came out, in the unit the next stage takes."""
    records: int = 0
    """Records that came out."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Units left out, by reason."""
    counts: dict[str, int] = field(default_factory=dict)
    """Whatever else is worth knowing: "pairs", "rejects/no_end_tag", "mode/classic", "tokens"..."""
    samples: dict[str, list[str]] = field(default_factory=dict)
    """A few of the things left out, by reason, cut short."""

    def take(self, num_units: int = 1) -> None:
        """Count units that went in."""
        self.taken += num_units

    def keep(self, num_units: int = 1) -> None:
        """Count units of what went in that came out, whatever they came out as."""
        self.kept += num_units

    def drop(self, reason: str, sample: str = "") -> None:
        """Count one unit that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self.show(reason, sample)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a named count."""
        self.counts[name] = self.counts.get(name, 0) + number

    def show(self, reason: str, sample: str) -> None:
        """Keep a sample of what `reason` left out, if there are few yet."""
        if sample and len(samples := self.samples.setdefault(reason, [])) < SAMPLES_PER_REASON:
            samples.append(sample[:SAMPLE_CHARACTERS])

    def adds_up(self) -> bool:
        """Whether everything that went in came out or was counted under a reason."""
        return self.taken == self.kept + sum(self.dropped.values())

    def add(self, other: Tally) -> None:
        """Add another shard's counts to these."""
        for name in ("taken", "kept", "made", "records"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.dropped, other.dropped), (self.counts, other.counts)):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number
        for reason, samples in other.samples.items():
            for sample in samples:
                self.show(reason, sample)

    def to_row(self) -> dict[str, Any]:
        """As JSON, names in order, so that equal tallies have equal bytes."""
        return asdict(self)

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Tally:
        """The tally that `to_row` made `row` from."""
        return Tally(**row)


def count_left_out(before: Group, after: Group, tally: Tally) -> None:
    """Count the pairs that a check saw, and those that it left out by reason: the rejects that came to be."""
    for old, new in zip(before.shots, after.shots, strict=True):
        tally.count("checked", len(old.pairs))
        for reject in new.rejects[len(old.rejects) :]:
            tally.count(f"left_out/{reject.reason}")
            tally.show(f"left_out/{reject.reason}", reject.text)


def count_pairs(group: Group, tally: Tally) -> Group:
    """Count a group's pairs by kind, its writings by form, and its rejects by reason; the group itself."""
    for shot in group.shots:
        tally.count("pairs", len(shot.pairs))
        tally.count("passages_with_pairs", bool(shot.pairs))
        tally.count(f"pairs_per_passage/{len(shot.pairs)}")
        for pair in shot.pairs:
            answer = "choice" if pair.options else "free"
            tally.count(f"format/{answer}{'' if pair.rationale is None else ' + rationale'}")
            if pair.category:
                tally.count(f"category/{pair.category}")
        for writing in shot.writings:
            tally.count("writings")
            tally.count(f"writings/{writing.form}")
        if shot.writings and not shot.pairs:
            tally.count("passages_with_writings_alone")
        for reject in shot.rejects:
            tally.count(f"rejects/{reject.reason}")
            tally.show(f"rejects/{reject.reason}", reject.text or shot.document.text)
    return group


class Progress:
    """Told by the artifact layer and by long stages how things go. Any method may be called from any thread.

    This one keeps it to itself.
    """

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before; nothing is done."""

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins, some of its shards being there already."""

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How the open shards of a stage stand, all together: passages, tokens, loss..."""

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""
