"""Instructions with their responses to groups: what a model is instruction-tuned on, and the general instructions that
are mixed into a domain's corpus (paper, section 5).

    {"dataset": "mine", "context": "", "question": "Name three rivers.", "answer": "Rhine, Loire, Ebro."}    one group
    {"dataset": "mine", "context": "The Rhine ...", "question": "How long is it?", "answer": "1,233 km"}     one group

The neutral layout of task data (docs/formats.md), but a row needs no context; `Convert` is for annotated
sets, whose rows are gathered by context and balanced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt import files
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Reject, Shot


@dataclass(frozen=True, kw_only=True)
class Instructions(Stage[Group]):
    """Rows of question and answer, each a group of its own, with or without a context."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "rows"
    makes: ClassVar[str] = "groups"

    files: tuple[str, ...]
    """JSON lines in the neutral layout: files, folders or globs."""
    limit: int | None = None
    """Only so many rows a file."""
    seed: int = 0
    """Draws the wording of rows that have none."""

    def __post_init__(self) -> None:
        """Raises RecipeError without a file."""
        if not self.files:
            raise RecipeError(f"{self.name} has no instructions: give files in the neutral layout (docs/formats.md)")

    def sources(self, run: Run) -> Mapping[str, str]:
        """Files and catalog by content: the catalog words what a set asks of all its rows alike."""
        del run
        from instructpt.collection.catalog import locate

        found = {file.url: files.content_digest(file) for file in _found(self.files)}
        for path in locate():
            found[f"catalog/{path.name}"] = files.content_digest(files.find(str(path))[0])
        return found

    def num_shards(self, run: Run) -> int:
        """One a file."""
        del run
        return len(_found(self.files))

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The rows of a file, in order; those that are no instruction are counted by reason."""
        from instructpt.collection.catalog import load
        from instructpt.collection.neutral import read_records, reject
        from instructpt.collection.pairs import pair_of

        catalog, file = load(), _found(self.files)[index]
        for row, record in enumerate(read_records(file.url)):
            if row == self.limit:
                return
            run.tally.take()
            pair: Any = record
            if not isinstance(record, Reject):
                pair = pair_of(record, catalog=catalog, seed=self.seed, unanswerable_share=0.0)
                pair = reject(record, pair) if isinstance(pair, str) else pair
            if isinstance(pair, Reject):
                run.tally.drop(pair.reason, pair.text)
                continue
            assert not isinstance(record, Reject)
            run.tally.keep()
            document = Document(record.id or str(row), record.context.strip(), record.dataset)
            yield count_pairs(Group(f"{index:05d}-{row:08d}:{record.id}", (Shot(document, (pair,)),)), run.tally)


def _found(urls: Iterable[str]) -> list[files.File]:
    return [file for url in urls for file in files.find(url)]
