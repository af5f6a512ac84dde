"""What step n trains on. A batch depends on the mixture and the step alone, so that the resume state is one integer.

Rows of the run, 8 a batch, as 2 ranks see them; with 1, 4 or 8 ranks the global batch is the same:

    step 0              step 1                step 2
    0 1 2 3   4 5 6 7   8 9 10 11   12 ...    16 17 ...
    rank 0    rank 1    rank 0      rank 1    rank 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from instructpt.assembly.mixture import Mixture
from instructpt.assembly.rows import Rows
from instructpt.errors import RecipeError
from instructpt.records import Batch


@dataclass(frozen=True, slots=True)
class Order:
    """The batches of a run. Raises RecipeError if the run's rows are no whole number of batches."""

    mixture: Mixture
    sources: Mapping[str, Rows]
    batch_rows: int
    """Rows of one optimizer step, all ranks together."""

    def __post_init__(self) -> None:
        if self.batch_rows < 1 or self.mixture.num_rows % self.batch_rows:
            raise RecipeError(
                f"{self.mixture.num_rows} rows are no whole number of batches of {self.batch_rows}: "
                "make the budget a multiple of the batch"
            )

    @property
    def num_steps(self) -> int:
        """Steps in the whole run."""
        return self.mixture.num_rows // self.batch_rows

    def rows(self, step: int, *, rank: int = 0, world_size: int = 1) -> list[tuple[str, int]]:
        """Source and row number of each row of a step; of a rank's slice of it.

        step: steps done before it, 0 for the first. Raises RecipeError if the ranks cannot share a batch evenly.
        """
        if self.batch_rows % world_size:
            raise RecipeError(
                f"{world_size} ranks cannot share a batch of {self.batch_rows} rows: make it a multiple of the ranks"
            )
        share = self.batch_rows // world_size
        first = step * self.batch_rows + rank * share
        return [self.mixture.row(index) for index in range(first, first + share)]

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch:
        """The tokens of `rows`, in the same order."""
        wanted = self.rows(step, rank=rank, world_size=world_size)
        parts: list[Batch] = []
        places: list[int] = []
        for name, source in self.sources.items():
            here = [place for place, (owner, _) in enumerate(wanted) if owner == name]
            if here:
                parts.append(source.batch([wanted[place][1] for place in here]))
                places += here
        back = np.argsort(places)
        return Batch(*(np.concatenate([getattr(part, f.name) for part in parts])[back] for f in fields(Batch)))

    def documents(self, step: int, *, rank: int = 0, world_size: int = 1) -> list[str]:
        """The texts that a step reads a piece of, by id and place ("id (web/00003, text 17)"), to find a bad one."""
        wanted = self.rows(step, rank=rank, world_size=world_size)
        origins = [(name, origin) for name, row in wanted for origin in self.sources[name].documents_in([row])]
        return [f"{origin.id} ({name}/{origin.shard}, text {origin.document})" for name, origin in origins]
