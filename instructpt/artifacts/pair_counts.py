"""How a group's pairs and rejects are counted in a stage's tally."""

from __future__ import annotations

from instructpt.artifacts.tally import Tally
from instructpt.records import Group


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
