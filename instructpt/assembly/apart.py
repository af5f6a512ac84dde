"""Texts of one passage in different rows: a plan, and then exchanges of pieces until no two share one.

    row 0    [a b c1 c2]    c1 and c2 are pairs of one passage       row 0    [a b c1 e]
    row 1    [d e f]        e is as long as c2                       row 1    [d c2 f]

Pieces of one length change places, so that rows stay as full as they were. Where there is none to change with, a piece
goes to a row with room for it, at last to a new one. Facts that are read in one row with their passage are not
remembered as well as facts that are met again and again (Physics of language models 3.1, arXiv 2309.14316).

Steps are not kept apart here: rows come in an order that is arithmetic and knows no texts (`mixture`). Of R rows, B a
step, another text of a passage falls into the same step with a chance of about B / R. Where so many rows are to lie
between them, `spacing` places texts, and rows come in their own order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructpt.assembly import packing
from instructpt.assembly.packing import Plan
from instructpt.errors import RecipeError

_TRIES = 256
"""Pieces, and rows with room, that are tried for a piece that must move."""


def place(lengths: np.ndarray | Sequence[int], *, capacity: int, policy: str, passages: np.ndarray) -> Plan:
    """As `packing.place`, with different documents of one passage in different rows.

    passages: [num_documents], int64, 0 for a document that may stand anywhere. Pieces of one document may share a row.
    Raises RecipeError for an unknown policy, a capacity below 1, and for `concat`, which keeps documents in line.
    """
    if policy == "concat":
        raise RecipeError("pairs are to stand apart from their passage, and concat keeps texts in line: take best-fit")
    order = _one_by_one(passages)
    plan = packing.place(np.asarray(lengths, np.int64)[order], capacity=capacity, policy=policy)
    return _apart(replace(plan, documents=order[plan.documents]), passages)


def _one_by_one(passages: np.ndarray) -> np.ndarray:
    """The documents, of each passage the first one, then of each the second...: documents of one passage and one length
    are then rarely neighbours in a plan."""
    by_passage = np.argsort(passages, kind="stable")
    sorted_passages = passages[by_passage]
    is_first = np.diff(sorted_passages, prepend=sorted_passages[:1] - 1) != 0
    firsts = np.flatnonzero(is_first)
    ranks = np.empty(len(passages), np.int64)
    ranks[by_passage] = np.arange(len(passages)) - np.repeat(firsts, np.diff(firsts, append=len(passages)))
    ranks[passages == 0] = 0
    return np.argsort(ranks, kind="stable")


@dataclass(slots=True)
class _Rows:
    """A plan while its pieces change places. A place is a piece's index in the plan."""

    plan: Plan
    passages: np.ndarray
    documents: np.ndarray
    starts: np.ndarray
    is_out: np.ndarray
    """[num_pieces], the pieces that were taken out of their row."""

    def clashes(self, document: int, row: int, *, but: int = -1) -> bool:
        """Whether a row holds another document of this one's passage, the piece at `but` aside."""
        passage = self.passages[document]
        if passage == 0:
            return False
        here = np.arange(self.plan.rows[row], self.plan.rows[row + 1])
        others = self.documents[here]
        return bool(
            ((self.passages[others] == passage) & (others != document) & (here != but) & ~self.is_out[here]).any()
        )


def _apart(plan: Plan, passages: np.ndarray) -> Plan:
    rows = _Rows(plan, passages, plan.documents.copy(), plan.starts.copy(), np.zeros(len(plan.documents), bool))
    row_of = np.repeat(np.arange(plan.num_rows), np.diff(plan.rows))
    by_length = np.argsort(plan.lengths, kind="stable")
    sorted_lengths, rank = plan.lengths[by_length], np.argsort(by_length, kind="stable")
    for piece in _second_ones(plan, passages, row_of):
        if not rows.clashes(rows.documents[piece], row_of[piece], but=piece):
            continue
        first, stop = np.searchsorted(sorted_lengths, plan.lengths[piece] + np.array([0, 1])).tolist()
        for step in range(1, min(stop - first, _TRIES + 1)):
            other = by_length[first + (rank[piece] - first + step) % (stop - first)]
            mine, its = rows.documents[piece], rows.documents[other]
            if (
                row_of[other] == row_of[piece]
                or rows.is_out[other]
                or rows.clashes(mine, row_of[other], but=other)
                or rows.clashes(its, row_of[piece], but=piece)
            ):
                continue
            for values in (rows.documents, rows.starts):
                values[[piece, other]] = values[[other, piece]]
            break
        else:
            rows.is_out[piece] = True
    return _placed_again(rows, row_of)


def _second_ones(plan: Plan, passages: np.ndarray, row_of: np.ndarray) -> Iterator[int]:
    """Pieces in whose row a longer piece of their passage stands, or one before them."""
    found = passages[plan.documents]
    order = np.lexsort((-plan.lengths, found, row_of))
    same = (found[order][1:] == found[order][:-1]) & (row_of[order][1:] == row_of[order][:-1]) & (found[order][1:] != 0)
    yield from np.sort(order[1:][same]).tolist()


def _placed_again(rows: _Rows, row_of: np.ndarray) -> Plan:
    """The plan with the pieces that are out in rows that have room for them, the longest first; else in new rows."""
    plan, into = rows.plan, row_of.copy()
    used = np.bincount(row_of, np.where(rows.is_out, 0, plan.lengths), plan.num_rows).astype(np.int64)
    free = plan.capacity - used
    joined: dict[int, list[int]] = {}
    """Row -> passages of the pieces that came to it."""
    out = np.flatnonzero(rows.is_out)
    for piece in out[np.argsort(-plan.lengths[out], kind="stable")].tolist():
        document, length = rows.documents[piece], int(plan.lengths[piece])
        passage = int(rows.passages[document])
        candidates = np.flatnonzero(free >= length)
        candidates = candidates[np.argsort(free[candidates], kind="stable")][:_TRIES]
        chosen = next(
            (
                row
                for row in candidates.tolist()
                if passage not in joined.get(row, ()) and (row >= plan.num_rows or not rows.clashes(document, row))
            ),
            len(free),
        )
        if chosen == len(free):
            free = np.append(free, plan.capacity)
        free[chosen] -= length
        joined.setdefault(chosen, []).append(passage)
        into[piece] = chosen
    kept, numbers = np.unique(into, return_inverse=True)  # a row may have lost all its pieces
    del kept
    return packing.ordered(plan.capacity, rows.documents, rows.starts, plan.lengths, numbers.reshape(-1))
