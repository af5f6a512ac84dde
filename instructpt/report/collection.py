"""What a collection of task data holds, set by set, before anything is made: the table of `instructpt plan`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Run, Stage, Table, differences, is_finished
from instructpt.artifacts.tally import Tally
from instructpt.engines.models import Model, description_folder
from instructpt.records import Group, Pair
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.collection.catalog import Catalog
    from instructpt.collection.counting import SetCount
    from instructpt.collection.stages import Convert

CHARACTERS_A_TOKEN = 4
"""Of English in a vocabulary of 32,000 ids, about; for estimates only."""
COLUMNS = ("data set", "group", "category", "formats", "part", "contexts", "pairs", "tokens")
FORMATS = ("free", "options", "free + rationale", "options + rationale")
ABSENT = "-"
"""Stands for the counts of a set whose rows are not at hand."""
_BATCH_SHOTS = 4096


@dataclass(frozen=True, slots=True)
class Tokens:
    """How long contexts and pairs are, without markup."""

    total: int
    by_set: Mapping[str, int]
    """A context that several sets share counts for each of them, but once in the total."""


def outline(convert: Convert, run: Run) -> Table:
    """Every data set that the settings choose, and what would be used of it; nothing is written.

    Task files are read and converted in memory, sets of the Hub only with `hub`; once the artifact is there, it is read
    instead. Tokens are counted if the vocabulary is at hand, else estimated and marked "~".
    """
    from instructpt.collection.catalog import load
    from instructpt.collection.counting import count_sets

    catalog = load(convert.catalog)
    left_out = convert.choice.reasons(catalog)
    words = _at_hand(convert.vocabulary, run)
    groups = _groups(convert, run, measured=words is not None)
    counts = {row.dataset: row for row in count_sets(groups, catalog=catalog)}
    tokens = count_tokens(groups, vocabulary=words)
    names = {name for name in catalog.entries if name not in left_out} | set(counts)
    formats = _formats(groups)
    mark = "" if words else "~"
    rows = [
        _row(name, catalog, counts.get(name), formats=formats.get(name, ABSENT), mark=mark, tokens=tokens)
        for name in names
    ]
    rows.sort(key=lambda row: (row[1], row[0]))
    num_groups = len({row[1] for row in rows})
    shots = [shot for group in groups for shot in group.shots]
    num_pairs = sum(len(shot.pairs) for shot in shots)
    total = ("", "", "", f"{len(shots):,}", f"{num_pairs:,}", f"{mark}{tokens.total:,}")
    notes = []
    if mark:
        notes.append(f"~ estimated at {CHARACTERS_A_TOKEN} characters a token: the vocabulary is not there yet")
    if absent := len(names) - len(counts):
        notes.append(
            f"{ABSENT} {absent} sets whose rows are not at hand: give their files, or --hub for those of the Hub"
        )
    rows.append((f"{len(names)} sets", f"{num_groups} groups", *total))
    return Table(f"{convert.name}: the collection", COLUMNS, tuple(rows), tuple(notes))


def count_tokens(groups: Iterable[Group], *, vocabulary: vocabulary.Vocabulary | None) -> Tokens:
    """Tokens of converted groups, by the vocabulary; without one estimated."""

    def lengths(texts: list[str]) -> list[float]:
        if vocabulary is None:
            return [len(text) / CHARACTERS_A_TOKEN for text in texts]
        return [float(len(ids)) for ids in vocabulary.encode_arrays(texts)]

    total, by_set = 0.0, dict[str, float]()
    shots = (shot for group in groups for shot in group.shots)
    while batch := list(islice(shots, _BATCH_SHOTS)):
        contexts = lengths([shot.document.text for shot in batch])
        pairs = iter(lengths([_text(pair) for shot in batch for pair in shot.pairs]))
        for shot, context in zip(batch, contexts, strict=True):
            total += context
            for name in shot.document.meta["datasets"]:
                by_set[name] = by_set.get(name, 0.0) + context
            for name in shot.document.meta["pair_datasets"]:
                length = next(pairs)
                total += length
                by_set[name] += length
    return Tokens(int(total), {name: int(number) for name, number in by_set.items()})


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


def _formats(groups: Iterable[Group]) -> dict[str, str]:
    """The formats of each set's pairs, in the order in which the paper lists them."""
    found: dict[str, set[int]] = {}
    for shot in (shot for group in groups for shot in group.shots):
        for name, pair in zip(shot.document.meta["pair_datasets"], shot.pairs, strict=True):
            found.setdefault(name, set()).add(2 * (pair.rationale is not None) + bool(pair.options))
    return {name: ", ".join(FORMATS[kind] for kind in sorted(kinds)) for name, kinds in found.items()}


def _row(
    name: str, catalog: Catalog, count: SetCount | None, *, formats: str, mark: str, tokens: Tokens
) -> tuple[str, ...]:
    entry = catalog.entries.get(name)
    what = (entry.group, entry.category) if entry else ("(not in the catalog)", "")
    if count is None:
        numbers = (ABSENT, ABSENT, ABSENT)
    else:
        numbers = (f"{count.contexts:,}", f"{count.pairs:,}", f"{mark}{tokens.by_set[name]:,}")
    return (name, *what, formats, entry.part if entry else "", *numbers)
