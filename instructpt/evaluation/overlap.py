"""Where test items stand in training texts.

    files, groups, texts --.
                            +--> Overlap --> matches --.
    test sets -------------'                            +--> Decontaminate --> the same records, but for the matches
    files, groups, texts ------------------------------'

A group is searched passage by passage and pair by pair; a text between its breaks, which no words span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from instructpt import files
from instructpt.artifacts import Run, Stage, fingerprint
from instructpt.artifacts.stage import num_units
from instructpt.corpus import readers
from instructpt.corpus.testitems import Items
from instructpt.errors import RecipeError
from instructpt.evaluation.testsets import HUB, exam_items, load_items, sets_named
from instructpt.records import Document, Group, Match, Pair, Text
from instructpt.words.batches import batches
from instructpt.words.ngrams import MIN_WORDS
from instructpt.words.overlap import CONTAMINATION_GRAM
from instructpt.words.wordforms import folded_words

if TYPE_CHECKING:
    from instructpt.words.ngrams import Occurrence

_BATCH_CHARACTERS = 1 << 20
_SHOWN_CHARACTERS = 240
_AROUND_CHARACTERS = 40
_SHOWN_MATCHES = 100
"""An item and shard: those after them have their places, but no excerpts."""


@dataclass(frozen=True, kw_only=True)
class Overlap(Stage[Match]):
    """Where test items stand in texts, passages and pairs: a shard of matches for each shard of texts."""

    version: ClassVar[int] = 2
    makes: ClassVar[str] = "matches"

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
        from instructpt.evaluation.benchmarks import task_files

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
        for index in range(self.num_shards(run)):  # not all at once: there is no manifest yet
            found |= {(match.task, place) for match in run.records(self, index) for place in match.places}
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


@dataclass(frozen=True, kw_only=True)
class Stored(Stage[Any]):
    """Documents, groups or texts that another run made and left in a folder."""

    folder: str
    """A finished artifact, such as runs/mine/texts."""
    kind: Literal["Document", "Group", "Text"]

    @property
    def record(self) -> Any:
        """What `kind` names."""
        return {"Document": Document, "Group": Group, "Text": Text}[self.kind]

    @property
    def takes(self) -> str:  # type: ignore[override]
        """As `makes`."""
        return self.makes

    @property
    def makes(self) -> str:  # type: ignore[override]
        """Units of the kind."""
        return {"Document": "documents", "Group": "passages", "Text": "texts"}[self.kind]

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files by content."""
        return {files.base_name(file.url): files.content_digest(file) for file in self._files()}

    def num_shards(self, run: Run) -> int:
        """One a file."""
        return len(self._files())

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        """The records of a file, in order."""
        from instructpt.artifacts.storage import read_parquet
        from instructpt.files.streams import opened

        with opened(self._files()[index].url) as file:
            for record in read_parquet(file, self.record):
                run.tally.take(num_units(record))
                yield record

    def _files(self) -> list[files.File]:
        return files.find(f"{self.folder.rstrip('/')}/*.parquet")


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
    from instructpt.words.ngrams import index

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
