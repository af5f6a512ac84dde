"""Texts of one passage lie as many rows apart as is asked, where that can be kept; where not, that is counted."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.assembly.packing import Plan
from instructpt.assembly.spacing import place
from instructpt.seeds import rng

DOCUMENTS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 6)), max_size=60)


def rows_of(plan: Plan) -> dict[int, set[int]]:
    """Document -> the rows that hold a piece of it."""
    found: dict[int, set[int]] = {}
    for row, (first, stop) in enumerate(zip(plan.rows, plan.rows[1:], strict=False)):
        for document in plan.documents[first:stop].tolist():
            found.setdefault(document, set()).add(row)
    return found


@given(documents=DOCUMENTS, capacity=st.integers(1, 40), rows_apart=st.integers(2, 12))
def test_every_token_is_placed_once_and_what_is_too_near_is_counted(
    documents: list[tuple[int, int]], capacity: int, rows_apart: int
) -> None:
    lengths, passages = (np.array([pair[side] for pair in documents], np.int64) for side in (0, 1))
    plan, num_near = place(lengths, capacity=capacity, passages=passages, rows_apart=rows_apart)
    placed = sorted(
        (document, token)
        for document, start, length in zip(plan.documents, plan.starts, plan.lengths, strict=True)
        for token in range(start, start + length)
    )
    assert placed == [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    used = [plan.lengths[first:stop].sum() for first, stop in zip(plan.rows, plan.rows[1:], strict=False)]
    assert all(1 <= tokens <= capacity for tokens in used)
    rows = rows_of(plan)
    pairs = [
        (a, b)
        for one, other in permutations(range(len(documents)), 2)
        if passages[one] == passages[other] != 0
        for a in rows[one]
        for b in rows[other]
    ]
    assert all(a != b for a, b in pairs), "two texts of one passage share a row"
    assert bool(num_near) == any((b - a) % plan.num_rows < rows_apart for a, b in pairs)


@pytest.mark.parametrize(("capacity", "rows_apart", "fill"), [(512, 8, 0.98), (512, 16, 0.97), (2048, 4, 0.97)])
def test_with_many_passages_all_lie_apart_and_rows_stay_full(capacity: int, rows_apart: int, fill: float) -> None:
    stream = rng(0, "pairs")
    lengths = np.array([120 + stream.randrange(200) if i % 6 == 0 else 15 + stream.randrange(40) for i in range(1440)])
    plan, num_near = place(lengths, capacity=capacity, passages=np.arange(1440) // 6 + 1, rows_apart=rows_apart)
    assert num_near == 0
    assert plan.fill > fill


def test_what_cannot_be_kept_is_counted() -> None:
    """Three texts of a passage in a round of six rows lie two apart."""
    lengths = np.full(6, 8)
    passages = np.array([1, 1, 1, 2, 2, 2])
    assert place(lengths, capacity=8, passages=passages, rows_apart=2)[1] == 0
    assert place(lengths, capacity=8, passages=passages, rows_apart=3)[1] == 6
