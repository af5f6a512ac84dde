"""Which task sets a synthesizer is tuned on: chosen by name, by part, apart from what is scored, and by licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from instructpt.collection.catalog import SHIPPABLE, Catalog


@dataclass(frozen=True, slots=True)
class Choice:
    """Settings of what is taken. A set that no catalog knows is taken as one to train on, of unknown licence."""

    sets: tuple[str, ...] = ()
    """Names of sets, categories or groups; none: all."""
    part: Literal["seen", "unseen", "all"] = "seen"
    benchmarks: bool = False
    """Whether parts of scored benchmarks are taken."""
    redistributable: bool = False
    """Only sets whose licence lets weights trained on them be passed on."""
    suits: Literal["", "writer", "reader"] = ""
    """Only sets that the catalog says suit it; sets that it does not know are taken."""

    def reasons(self, catalog: Catalog) -> dict[str, str]:
        """Why each set of the catalog that is left out is: not_chosen, other_part, benchmark_set, not_suited,
        not_redistributable.

        Raises RecipeError for a name in `sets` that the catalog does not know.
        """
        chosen = catalog.named(self.sets).entries
        reasons = {}
        for name, entry in catalog.entries.items():
            if name not in chosen:
                reasons[name] = "not_chosen"
            elif self.part not in ("all", entry.part):
                reasons[name] = "other_part"
            elif entry.benchmark and not self.benchmarks:
                reasons[name] = "benchmark_set"
            elif self.suits and self.suits not in entry.suits:
                reasons[name] = "not_suited"
            elif self.redistributable and entry.redistribution not in SHIPPABLE:
                reasons[name] = "not_redistributable"
        return reasons

    def unknown_set(self) -> str | None:
        """Why rows of a set that the catalog does not know are left out; None if they are taken."""
        if self.sets:
            return "not_chosen"
        if self.part == "unseen":
            return "other_part"
        return "not_redistributable" if self.redistributable else None
