"""Raw text to passages: read, filter, split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from instructpt.artifacts import Product, Run, Stage
from instructpt.artifacts.remembered import remembered_digests
from instructpt.artifacts.tally import NOT_READ
from instructpt.corpus import duplicates, readers, splitting
from instructpt.corpus.filters import Thresholds, first_reason
from instructpt.engines.models import Model, description_folder, model_sources
from instructpt.errors import NothingMadeError, RecipeError
from instructpt.records import Document, Reject, Text
from instructpt.seeds import digest
from instructpt.words import vocabulary

SHARD_BYTES = 64 * 2**20
WORD_COUNT = 20_000
"""So often is each of a vocabulary's `words` counted: the last merges for 8,192 ids from 48 MB of text have some
hundreds."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files of raw text are read."""

    text_field: str = "text"
    """Field or column that holds the text. Use dots for nested fields: content.text."""
    id_field: str = "id"
    """Field or column that holds the id."""
    limit: int | None = None
    """Read only this many rows, from the beginning."""
    shard_bytes: int = SHARD_BYTES
    """Size of a shard. Runs resume, and machines share work, shard by shard."""

    def read(self, files: tuple[str, ...], *, name: str = "documents") -> Read:
        """Their documents."""
        return Read(name=name, files=files, **vars(self))


@dataclass(frozen=True, kw_only=True)
class Read(Reading, Stage[Document]):
    """Documents from files, folders or data sets."""

    takes: ClassVar[str] = "rows"

    files: tuple[str, ...]
    """Paths, globs or URLs; see `corpus.readers`."""
    skip: int = 0
    """Rows at the start of each file that are left out: what another `Read` takes with `limit`, to test on."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files by content."""
        with remembered_digests(run) as digest:
            return readers.sources(self.files, digest=digest)

    def num_shards(self, run: Run) -> int:
        """As many as the text fills."""
        return 1 if self.limit else len(_shards(self.files, self.shard_bytes))

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """The documents of some of the files."""
        shards = _shards(self.files, self.shard_bytes)
        parts = sum(shards, ()) if self.limit else shards[index]
        for kind, names in readers.not_read(self.files).items() if index == 0 else ():
            run.tally.count(f"{NOT_READ}{kind}", len(names))
            for name in names:
                run.tally.show(f"{NOT_READ}{kind}", name)
        rows = readers.read(parts, text_field=self.text_field, id_field=self.id_field, skip=self.skip)
        for row in islice(rows, self.limit):
            run.tally.take()
            if isinstance(row, Reject):
                run.tally.drop(row.reason, row.text)
            else:
                run.tally.keep()
                yield row


@cache
def _shards(files: tuple[str, ...], shard_bytes: int) -> list[readers.Shard]:
    return readers.shards(files, shard_bytes=shard_bytes)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Stage[Any]):
    """Which documents repeat an earlier one of the corpus, word for word."""

    product: ClassVar[Product] = "folder"
    documents: Stage[Document]

    def build(self, index: int, run: Run, path: Path) -> None:
        """The digests of a shard's documents."""
        _save(duplicates.digests(run.take(self.documents, index)), path / "digests.npy", run)

    def join(self, run: Run, path: Path) -> bool:
        """For each shard, the rows that repeat a row before them."""
        return _join(duplicates.later_copies(_saved(self, "digests.npy", run)), path)


@dataclass(frozen=True, kw_only=True)
class Filter(Stage[Document]):
    """Documents worth reading: neither too short nor repetitive, each once."""

    documents: Stage[Document]
    duplicates: Duplicates | None = None
    """None keeps duplicates."""
    thresholds: Thresholds = field(default_factory=Thresholds)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """A shard's documents, but for those with a reason not to keep them."""
        copies = _joined(self.duplicates, index, run) if self.duplicates else ()
        for row, document in enumerate(run.take(self.documents, index)):
            reason = "exact_duplicate" if row in copies else first_reason(document, self.thresholds)
            if reason:
                run.tally.drop(reason, document.text)
            else:
                yield document


@dataclass(frozen=True, kw_only=True)
class NearDuplicates(Stage[Any]):
    """Which documents nearly repeat an earlier one of the corpus: `corpus.duplicates` says how it is found."""

    product: ClassVar[Product] = "folder"
    packages: ClassVar[tuple[str, ...]] = ("rensa",)

    documents: Stage[Document]
    share: float
    """Of the runs of five words that two documents have, those that both have."""

    def __post_init__(self) -> None:
        """Raises RecipeError for a share that is none."""
        if not 0.5 <= self.share <= 1:
            raise RecipeError(
                f"{self.name}: documents are near duplicates from a share of {self.share:g}: give 0.5 to 1, such as 0.8"
            )

    def build(self, index: int, run: Run, path: Path) -> None:
        """The signatures of a shard's documents."""
        texts = (document.text for document in run.take(self.documents, index))
        _save(duplicates.signatures(texts), path / "signatures.npy", run)

    def join(self, run: Run, path: Path) -> bool:
        """For each shard, the rows that are near a row before them."""
        return _join(duplicates.near_copies(_saved(self, "signatures.npy", run), share=self.share), path)


