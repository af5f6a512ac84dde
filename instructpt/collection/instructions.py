"""Instructions with their responses to groups: what a model is instruction-tuned on, and the general instructions that
are mixed into a domain's corpus (paper, section 5).

    {"dataset": "mine", "context": "", "question": "Name three rivers.", "answer": "Rhine, Loire, Ebro."}    one group
    {"dataset": "mine", "context": "The Rhine ...", "question": "How long is it?", "answer": "1,233 km"}     one group

The neutral layout of task data (docs/formats.md), but a row needs no context, or one of the layouts that instruction
data usually come in (`layouts`); a conversation is one group, a pair a turn. `Convert` is for annotated sets, whose
rows are gathered by context and balanced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import orjson

from instructpt import files
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.collection.catalog import Catalog
from instructpt.collection.layouts import WANTED, neutral_rows
from instructpt.collection.neutral import TaskRecord, parse, reject
from instructpt.collection.task_pairs import pair_of
from instructpt.errors import InputError, RecipeError
from instructpt.files import File, streams
from instructpt.records import Document, Group, Pair, Reject, Shot


@dataclass(frozen=True, kw_only=True)
class Instructions(Stage[Group]):
    """Rows of question and answer, each a group of its own, with or without a context."""

    takes: ClassVar[str] = "rows"
    makes: ClassVar[str] = "groups"

    files: tuple[str, ...]
    """JSON lines in the neutral layout or another of `layouts`: files, folders or globs."""
    limit: int | None = None
    """Only so many rows a file."""
    seed: int = 0
    """Draws the wording of rows that have none."""

    def __post_init__(self) -> None:
        """Raises RecipeError without a file."""
        if not self.files:
            raise RecipeError(f"{self.name} has no instructions: give files in the neutral layout (docs/formats.md)")

    def check(self, run: Run) -> None:
        """Raises InputError for a file whose first row has no layout that is known."""
        for file in _found(self.files):
            row = next((row for _, row in _rows(file) if isinstance(row, dict)), None)
            if row is not None and neutral_rows(row, dataset=_name(file)) is None:
                raise InputError(f"{file.url} has rows with the fields {', '.join(map(str, row))}: wanted are {WANTED}")

    def sources(self, run: Run) -> Mapping[str, str]:
        """Files and catalog by content: the catalog words what a set asks of all its rows alike."""
        from instructpt.collection.catalog import locate

        found = {file.url: files.content_digest(file) for file in _found(self.files)}
        for path in locate():
            found[f"catalog/{path.name}"] = files.content_digest(files.find(str(path))[0])
        return found

    def num_shards(self, run: Run) -> int:
        """One a file."""
        return len(_found(self.files))

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The rows of a file, in order; those that are no instruction are counted by reason."""
        from instructpt.collection.catalog import load

        catalog, file = load(), _found(self.files)[index]
        for row, (excerpt, found) in enumerate(_rows(file)):
            if row == self.limit:
                return
            run.tally.take()
            shot = self._shot(found, excerpt, row=row, file=file, catalog=catalog)
            if isinstance(shot, Reject):
                run.tally.drop(shot.reason, shot.text)
                continue
            run.tally.keep()
            name = found.get("id", "") if isinstance(found, dict) else ""
            yield count_pairs(Group(f"{index:05d}-{row:08d}:{name}", (shot,)), run.tally)

    def _shot(self, found: object, excerpt: str, *, row: int, file: File, catalog: Catalog) -> Shot | Reject:
        """A row's context with its pairs, or why there are none."""
        if not isinstance(found, dict):
            return Reject(excerpt, "not_json")
        exchanges = neutral_rows(found, dataset=_name(file))
        if exchanges is None:
            return Reject(excerpt, "bad_field")
        if not exchanges:
            return Reject(excerpt, "no_answered_turn")
        pairs: list[Pair] = []
        record: TaskRecord | Reject = parse(exchanges[0], excerpt=excerpt)
        for exchange in exchanges:
            one = parse(exchange, excerpt=excerpt)
            if isinstance(one, Reject):
                return one
            pair = pair_of(one, catalog=catalog, seed=self.seed, unanswerable_share=0.0)
            if isinstance(pair, str):
                return reject(one, pair)
            pairs.append(pair)
        assert isinstance(record, TaskRecord)
        return Shot(Document(record.id or str(row), record.context.strip(), record.dataset), tuple(pairs))


def _rows(file: File) -> Iterator[tuple[str, object]]:
    """An excerpt of each line, and what it holds; None where it is no JSON."""
    for line in streams.lines(file.url):
        excerpt = line[:200].decode("utf-8", "replace").strip()
        try:
            yield excerpt, orjson.loads(line)
        except orjson.JSONDecodeError:
            yield excerpt, None


def _name(file: File) -> str:
    return file.url.rpartition("/")[2].partition(".")[0]


def _found(urls: Iterable[str]) -> list[File]:
    return [file for url in urls for file in files.find(url)]
