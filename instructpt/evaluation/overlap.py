"""Where test items stand in training texts.

    files, groups, texts --.
                            +--> Overlap --> matches --.
    test sets -------------'                            +--> Decontaminate --> the same records, but for the matches
    files, groups, texts ------------------------------'

A group is searched passage by passage and pair by pair; a text between its breaks, which no words span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, ClassVar

from instructpt import files
from instructpt.artifacts import Run, Stage, fingerprint
from instructpt.artifacts.stage import num_units
from instructpt.corpus import readers
from instructpt.corpus.testitems import WHOLE_FILE, Items, file_rows, load
from instructpt.errors import InputError, RecipeError
from instructpt.evaluation.benchmarks import HUB, SUITES, TASKS, load_parts, resolve, task_files
from instructpt.records import Document, Group, Match, Pair, Text
from instructpt.words.batches import batches
from instructpt.words.ngrams import MIN_WORDS, Occurrence, index
from instructpt.words.overlap import CONTAMINATION_GRAM
from instructpt.words.wordforms import folded_words

MIN_QUESTION_WORDS = 3
"""Of an exam's questions that are looked for: in full, so that few words are enough."""
_BATCH_CHARACTERS = 1 << 20
_SHOWN_CHARACTERS = 240
_AROUND_CHARACTERS = 40
_SHOWN_MATCHES = 100
"""An item and shard: those after them have their places, but no excerpts."""


@dataclass(frozen=True, kw_only=True)
class Overlap(Stage[Match]):
    """Where test items stand in texts, passages and pairs: a shard of matches for each shard of texts."""

    version: ClassVar[int] = 2
    takes: ClassVar[str] = "documents"

    texts: Stage[Any]
    """Of documents, groups or texts."""
    against: tuple[str, ...] | Stage[Group]
    """Test sets: tasks, suites, files, folders, globs, Hub data sets (hf://owner/name:split); or an exam, of which each
    question is looked for as a whole."""
    data: str = HUB
    """Where the rows of tasks are: a folder, or the Hub. Of those from the Hub the task file is part of this stage's
    identity, not the rows."""
    fields: tuple[str, ...] = ()
    """Which fields of a row hold items; none: all."""
    words: int = CONTAMINATION_GRAM
    """So many words in a row are a match."""

    def __post_init__(self) -> None:
        """Raises RecipeError without a test set, or for too few words."""
        if not self.against:
            raise RecipeError(f"{self.name} has no test set: name tasks, suites or files to compare with")
        if self.words < 5:
            raise RecipeError(f"{self.name}: runs of {self.words} words are in many a text: give at least 5")

    def sources(self, run: Run) -> Mapping[str, str]:
        """The test sets by content."""
        if isinstance(self.against, Stage):
            return {}
        found: dict[str, str] = {}
        for name, urls in sets_named(self.against, data=self.data).items():
            task = task_files(name, data=HUB) if urls is None else ()
            found |= {f"tasks/{path.name}": files.content_digest(files.find(str(path))[0]) for path in task}
            found |= readers.sources(urls) if urls else {}
        return found

    def shard(self, index: int, run: Run) -> Iterator[Match]:
        """The matches of a shard, in the order of its records."""
        items = self._items(run)
        shown: Counter[int] = Counter()
        parts = _counted(run.take(self.texts, index), run)
        for batch in batches(parts, size=lambda part: len(part.text), enough=_BATCH_CHARACTERS):
            for found in items.index.search([part.text for part in batch]):
                shown[found.item] += 1
                is_shown = shown[found.item] <= _SHOWN_MATCHES
                run.tally.count("matches_without_excerpts", not is_shown)
                for match in _matches(found, batch[found.text], items, is_shown=is_shown):
                    run.tally.count(f"matches/{match.task}")
                    yield match

    def join(self, run: Run, path: Path) -> bool:
        """Counts what was looked for, and which of it was found anywhere; makes nothing."""
        items, found = self._items(run), set()
        for number in range(self.num_shards(run)):  # not all at once: there is no manifest yet
            found |= {(match.task, place) for match in run.records(self, number) for place in match.places}
        for task, number in items.num_rows.items():
            run.tally.count(f"rows/{task}", number)
            run.tally.count(f"rows_found/{task}", sum(name == task for name, _ in found))
        looked_for = items.index
        run.tally.count("items", len(looked_for.places))
        run.tally.count("items/too_short", looked_for.num_too_short)
        run.tally.count("items/wording", looked_for.num_wording + looked_for.num_only_shared)
        return False

    def _items(self, run: Run) -> Items:
        if isinstance(self.against, Stage):
            return exam_items(self.against, run)
        return load_items(
            self.against, data=self.data, fields=self.fields, length=self.words, fingerprint=fingerprint(self, run)
        )


