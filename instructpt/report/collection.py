"""What a collection of task data holds, set by set, before anything is made: the table of `instructpt plan`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Run, Stage, Table, differences, is_finished
from instructpt.artifacts.tally import Tally
from instructpt.engines.models import Model, description_folder
from instructpt.records import Group, Pair
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.collection.catalog import Catalog
    from instructpt.collection.stages import Convert

CHARACTERS_A_TOKEN = 4
"""Of English in a vocabulary of 32,000 ids, about; for estimates only."""
COLUMNS = ("data set", "group", "category", "formats", "part", "contexts", "pairs", "tokens")
FORMATS = ("free", "options", "free + rationale", "options + rationale")
ABSENT = "-"
"""Stands for the counts of a set whose rows are not at hand."""
_BATCH_SHOTS = 4096


@dataclass(slots=True)
class SetCount:
    """What one task set contributes."""

    contexts: int = 0
    """Shots that hold a pair of it; one with pairs of several sets counts for each."""
    pairs: int = 0
    tokens: float = 0.0
    """Of these contexts and of its pairs, without markup."""
    formats: set[int] = field(default_factory=set)
    """Places in `FORMATS`."""


def outline(convert: Convert, run: Run) -> Table:
    """Every data set that the settings choose, and what would be used of it; nothing is written.

    Task files are read and converted in memory, sets of the Hub only with `hub`; once the artifact is there, it is read
    instead. Tokens are counted if the vocabulary is at hand, else estimated and marked "~".
    """
    from instructpt.collection.catalog import load

    catalog = load(convert.catalog)
    left_out = convert.reasons(catalog)
    words = _at_hand(convert.vocabulary, run)
    groups = _groups(convert, run, measured=words is not None)
    counts, num_tokens = count_sets(groups, vocabulary=words)
    names = {name for name in catalog.entries if name not in left_out} | set(counts)
    mark = "" if words else "~"
    rows = [_row(name, catalog, counts.get(name), mark=mark) for name in names]
    rows.sort(key=lambda row: (row[1], row[0]))
    num_groups = len({row[1] for row in rows})
    shots = [shot for group in groups for shot in group.shots]
    num_pairs = sum(len(shot.pairs) for shot in shots)
    total = ("", "", "", f"{len(shots):,}", f"{num_pairs:,}", f"{mark}{int(num_tokens):,}")
    notes = []
    if mark:
        notes.append(f"~ estimated at {CHARACTERS_A_TOKEN} characters a token: the vocabulary is not there yet")
    if absent := len(names) - len(counts):
        notes.append(
            f"{ABSENT} {absent} sets whose rows are not at hand: give their files, or --hub for those of the Hub"
        )
    rows.append((f"{len(names)} sets", f"{num_groups} groups", *total))
    return Table(f"{convert.name}: the collection", COLUMNS, tuple(rows), tuple(notes))


def count_sets(
    groups: Iterable[Group], *, vocabulary: vocabulary.Vocabulary | None
) -> tuple[dict[str, SetCount], float]:
    """What each task set contributes to converted groups; and the tokens of all, a shared context counted once.

    Tokens are counted by the vocabulary, without one estimated.
    """

    def lengths(texts: list[str]) -> list[float]:
        if vocabulary is None:
            return [len(text) / CHARACTERS_A_TOKEN for text in texts]
        return [float(len(ids)) for ids in vocabulary.encode_arrays(texts)]

    total, sets = 0.0, dict[str, SetCount]()
    shots = (shot for group in groups for shot in group.shots)
    while batch := list(islice(shots, _BATCH_SHOTS)):
        contexts = lengths([shot.document.text for shot in batch])
        pairs = iter(lengths([_text(pair) for shot in batch for pair in shot.pairs]))
        for shot, context in zip(batch, contexts, strict=True):
            total += context
            for name in shot.document.meta["datasets"]:
                found = sets.setdefault(name, SetCount())
                found.contexts += 1
                found.tokens += context
            for name, pair in zip(shot.document.meta["pair_datasets"], shot.pairs, strict=True):
                found, length = sets[name], next(pairs)
                total += length
                found.pairs += 1
                found.tokens += length
                found.formats.add(2 * (pair.rationale is not None) + bool(pair.options))
    return sets, total


def _text(pair: Pair) -> str:
    return "\n".join(filter(None, (pair.question, *pair.options, pair.rationale, pair.answer)))


def _at_hand(model: Model | None, run: Run) -> vocabulary.Vocabulary | None:
    """The vocabulary, unless a stage has yet to make it."""
    if model is None or (not isinstance(model, str) and not _is_there(model, run)):
        return None
    return vocabulary.load(description_folder(model, run))


def _is_there(stage: Stage[Any], run: Run) -> bool:
    """Whether the artifact is finished, and this one: another may bear its name."""
    return is_finished(stage, run) and not differences(stage, run)


def _groups(convert: Convert, run: Run, *, measured: bool) -> list[Group]:
    """The stage's groups: as they were made, else made now; without its vocabulary, with lengths estimated."""
    if _is_there(convert, run):
        return list(run.records(convert))
    if not convert.files and not convert.hub:
        return []
    if not measured and convert.group_tokens is not None:
        context = convert.context_tokens or convert.group_tokens * 3 // 4
        convert = replace(
            convert,
            vocabulary=None,
            group_tokens=None,
            context_tokens=None,
            context_characters=context * CHARACTERS_A_TOKEN,
            budget_characters=convert.group_tokens * CHARACTERS_A_TOKEN,
        )
    return list(convert.shard(0, replace(run, tally=Tally())))


def _row(name: str, catalog: Catalog, count: SetCount | None, *, mark: str) -> tuple[str, ...]:
    entry = catalog.entries.get(name)
    what = (entry.group, entry.category) if entry else ("(not in the catalog)", "")
    formats, numbers = ABSENT, (ABSENT, ABSENT, ABSENT)
    if count is not None:
        formats = ", ".join(FORMATS[kind] for kind in sorted(count.formats))
        numbers = (f"{count.contexts:,}", f"{count.pairs:,}", f"{mark}{int(count.tokens):,}")
    return (name, *what, formats, entry.part if entry else "", *numbers)