@dataclass(frozen=True, kw_only=True)
class Distinct(Stage[Document]):
    """Documents without those that nearly repeat an earlier one."""

    documents: Stage[Document]
    duplicates: NearDuplicates
    """Of the same documents."""

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """A shard's documents, but for near duplicates."""
        near = _joined(self.duplicates, index, run)
        for row, document in enumerate(run.take(self.documents, index)):
            if row in near:
                run.tally.drop("near_duplicate", document.text)
            else:
                yield document


def _save(array: NDArray[Any], path: Path, run: Run) -> None:
    """Keep what a shard's documents are compared by."""
    path.parent.mkdir(exist_ok=True)
    run.tally.made = len(array)
    np.save(path, array)


def _saved(stage: Stage[Any], name: str, run: Run) -> list[NDArray[Any]]:
    """What all shards have kept under a name."""
    folders = [run.product(stage, f"{i:05d}") for i in range(stage.num_shards(run))]
    return [np.load(folder / name, mmap_mode="r") for folder in folders]


def _join(rows_by_shard: Sequence[NDArray[np.int64]], path: Path) -> bool:
    path.mkdir(exist_ok=True)
    for index, rows in enumerate(rows_by_shard):
        np.save(path / f"{index:05d}.npy", rows)
    return True


def _joined(stage: Duplicates | NearDuplicates, index: int, run: Run) -> set[int]:
    """The rows of a shard that repeat earlier ones."""
    return set(np.load(run.product(stage, "joined") / f"{index:05d}.npy").tolist())


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
    if_empty: str = field(default="", compare=False, metadata={"note": True})
    """What to do where none is drawn, which ends the run then; "" where that may be."""

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

    def join(self, run: Run, path: Path) -> bool:
        """Makes nothing. Raises NothingMadeError where no document is drawn and one is needed."""
        shards = range(self.num_shards(run))
        if self.if_empty and not any(run.num_made(self, index) for index in shards):
            total = sum(run.num_made(self.documents, index) for index in shards)
            raise NothingMadeError(f"{self.name} has none of {total:,} documents: {self.if_empty}")
        return False


@dataclass(frozen=True, kw_only=True)
class Subset(Stage[Document]):
    """Some of the documents or passages of another stage, in its order; which, is known once it is made."""

    documents: Stage[Document]


@dataclass(frozen=True, kw_only=True)
class BuildVocabulary(Stage[Any]):
    """A byte-level BPE vocabulary for models made from random weights."""

    product: ClassVar[Product] = "folder"
    packages: ClassVar[tuple[str, ...]] = ("tokenizers",)
    is_single = True

    texts: tuple[Stage[Document] | Stage[Text], ...]
    size: int = 32_000
    limit_bytes: int = 200_000_000
    """Text of each input to learn from, its first part; more changes little."""
    words: tuple[str, ...] = ()
    """What becomes few tokens whether or not the texts hold it: the tags of a dialect."""

    def build(self, index: int, run: Run, path: Path) -> None:
        """A folder with tokenizer.json."""
        often = (f" {word}" * WORD_COUNT for word in self.words)
        vocabulary.train(chain(often, self._texts(run)), size=self.size, folder=path)

    def _texts(self, run: Run) -> Iterator[str]:
        stages: tuple[Stage[Any], ...] = self.texts
        for stage in stages:
            left = self.limit_bytes
            for record in run.records(stage):  # a shard is opened when the one before it is read
                data = record.text.encode()
                yield record.text if len(data) <= left else data[:left].decode(errors="ignore")
                left -= len(data)
                if left <= 0:
                    break


@dataclass(frozen=True, kw_only=True)
class Split(Stage[Document]):
    """Documents cut into passages that a synthesizer can read."""

    makes: ClassVar[str] = "passages"

    documents: Stage[Document]
    vocabulary: Model
    budget_tokens: int
    """The longest passage, in tokens of the vocabulary."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """The vocabulary, if no stage makes it."""
        return model_sources(self.vocabulary, run)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """Passages in the order of their documents."""
        words = vocabulary.load(description_folder(self.vocabulary, run))
        documents = run.take(self.documents, index)
        for passages in splitting.split_many(documents, vocabulary=words, budget_tokens=self.budget_tokens):
            if passages:
                run.tally.keep()
            else:
                run.tally.drop("white_space_only")
            yield from passages