def sets_named(names: Sequence[str], *, data: str) -> dict[str, tuple[str, ...] | None]:
    """Test set -> its files; None for a task whose rows come from the Hub.

    Raises InputError for a name that is neither a task, a suite nor a file.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        if name in TASKS or name in SUITES:
            for task in resolve((name,)):
                found[task] = None if data == HUB else (str(task_files(task, data=data)[1]),)
            continue
        try:
            readers.shards((name,), shard_bytes=WHOLE_FILE)
        except InputError as error:
            raise InputError(f"{name!r} is no test set: {error}; tasks are {', '.join(TASKS)}") from error
        found[name] = (name,)
    return found


@lru_cache(maxsize=1)
def load_items(against: tuple[str, ...], *, data: str, fields: tuple[str, ...], length: int, fingerprint: str) -> Items:
    """The items of test sets, read and indexed once a process and `fingerprint`, that of the stage that asks.

    Raises InputError for a set without any.
    """
    del fingerprint
    sets = {
        task: _hub_rows(task) if urls is None else file_rows(urls)
        for task, urls in sets_named(against, data=data).items()
    }
    return load(sets, fields=fields, length=length)


def exam_items(exam: Stage[Group], run: Run) -> Items:
    """The questions of an exam, each as a whole; `ItemPlace.row` is a question's number in it."""
    questions = [pair.question for group in run.records(exam) for pair in group.shots[-1].pairs]
    longest = max((len(folded_words(question)) for question in questions), default=0)
    rows = [{"question": question} for question in questions]
    return load({exam.name: rows}, length=max(longest, MIN_QUESTION_WORDS), min_words=MIN_QUESTION_WORDS)


def _hub_rows(task: str) -> Iterator[Any]:
    for part in load_parts(task, data=HUB).values():
        yield from part.eval_docs


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a record that is searched by itself."""

    row: int
    id: str
    source: str
    text: str
    shot: int | None = None
    pair: int | None = None
    offset: int = 0
    """Of its first character: texts are searched between breaks, which no words span."""


def _parts(row: int, record: Document | Group | Text) -> Iterator[Stretch]:
    """What a record says: a text, or passages, pairs and writings."""
    if isinstance(record, Group):
        for number, shot in enumerate(record.shots):
            document = shot.document
            yield Stretch(row, document.id, document.source, document.text, number)
            for place, pair in enumerate(shot.pairs):
                yield Stretch(row, document.id, document.source, pair_text(pair), number, place)
                if len(folded_words(pair.question)) < MIN_WORDS:  # it may be an item by itself
                    yield Stretch(row, document.id, document.source, pair.question, number, place)
            for place, writing in enumerate(shot.writings, len(shot.pairs)):
                yield Stretch(row, document.id, document.source, writing.text, number, place)
    elif isinstance(record, Text) and record.breaks:
        for start, stop in pairwise((0, *record.breaks, len(record.text))):
            yield Stretch(row, record.id, record.source, record.text[start:stop], offset=start)
    else:
        yield Stretch(row, record.id, record.source, record.text)


def _counted(records: Iterable[Any], run: Run) -> Iterator[Stretch]:
    for row, record in enumerate(records):
        run.tally.keep(num_units(record))
        yield from _parts(row, record)


def _matches(found: Occurrence, part: Stretch, items: Items, *, is_shown: bool) -> Iterator[Match]:
    """A match for each test set that holds the item."""
    item = text = ""
    if is_shown:
        text = excerpt(part.text, found.spans)
        said = [part.text[start:stop] for start, stop in found.spans]
        item = items.texts[found.item]
        again = index(said, length=items.index.length, min_words=1).search([item])
        item = excerpt(item, again[0].spans if again else ((0, len(item)),))
    for task, places in groupby(items.places[found.item], key=lambda place: place.task):
        first, *rest = places
        yield Match(
            task=task,
            places=tuple(dict.fromkeys((first.row, *(place.row for place in rest)))),
            field=first.field,
            num_ngrams=found.num_ngrams,
            num_item_ngrams=int(items.index.num_ngrams[found.item]),
            item=item,
            row=part.row,
            id=part.id,
            source=part.source,
            shot=part.shot,
            pair=part.pair,
            spans=tuple((start + part.offset, stop + part.offset) for start, stop in found.spans),
            text=text,
        )


def excerpt(text: str, spans: tuple[tuple[int, int], ...]) -> str:
    """The first of the ranges with a few words around, cut short."""
    start = max(0, spans[0][0] - _AROUND_CHARACTERS)
    return text[start : min(spans[0][1] + _AROUND_CHARACTERS, start + _SHOWN_CHARACTERS)]


def pair_text(pair: Pair) -> str:
    """What a pair says: its strings in lines."""
    return "\n".join([pair.question, *pair.options, *filter(None, [pair.rationale]), pair.answer])
