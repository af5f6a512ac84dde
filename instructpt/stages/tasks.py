"""Annotated task data to groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.corpus import files
from instructpt.records import Group, Reject, Shot
from instructpt.stages.pairs import count_pairs


@dataclass(frozen=True, kw_only=True)
class Convert(Stage[Group]):
    """Annotated task data in the neutral layout (docs/formats.md) as groups of several contexts of one data set."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "task records"
    makes: ClassVar[str] = "passages"

    files: tuple[str, ...]
    catalog: str = "sample"
    """A catalog of data sets that ships, or the path of one (docs/adding.md)."""
    shots: int = 2
    budget_characters: int = 6000
    """Context and pairs of a shot; contexts longer than this are dropped with a reason, pairs beyond it too."""
    max_contexts: int = 10_000
    """A data set, those with the most pairs: the paper's number (section 1)."""
    unanswerable_share: float = 0.0
    seed: int = 0

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files and the catalog by content."""
        del run
        from instructpt.collection.catalog import locate

        found = [file for url in self.files for file in files.find(url)]
        catalog = files.find(str(locate(self.catalog)))[0]
        return {file.url: files.content_digest(file) for file in found} | {"catalog": files.content_digest(catalog)}

    def num_shards(self, run: Run) -> int:
        """One: records of one context are gathered across files."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """Groups in drawn order."""
        del index
        from instructpt.collection import neutral
        from instructpt.collection.catalog import load

        def records() -> Iterator[neutral.TaskRecord | Reject]:
            for file in (file for url in self.files for file in files.find(url)):
                for record in neutral.read_records(file.url):
                    run.tally.take()
                    yield record

        def shots() -> Iterator[Shot]:
            found = neutral.convert(
                records(),
                catalog=load(self.catalog),
                seed=self.seed,
                budget=self.budget_characters,
                unanswerable_share=self.unanswerable_share,
                max_contexts=self.max_contexts,
            )
            for item in found:
                rejects = (item,) if isinstance(item, Reject) else item.rejects
                for reject in rejects:
                    run.tally.drop(reject.reason, reject.text)
                if isinstance(item, Shot):
                    run.tally.keep(len(item.pairs))
                    yield item

        for group in neutral.group_shots(shots(), num_shots=self.shots, seed=self.seed):
            yield count_pairs(group, run.tally)
