"""A drawn share of a corpus, the same one on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.records import Document
from instructpt.seeds import digest


@dataclass(frozen=True, kw_only=True)
class Portion(Stage[Document]):
    """The documents whose drawn place, from 0 to 1, lies between two bounds.

    Portions of the same draw that meet divide the documents among them; a larger portion from 0 holds a smaller one.
    """

    documents: Stage[Document]
    start: float = 0.0
    stop: float = 1.0
    """Not included."""
    draw: str
    """Names the draw: portions of different draws have nothing to do with each other."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises RecipeError for bounds that hold nothing."""
        if not 0 <= self.start < self.stop <= 1:
            raise RecipeError(f"{self.name} goes from {self.start:g} to {self.stop:g}: give 0 <= start < stop <= 1")

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """A shard's documents, in order. A document is known by shard and row, so equal ids do no harm."""
        for row, document in enumerate(run.take(self.documents, index)):
            place = int.from_bytes(digest(self.seed, "portion", self.draw, index, row)[:6], "little") / (1 << 48)
            if self.start <= place < self.stop:
                yield document
            else:
                run.tally.drop("other_portion")
