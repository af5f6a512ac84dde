"""Texts of one passage in rows that lie far apart, for an order of training that takes rows one after the other.

    passage a, 3 texts    a1 . . . . a2 . . . . a3 . . . .      a third of the rows between one and the next
    passage b, 2 texts    . . b1 . . . . . . b2 . . . . .       and round the end: rows come again in the same order

Each text gets a time, from 0 to 1: that of its passage, and from there on so many equal parts as the passage has texts.
In the order of these times texts go into rows, by stretches of some rows: within one the longest first, each into the
fullest of the last rows that takes it and holds no other text of its passage. Long stretches fill rows, short ones keep
times: the longest with which all texts are as far apart as is asked is taken; where none is, that with the fewest that
are nearer, which are counted.

R rows and a passage of n texts: nothing keeps them more than R / n rows apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt

import numpy as np

from instructpt.assembly.packing import Plan, cut_to_fit, ordered

MAX_STRETCH_ROWS = 32
_GOLDEN = (sqrt(5) - 1) / 2
"""Its multiples, less their whole part, are spread evenly however many there are."""


def place(lengths: np.ndarray, *, capacity: int, passages: np.ndarray, rows_apart: int) -> tuple[Plan, int]:
    """A plan, and how many texts come less than `rows_apart` rows after another one of their passage.

    lengths, passages: [num_documents], int64; passage 0 for a document that may stand anywhere.
    """
    order = np.argsort(_times(passages), kind="stable")
    best: tuple[Plan, int] | None = None
    stretch = MAX_STRETCH_ROWS
    while stretch and (best is None or best[1]):
        plan = _filled(lengths[order], capacity=capacity, passages=passages[order], stretch_rows=stretch)
        plan = replace(plan, documents=order[plan.documents])
        near = num_near(plan, passages, rows_apart=rows_apart)
        if best is None or near < best[1]:
            best = plan, near
        stretch //= 2
    assert best is not None
    return best


def num_near(plan: Plan, passages: np.ndarray, *, rows_apart: int) -> int:
    """How many texts come less than so many rows after another one of their passage, row 0 coming after the last."""
    rows = np.repeat(np.arange(plan.num_rows), np.diff(plan.rows))
    known = np.flatnonzero(passages[plan.documents])
    known = known[np.lexsort((rows[known], passages[plan.documents][known]))]
    found, rows, documents = passages[plan.documents][known], rows[known], plan.documents[known]
    if not len(known):
        return 0
    is_last = np.append(found[1:] != found[:-1], True)
    firsts = np.append(0, np.flatnonzero(is_last)[:-1] + 1)
    after = np.arange(1, len(known) + 1)
    after[is_last] = firsts
    gaps = rows[after] - rows + np.where(is_last, plan.num_rows, 0)
    return int(((gaps < rows_apart) & (documents[after] != documents)).sum())


def _times(passages: np.ndarray) -> np.ndarray:
    """Of each document. Passages begin at multiples of the golden section; those of no passage are one each."""
    alone = passages == 0
    keys = np.where(alone, -1 - np.arange(len(passages)), passages)
    _, firsts, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    by_passage = np.argsort(inverse, kind="stable")
    begins = np.cumsum(counts) - counts
    ranks = np.empty(len(passages), np.int64)
    ranks[by_passage] = np.arange(len(passages)) - np.repeat(begins, counts)
    places = np.argsort(np.argsort(firsts, kind="stable"), kind="stable")  # passages by their first document
    times: np.ndarray = (places[inverse] * _GOLDEN + ranks / counts[inverse]) % 1
    return times


@dataclass(slots=True)
class _Open:
    """A row that may take more."""

    number: int
    free: int
    passages: set[int]


def _filled(lengths: np.ndarray, *, capacity: int, passages: np.ndarray, stretch_rows: int) -> Plan:
    """Documents in rows, in the order given but for what a stretch may change."""
    documents, starts, sizes = cut_to_fit(lengths, capacity)
    rows = np.empty(len(sizes), np.int64)
    open_rows: list[_Open] = []
    num_rows = 0
    for pieces in _stretches(sizes, most=stretch_rows * capacity):
        for piece in pieces[np.argsort(-sizes[pieces], kind="stable")].tolist():
            size, passage = int(sizes[piece]), int(passages[documents[piece]])
            fitting = [row for row in open_rows if row.free >= size and passage not in row.passages]
            if fitting:
                row = min(fitting, key=lambda one: one.free)
            else:
                row = _Open(num_rows, capacity, set())
                num_rows += 1
                open_rows = [*open_rows[-stretch_rows + 1 :], row] if stretch_rows > 1 else [row]
            row.free -= size
            row.passages |= {passage} - {0}
            rows[piece] = row.number
    return ordered(capacity, documents, starts, sizes, rows)


def _stretches(sizes: np.ndarray, *, most: int) -> Iterator[np.ndarray]:
    """Pieces in line, so many tokens at a time."""
    bounds = np.searchsorted(np.cumsum(sizes) - sizes, np.arange(0, int(sizes.sum()) + most, most))
    for first, stop in pairwise(bounds.tolist()):
        yield np.arange(first, stop)
