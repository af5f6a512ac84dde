"""Test items kept out of training: a row that shares thirteen words in a row with one, or is one, is left out.

    test file   {"question": "Which of these ...", "choices": {"text": ["..."]}}      every text in it counts
    index       of a text of 13 words or more: each run of 13   of a shorter one: all its words together

A row is compared with its context, question, options, rationale and answer for runs, with its question and its context
for short items. Runs are compared as 64-bit sums of random numbers that stand for words, [number of words - 12] at a
time, so that 100 MB of text take seconds; two different runs are taken for one with odds of one in a million a corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from instructpt import streams
from instructpt.collection.neutral import TaskRecord
from instructpt.errors import InputError
from instructpt.overlap import CONTAMINATION_GRAM, words

MIN_ITEM_WORDS = 5
"""Shorter texts of a test file are choices, labels and names, which many a question may be."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 26
_BATCH_WORDS = 1 << 21


@dataclass(frozen=True, slots=True)
class TestItems:
    """What test items say."""

    __test__ = False  # no test of pytest's

    numbers: dict[str, int]
    """Of each word that they hold; 0 is any other word."""
    values: NDArray[np.uint64]
    """A random number for each of these."""
    runs: NDArray[np.uint64]
    """The sums of all runs of 13 words, ascending."""
    maybe: NDArray[np.bool_]
    """Whether a run's first bits occur among them: rules out nearly all runs at once."""
    short: frozenset[str]
    """The words of each text that is too short for a run."""

    def found(self, texts: Sequence[Sequence[str]]) -> list[bool]:
        """Which of the texts (`overlap.words` of each) share a run of 13 words with an item."""
        return [hit for batch in _batches(texts) for hit in self._found(batch)]

    def _found(self, texts: Sequence[Sequence[str]]) -> list[bool]:
        known = self.numbers.get
        numbers = np.fromiter((known(word, 0) for text in texts for word in text), np.int64)
        sums = _sums(numbers, self.values)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        ends = np.cumsum(lengths)
        hits = np.flatnonzero(self.maybe[sums >> np.uint64(64 - _FILTER_BITS)])
        places = np.minimum(np.searchsorted(self.runs, sums[hits]), len(self.runs) - 1)
        hits = hits[self.runs[places] == sums[hits]]
        owners = np.searchsorted(ends, hits, side="right")
        # A run that begins in one text and ends in the next is none.
        inside = owners[hits + CONTAMINATION_GRAM <= ends[owners]]
        hit = np.zeros(len(texts), np.bool_)
        hit[inside] = True
        return list(map(bool, hit))

    def overlapping(self, rows: Sequence[tuple[str, Sequence[TaskRecord]]]) -> list[list[bool]]:
        """For each context with its rows, which rows share a run with an item or are a short one."""
        contexts = [words(text) for text, _ in rows]
        questions = [[words(record.question) for record in records] for _, records in rows]
        asked = [
            [*question, *chain.from_iterable(map(words, (*record.options, record.rationale or "", record.answer)))]
            for (_, records), asked_words in zip(rows, questions, strict=True)
            for record, question in zip(records, asked_words, strict=True)
        ]
        bad_contexts, bad_rows = self.found(contexts), iter(self.found(asked))
        return [
            [next(bad_rows) or bad or " ".join(context) in self.short or " ".join(q) in self.short for q in questioned]
            for context, bad, questioned in zip(contexts, bad_contexts, questions, strict=True)
        ]


def read_items(files: Iterable[str]) -> TestItems:
    """The test items in JSON-lines files, plain or packed. Raises InputError for a file that is missing or no JSON."""
    return index(text for file in files for row in _rows(file) for text in _texts(row))


def index(texts: Iterable[str]) -> TestItems:
    """The index over the texts of test items."""
    numbers: dict[str, int] = {}
    short: set[str] = set()
    rows: list[NDArray[np.int64]] = []
    for text in texts:
        found = words(text)
        if len(found) >= CONTAMINATION_GRAM:
            rows.append(np.array([numbers.setdefault(word, len(numbers) + 1) for word in found], np.int64))
        elif len(found) >= MIN_ITEM_WORDS:
            short.add(" ".join(found))
    values = _scrambled(len(numbers) + 1)
    runs = np.unique(np.concatenate([_sums(row, values) for row in rows])) if rows else np.zeros(0, np.uint64)
    maybe = np.zeros(1 << _FILTER_BITS, np.bool_)
    maybe[runs >> np.uint64(64 - _FILTER_BITS)] = True
    return TestItems(numbers, values, runs, maybe, frozenset(short))


def _scrambled(count: int) -> NDArray[np.uint64]:
    """Numbers that look drawn and are the same everywhere (Steele et al., "Fast splittable generators", 2014)."""
    values = np.arange(1, count + 1, dtype=np.uint64) * _FACTOR
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))


def _sums(numbers: NDArray[np.int64], values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each run of 13 words: the words' values times powers of a factor that tell their places."""
    spelled = values[numbers]
    num_runs = max(0, len(numbers) - CONTAMINATION_GRAM + 1)
    sums = np.zeros(num_runs, np.uint64)
    for place in range(CONTAMINATION_GRAM):
        sums *= _FACTOR
        sums += spelled[place : place + num_runs]
    # The low bits of a sum depend on the low bits of the values alone; fold the high ones in.
    return sums ^ (sums >> np.uint64(32))


def _batches(texts: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    batch: list[Sequence[str]] = []
    num_words = 0
    for text in texts:
        batch.append(text)
        num_words += len(text)
        if num_words >= _BATCH_WORDS:
            yield batch
            batch, num_words = [], 0
    if batch:
        yield batch


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
