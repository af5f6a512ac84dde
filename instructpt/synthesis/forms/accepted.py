"""Texts of one form about one passage: whether a further one says something in other words."""

from __future__ import annotations

from dataclasses import dataclass, field

from instructpt.words import overlap

MAX_SHARED = 0.6
"""Of the runs of three words that two texts of one form have, those that both have: beyond it they say the same in the
same words."""
RUN_WORDS = 3


@dataclass(slots=True)
class AcceptedTexts:
    """The texts that are kept, by their runs of words."""

    runs: list[frozenset[str]] = field(default_factory=list)

    def add(self, text: str) -> list[float] | None:
        """Keep a text: how much it shares with each one before it, 0 to 1; None for a near duplicate, not kept."""
        runs = frozenset(overlap.grams(text, RUN_WORDS))
        shared = [len(runs & known) / max(1, len(runs | known)) for known in self.runs]
        if max(shared, default=0.0) > MAX_SHARED:
            return None
        self.runs.append(runs)
        return shared
