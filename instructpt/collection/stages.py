"""Annotated task data to groups.

Groups are the examples that a synthesizer is tuned on, several shots of one source each:

    shots of source A   a1 a2 a3 a4 a5     of A+B   c1 c2
    groups of two       ( a4 a1 )  ( a3 a5 )  ( a2 )  ( c2 c1 )
    filled groups       ( a4 a1 a3 )  ( a5 a2 )  ( c2 c1 )         as many as fit so many tokens

Shots of one source come from the same sets and thus share formats, as in the paper's tuning sequences (section 1),
which are filled up to the model's length. A text that is there twice (see `balance`) is never twice in one group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from instructpt import files
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import Tally, count_pairs
from instructpt.collection import catalog, hub
from instructpt.collection.balance import balance, parse_weights
from instructpt.collection.neutral import TaskRecord, read_records
from instructpt.collection.windows import LengthLimits, in_characters, in_tokens
from instructpt.engines.models import Model, description_folder, model_sources
from instructpt.errors import RecipeError
from instructpt.records import Group, Reject, Shot
from instructpt.seeds import rng
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.collection.convert import Conversion

DEFAULT_SHOTS = 2


@dataclass(frozen=True, kw_only=True)
class Convert(catalog.Choice, Stage[Group]):
    """Annotated task data in the neutral layout (docs/formats.md) as groups of several contexts of the same data sets.

    Counted without a vocabulary in characters, in groups of a few shots; with one in tokens, groups filled up.
    """

    takes: ClassVar[str] = "task records"
    version: ClassVar[int] = 4
    is_single = True  # records of one context are gathered across files

    files: tuple[str, ...] = ()
    """Neutral JSON lines: files, folders or globs."""
    hub: bool = False
    """Also stream the catalog's sets that lie on the Hugging Face Hub. Of these the catalog's entry is part of this
    stage's identity, not the rows: a catalog that is to give the same rows next year names their `revision`."""
    catalog: str | None = None
    """Path of a catalog of data sets (docs/formats.md); None: the one that ships."""
    evaluation: tuple[str, ...] = ()
    """Files of test items, JSON lines: what shares 13 words in a row with one is left out."""
    max_contexts: int = 10_000
    """A data set, those with the most pairs: the paper's number (section 1)."""
    unanswerable_share: float = 0.0
    """Which part of the questions that their text does not answer is kept."""
    unanswerable: str = field(default="", metadata={"later": True})
    """Their answer; "" leaves the words to the catalog."""
    shots: int | None = None
    """A group, at most. None: 2, or with `group_tokens` as many as fit."""
    context_characters: int | None = None
    """The longest context, without a vocabulary; a longer one is cut where sentences end. None: three quarters of
    `budget_characters`."""
    budget_characters: int = 6000
    """Context and pairs of a shot, without a vocabulary; pairs beyond are left out."""
    vocabulary: Model | None = None
    """Counts tokens, of what `dialect` writes."""
    dialect: str = "tags"
    context_tokens: int | None = None
    """The longest context, with a vocabulary; None: three quarters of `group_tokens`."""
    group_tokens: int | None = None
    """A group and so a shot at most, with a vocabulary: the synthesizer's window."""
    balance: float = 1.0
    """1: groups of data sets as large as they are; 0: all alike, none repeated more than four times."""
    weights: str = ""
    """More or less of a category or group: "narrative QA=2,NER=0.5"."""
    many_pairs_weight: float = field(default=1.0, metadata={"later": True})
    """How many times as often contexts with three pairs and more are taken as others."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.files and not self.hub:
            raise RecipeError(f"{self.name} has no task data: give files, or hub")
        if (self.vocabulary is None) != (self.group_tokens is None):
            raise RecipeError(f"{self.name}: give vocabulary and group_tokens together, or neither of them")
        if self.context_tokens is not None and self.vocabulary is None:
            raise RecipeError(f"{self.name}: context_tokens are counted with a vocabulary: give one, and group_tokens")
        if self.context_characters is not None and self.vocabulary is not None:
            raise RecipeError(f"{self.name}: with a vocabulary give context_tokens, not context_characters")
        longest, room = self._sizes()
        if not 0 < longest < room:
            raise RecipeError(f"{self.name}: contexts of {longest} leave no room for pairs in {room}: give less")
        if self.shots is not None and self.shots < 1:
            raise RecipeError(f"{self.name}: shots is {self.shots}: give 1 or more")

    def sources(self, run: Run) -> Mapping[str, str]:
        """Files, test items and catalog by content, and the vocabulary, if no stage makes it.

        Raises RecipeError for names of sets and weights that the catalog does not know: before any work.
        """
        known = catalog.load(self.catalog)
        known.named(self.sets)
        parse_weights(self.weights, catalog=known)
        found = {file.url: files.content_digest(file) for file in files.find(*self.files)}
        found |= {f"evaluation/{file.url}": files.content_digest(file) for file in files.find(*self.evaluation)}
        found |= catalog.sources(self.catalog)
        return {**found, **(model_sources(self.vocabulary, run) if self.vocabulary else {})}

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """Groups in drawn order."""
        from instructpt.collection.convert import convert

        how = self._conversion(run)
        shots = list(_counted(convert(self._records(run.tally, how), how), run.tally))
        balanced = balance(
            shots,
            catalog=how.catalog,
            seed=self.seed,
            exponent=self.balance,
            weights=self.weights,
            many_pairs_weight=self.many_pairs_weight,
        )
        _drop(balanced.rejects, run.tally)
        run.tally.keep(sum(len(shot.pairs) for shot in shots) - len(balanced.rejects))
        run.tally.count("copied_passages", balanced.num_copies)
        groups = group_shots(
            balanced.shots,
            seed=self.seed,
            num_shots=self.shots or (None if self.group_tokens else DEFAULT_SHOTS),
            capacity=self.group_tokens,
            costs=how.limits.costs if self.group_tokens else None,
        )
        for group in groups:
            yield count_pairs(group, run.tally)

    def _sizes(self) -> tuple[int, int]:
        """The longest context and the most for a shot, in tokens or characters."""
        if self.group_tokens is None:
            return self.context_characters or self.budget_characters * 3 // 4, self.budget_characters
        return self.context_tokens or self.group_tokens * 3 // 4, self.group_tokens

    def _limits(self, run: Run) -> LengthLimits:
        from instructpt.synthesis.dialects import open_dialect

        context, shot = self._sizes()
        if self.vocabulary is None:
            return in_characters(context=context, shot=shot)
        words = vocabulary.load(description_folder(self.vocabulary, run))
        return in_tokens(words, context=context, shot=shot, write=open_dialect(self.dialect).write)

    def _conversion(self, run: Run) -> Conversion:
        from instructpt.collection.convert import Conversion
        from instructpt.corpus import testitems

        items = [file.url for file in files.find(*self.evaluation)]
        return Conversion(
            catalog=catalog.load(self.catalog),
            limits=self._limits(run),
            choice=self,
            test_items=testitems.load({url: testitems.file_rows([url]) for url in items}).index if items else None,
            unanswerable_share=self.unanswerable_share,
            unanswerable=self.unanswerable,
            max_contexts=self.max_contexts,
            seed=self.seed,
        )

    def _records(self, tally: Tally, how: Conversion) -> Iterator[TaskRecord | Reject]:
        for file in files.find(*self.files):
            for record in read_records(file.url):
                tally.take()
                yield record
        if not self.hub:
            return
        left_out = self.reasons(how.catalog)
        for name, entry in how.catalog.entries.items():
            if entry.hub and name not in left_out:
                for record in hub.read(name, entry):
                    tally.take()
                    yield record


def _counted(found: Iterable[Shot | Reject], tally: Tally) -> Iterator[Shot]:
    for item in found:
        if isinstance(item, Reject):
            _drop((item,), tally)
        else:
            _drop(item.rejects, tally)
            yield item


def _drop(rejects: Iterable[Reject], tally: Tally) -> None:
    for reject in rejects:
        tally.drop(reject.reason, reject.text)


def group_shots(
    shots: Iterable[Shot],
    *,
    seed: int,
    num_shots: int | None = None,
    capacity: int | None = None,
    costs: Callable[[Sequence[Shot]], Sequence[int]] | None = None,
) -> Iterator[Group]:
    """Groups of at most `num_shots` shots that cost at most `capacity` together, in random order.

    costs: of each shot in the unit of `capacity`. A shot that costs more than that is a group by itself. None for
    either limit: the other alone holds. Every shot lands in exactly one group; the last group of a source may be small.
    """
    assert num_shots is None or num_shots >= 1
    assert (capacity is None) == (costs is None)
    assert num_shots is not None or capacity is not None
    groups: list[Group] = []
    for source, rounds in _by_source(shots).items():
        number = 0
        for copy, members in rounds.items():
            rng(seed, "group_shots", source, copy).shuffle(members)
            sizes = costs(members) if costs else [0] * len(members)
            for chain in _chains(members, sizes, num_shots, capacity):
                follows = (replace(shot, follows=place) for place, shot in enumerate(chain))
                groups.append(Group(f"{source}:{number}", tuple(follows)))
                number += 1
    rng(seed, "group_order").shuffle(groups)
    yield from groups


def _by_source(shots: Iterable[Shot]) -> Mapping[str, Mapping[int, list[Shot]]]:
    """Source -> its shots: the first of each text, the second of each text..."""
    sources: defaultdict[str, defaultdict[int, list[Shot]]] = defaultdict(lambda: defaultdict(list))
    seen: Counter[tuple[str, str]] = Counter()
    for shot in shots:
        key = shot.document.source, shot.document.id
        sources[shot.document.source][seen[key]].append(shot)
        seen[key] += 1
    return sources


def _chains(
    shots: Sequence[Shot], sizes: Sequence[int], num_shots: int | None, capacity: int | None
) -> Iterator[list[Shot]]:
    chain: list[Shot] = []
    filled = 0
    for shot, size in zip(shots, sizes, strict=True):
        is_full = num_shots is not None and len(chain) == num_shots
        if chain and (is_full or (capacity is not None and filled + size > capacity)):
            yield chain
            chain, filled = [], 0
        chain.append(shot)
        filled += size
    if chain:
        yield chain
