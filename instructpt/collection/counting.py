"""What a collection holds, set by set: the rows of the table that `plan synthesizer` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from instructpt.collection.catalog import Catalog
from instructpt.records import Group


@dataclass(frozen=True, slots=True)
class SetCount:
    """What one task set contributes."""

    dataset: str
    category: str
    group: str
    contexts: int
    """Shots that hold a pair of it; one with pairs of several sets counts for each."""
    pairs: int
    characters: int
    """Of these contexts and of its pairs, without markup."""


def count_sets(groups: Iterable[Group], *, catalog: Catalog) -> list[SetCount]:
    """The sets that converted groups hold, by group and name. A set that the catalog does not know has no category."""
    contexts, pairs, characters = Counter[str](), Counter[str](), Counter[str]()
    for shot in (shot for group in groups for shot in group.shots):
        meta = shot.document.meta
        for name in meta["datasets"]:
            contexts[name] += 1
            characters[name] += len(shot.document.text)
        for name, pair in zip(meta["pair_datasets"], shot.pairs, strict=True):
            pairs[name] += 1
            characters[name] += sum(map(len, (pair.question, *pair.options, pair.rationale or "", pair.answer)))
    rows = []
    for name, count in contexts.items():
        entry = catalog.entries.get(name)
        category, broad = (entry.category, entry.group) if entry else ("", "")
        rows.append(SetCount(name, category, broad, count, pairs[name], characters[name]))
    return sorted(rows, key=lambda row: (row.group, row.dataset))
