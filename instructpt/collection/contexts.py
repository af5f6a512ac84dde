"""Rows gathered by the text they ask about, whatever their set: a synthesizer writes as many pairs as it was shown.

    rows        a1   a2   a3   a4        b1   b2              a, b: data sets
    texts       X    X    Y    Z         X'   Y
    contexts    X: a1 a2 b1    Y: a3 b2    Z: a4              X' is X with headings, or with other blanks

Texts are one if they have the same words once blanks are made equal and the headings of a structured abstract taken
away ("Methods: We asked ..."): one source prints an abstract with them, the next without. The shortest spelling stands.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from instructpt.collection.neutral import TaskRecord, reject
from instructpt.records import Reject
from instructpt.words.ngrams import Index

MIN_HEADINGS = 2
"""A single line that begins with a word and a colon may be anything."""

_HEADING = re.compile(r"^[A-Z][A-Za-z /&,-]{2,40}:[ \t]+", re.MULTILINE)
_BATCH_CONTEXTS = 2048
_META_KEYS = ("licence", "unanswerable")

Contexts = dict[str, list[TaskRecord]]
"""Key of a text -> its rows, in the order in which texts first appear."""


class Gathering:
    """Rows by context, as they come in."""

    def __init__(self) -> None:
        self.contexts: Contexts = {}
        self._options: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, record: TaskRecord) -> Reject | None:
        """Take a row in; a Reject `no_context` if it has no text.

        What many rows share (a text, a set of labels) is kept once: 340,000 rows of 80 sets take half a GB.
        """
        key = context_key(record.context)
        if not key:
            return reject(record, "no_context")
        members = self.contexts.setdefault(key, [])
        text = record.context.strip()
        members.append(
            replace(
                record,
                context=members[-1].context if members and members[-1].context == text else text,
                options=self._options.setdefault(record.options, record.options),
                meta={name: record.meta[name] for name in _META_KEYS if name in record.meta},
            )
        )
        return None


def context_key(text: str) -> str:
    """What two texts share if they count as one."""
    if len(_HEADING.findall(text)) >= MIN_HEADINGS:
        text = _HEADING.sub("", text)
    return " ".join(text.split())


def spelling(members: list[TaskRecord]) -> str:
    """The text that stands for a context: its shortest spelling, the first of several."""
    return min((record.context for record in members), key=len)


def without_test_items(contexts: Contexts, items: Index) -> Iterator[Reject]:
    """Take out the rows whose context, question or all that they say holds a test item (`contaminated`).

    When a text holds one `words.ngrams` says; short items only where they are all of it: so questions are looked into
    by themselves.
    """
    keys = iter(list(contexts))
    while batch := list(islice(keys, _BATCH_CONTEXTS)):
        rows = [(key, record) for key in batch for record in contexts[key]]
        texts = [spelling(contexts[key]) for key in batch]
        texts += [record.question for _, record in rows]
        texts += ["\n".join([r.question, *r.options, r.rationale or "", r.answer]) for _, r in rows]
        found = {hit.text for hit in items.search(texts)}
        left_out = {key for place, key in enumerate(batch) if place in found}
        for key in batch:
            contexts[key] = []
        for place, (key, record) in enumerate(rows, len(batch)):
            if key in left_out or place in found or place + len(rows) in found:
                yield reject(record, "contaminated")
            else:
                contexts[key].append(record)
    remove_empty(contexts)


def keep_fullest(contexts: Contexts, limit: int) -> Iterator[Reject]:
    """Take the rows of each set beyond its `limit` fullest contexts out (`over_max_contexts`); of equals, earlier stay.

    The paper takes 10,000 contexts of a set, those with the most pairs (its section 1).
    """
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for context, members in contexts.items():
        for record in members:
            rows[record.dataset][context] += 1
    for dataset, counts in rows.items():
        for context, _ in counts.most_common()[limit:]:
            members = contexts[context]
            yield from (reject(record, "over_max_contexts") for record in members if record.dataset == dataset)
            contexts[context] = [record for record in members if record.dataset != dataset]
    remove_empty(contexts)


def remove_empty(contexts: Contexts) -> None:
    """Forget the contexts without rows."""
    for context in [context for context, members in contexts.items() if not members]:
        del contexts[context]
