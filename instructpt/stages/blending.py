"""Parts of a corpus, and several sources of texts as one: what an arm of an experiment is made of.

    documents -> Portion (0 to 0.2) --> Split -> Synthesize -> Template --.
              -> Portion (0.2 to 1) --------------------------> Template --+-> Blend -> Pack -> rows
    task data -> Convert -------------------------------------> Template --'   tasks 4 times

In a blend every text counts as often as it has copies: shares of tokens are then those of the texts themselves,
whatever the pairs add, and one budget runs through all of it evenly. Where shares are to be set, pack the sources apart
and give `Train` a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.records import Document, Text
from instructpt.seeds import digest


@dataclass(frozen=True, kw_only=True)
class Portion(Stage[Document]):
    """The documents whose drawn place, from 0 to 1, lies between two bounds.

    Portions of the same draw that meet divide the documents among them; a larger portion from 0 holds a smaller one.
    """

    record: ClassVar[Any] = Document

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Texts that take part in a blend."""

    texts: Stage[Text]
    copies: int = 1

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(f"{self.texts.name} has {self.copies} copies: give at least 1, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Blend(Stage[Text]):
    """The texts of all parts, one part after the other; where they go in a run is the order's business."""

    record: ClassVar[Any] = Text
    takes: ClassVar[str] = "texts"
    makes: ClassVar[str] = "texts"

    parts: tuple[Part, ...]

    def num_shards(self, run: Run) -> int:
        """The shards of every part, as often as it has copies."""
        return len(self._shards(run))

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """The texts of one shard of one part."""
        texts, place = self._shards(run)[index]
        for text in run.take(texts, place):
            run.tally.count(f"characters/{texts.name}", len(text.text))
            yield text

    def _shards(self, run: Run) -> list[tuple[Stage[Text], int]]:
        return [
            (part.texts, place)
            for part in self.parts
            for _ in range(part.copies)
            for place in range(run.num_shards(part.texts))
        ]
