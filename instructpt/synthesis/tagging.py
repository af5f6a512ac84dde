"""Groups to the texts that a synthesizer is tuned on: markup, with loss on the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.records import Group, Text


@dataclass(frozen=True, kw_only=True)
class Tag(Stage[Text]):
    """Synthesizer markup, with loss on what the synthesizer is to write (paper, section 1)."""

    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "texts"

    groups: Stage[Group]
    dialect: str = "tags"
    min_pairs: int = 1
    """Passages with fewer are left out: a synthesizer writes as many pairs as it was shown (paper, section 1)."""
    loss: Literal["pairs", "answers"] = field(default="pairs", metadata={"later": True})
    """What is learnt: to write pairs, or to answer questions (`synthesis.reading`; the dialect is `tags` then)."""
    swapped_share: float = field(default=0.0, metadata={"later": True})
    """Of the questions, how many come from other passages and are answered by `reading.UNANSWERABLE`."""
    seed: int = field(default=0, metadata={"later": True})
    """Of the draw of these."""

    def __post_init__(self) -> None:
        if self.loss == "answers" and self.dialect != "tags":
            raise RecipeError(f"{self.name}: a reader is tuned in the dialect tags, not {self.dialect}: name that")
        if not 0 <= self.swapped_share <= 0.5 or (self.swapped_share and self.loss == "pairs"):
            raise RecipeError(
                f"{self.name}: swapped_share is {self.swapped_share:g} with loss on {self.loss}: give 0 to 0.5, and "
                "more than 0 only where answers are learnt"
            )

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """A text a group, of its passages that have enough pairs."""
        from instructpt.synthesis.dialects import keep_writable, open_dialect
        from instructpt.synthesis.reading import with_swapped, write_reading

        dialect = open_dialect(self.dialect)
        write = write_reading if self.loss == "answers" else dialect.write
        taken = run.take(self.groups, index)
        for group in with_swapped(taken, share=self.swapped_share, seed=self.seed) if self.swapped_share else taken:
            kept = []
            for shot in keep_writable(group, dialect=dialect).shots:
                for reject in shot.rejects:
                    run.tally.count(f"rejects/{reject.reason}")
                if len(shot.pairs) >= max(1, self.min_pairs):
                    kept.append(dialect.arrange(shot))
                    run.tally.keep()
                else:
                    run.tally.drop("too_few_pairs" if shot.pairs else "no_pairs", shot.document.text)
            text = write(Group(group.id, tuple(kept)))
            if text.text:
                yield text
