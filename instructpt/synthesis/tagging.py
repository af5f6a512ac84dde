"""Groups to the texts that a synthesizer is tuned on: markup, with loss on the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.records import Group, Text


@dataclass(frozen=True, kw_only=True)
class Tag(Stage[Text]):
    """Synthesizer markup, with loss on what the synthesizer is to write (paper, section 1)."""

    record: ClassVar[Any] = Text
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "texts"

    groups: Stage[Group]
    dialect: str = "tags"
    min_pairs: int = 1
    """Passages with fewer are left out: a synthesizer writes as many pairs as it was shown (paper, section 1)."""

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """A text a group, of its passages that have enough pairs."""
        from instructpt.synthesis.dialects import keep_writable, open_dialect

        dialect = open_dialect(self.dialect)
        for group in run.take(self.groups, index):
            kept = []
            for shot in keep_writable(group, dialect=dialect).shots:
                for reject in shot.rejects:
                    run.tally.count(f"rejects/{reject.reason}")
                if len(shot.pairs) >= max(1, self.min_pairs):
                    kept.append(dialect.arrange(shot))
                    run.tally.keep()
                else:
                    run.tally.drop("too_few_pairs" if shot.pairs else "no_pairs", shot.document.text)
            text = dialect.write(Group(group.id, tuple(kept)))
            if text.text:
                yield text
