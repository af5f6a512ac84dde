"""Test items kept out of training: a row that shares thirteen words in a row with one, or is one, is left out.

    test file   {"question": "Which of these ...", "choices": {"text": ["..."]}}      every text in it counts
    index       of a text of 13 words or more: each run of 13   of a shorter one: all its words together
                (but for runs that many items share: how a test is worded, see `ngrams`)

A row is compared with its context, question, options, rationale and answer for runs (`ngrams`), with its question and
its context for short items, which it must be word for word: a question of five words is part of many another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from instructpt.collection.neutral import TaskRecord
from instructpt.errors import InputError
from instructpt.files import streams
from instructpt.words import ngrams
from instructpt.words.overlap import CONTAMINATION_GRAM
from instructpt.words.wordforms import words

MIN_ITEM_WORDS = 5
"""Shorter texts of a test file are choices, labels and names, which many a question may be."""


@dataclass(frozen=True, slots=True)
class TestItems:
    """What test items say."""

    __test__ = False  # no test of pytest's

    runs: ngrams.Index
    """Of those of 13 words or more."""
    short: frozenset[str]
    """The words of each text that is too short for a run."""

    def found(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts share a run of 13 words with an item."""
        hits = {hit.text for hit in self.runs.search(texts)}
        return [place in hits for place in range(len(texts))]

    def overlapping(self, rows: Sequence[tuple[str, Sequence[TaskRecord]]]) -> list[list[bool]]:
        """For each context with its rows, which rows share a run with an item or are a short one."""
        asked = [
            "\n".join([record.question, *record.options, record.rationale or "", record.answer])
            for _, records in rows
            for record in records
        ]
        bad_contexts, bad_rows = self.found([context for context, _ in rows]), iter(self.found(asked))
        found = []
        for (context, records), shares in zip(rows, bad_contexts, strict=True):
            is_bad = shares or self._is_short(context)
            found.append([next(bad_rows) or is_bad or self._is_short(record.question) for record in records])
        return found

    def _is_short(self, text: str) -> bool:
        return " ".join(words(text)) in self.short


def read_items(files: Iterable[str]) -> TestItems:
    """The test items in JSON-lines files, plain or packed. Raises InputError for a file that is missing or no JSON."""
    return index(text for file in files for row in _rows(file) for text in _texts(row))


def index(texts: Iterable[str]) -> TestItems:
    """The index over the texts of test items."""
    short: set[str] = set()

    def long() -> Iterator[str]:
        for text in texts:
            said = words(text)
            if len(said) >= CONTAMINATION_GRAM:
                yield text
            elif len(said) >= MIN_ITEM_WORDS:
                short.add(" ".join(said))

    return TestItems(ngrams.index(long(), min_words=CONTAMINATION_GRAM), frozenset(short))


def _rows(file: str) -> Iterator[Any]:
    for number, line in enumerate(streams.lines(file), 1):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{file}, row {number} is not JSON: give test items as JSON lines") from error


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
