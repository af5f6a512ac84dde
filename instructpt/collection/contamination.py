"""Test items kept out of task data: a row is left out if its context, its question or all that it says holds one.

When a text holds an item `words.ngrams` says: a run of 13 words that both have, all of an item of 8 to 12 words, or
nothing else than an item of 5 to 7. So a short item is looked for in contexts and questions that are just that.
"""

from __future__ import annotations

from collections.abc import Sequence

from instructpt.collection.neutral import TaskRecord
from instructpt.words.ngrams import Index


def overlapping(items: Index, rows: Sequence[tuple[str, Sequence[TaskRecord]]]) -> list[list[bool]]:
    """For each context with its rows, which rows hold a test item; if the context does, all of them."""
    found = []
    contexts = iter(_found(items, [context for context, _ in rows]))
    records = [record for _, members in rows for record in members]
    questions = iter(_found(items, [record.question for record in records]))
    said = iter(_found(items, [_said(record) for record in records]))
    for _, members in rows:
        is_bad = next(contexts)
        found.append([any((next(questions), next(said), is_bad)) for _ in members])
    return found


def _found(items: Index, texts: Sequence[str]) -> list[bool]:
    hits = {hit.text for hit in items.search(texts)}
    return [place in hits for place in range(len(texts))]


def _said(record: TaskRecord) -> str:
    return "\n".join([record.question, *record.options, record.rationale or "", record.answer])
