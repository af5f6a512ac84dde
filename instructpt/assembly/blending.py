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

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.records import Kind, Text


@dataclass(frozen=True, kw_only=True)
class OfKind(Stage[Text]):
    """The texts of one kind, so that a mixture can say how many tokens are of it."""

    texts: Stage[Text]
    kind: Kind

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """The texts of the kind; the others are counted as of another one."""
        for text in run.take(self.texts, index):
            if text.kind == self.kind:
                yield text
            else:
                run.tally.drop("other_kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendPart:
    """Texts that take part in a blend."""

    texts: Stage[Text]
    copies: int = 1

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise RecipeError(f"{self.texts.name} has {self.copies} copies: give at least 1, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Blend(Stage[Text]):
    """The texts of all parts, one part after the other; where they go in a run is the order's business."""

    parts: tuple[BlendPart, ...]

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
