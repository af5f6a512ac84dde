"""Texts of one passage never share a row, and nothing else about a plan changes for the worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.assembly import packing
from instructpt.assembly.apart import place
from instructpt.errors import RecipeError
from instructpt.seeds import rng

DOCUMENTS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6)), max_size=60)


def check(plan: packing.Plan, lengths: np.ndarray, passages: np.ndarray, capacity: int) -> None:
    placed = sorted(
        (document, token)
        for document, start, length in zip(plan.documents, plan.starts, plan.lengths, strict=True)
        for token in range(start, start + length)
    )
    assert placed == [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    for first, stop in zip(plan.rows, plan.rows[1:], strict=False):
        assert 1 <= plan.lengths[first:stop].sum() <= capacity
        there = np.unique(plan.documents[first:stop])
        known = passages[there][passages[there] != 0]
        assert len(np.unique(known)) == len(known), "two texts of one passage stand in a row"


@given(documents=DOCUMENTS, capacity=st.integers(1, 40), policy=st.sampled_from(["best-fit", "filled"]))
def test_no_row_holds_two_texts_of_a_passage(documents: list[tuple[int, int]], capacity: int, policy: str) -> None:
    lengths = np.array([length for length, _ in documents], np.int64)
    passages = np.array([passage for _, passage in documents], np.int64)
    check(place(lengths, capacity=capacity, policy=policy, passages=passages), lengths, passages, capacity)


def test_rows_stay_full_where_there_are_many_passages() -> None:
    stream = rng(0, "pairs")
    lengths = np.array([120 + stream.randrange(200) if i % 6 == 0 else 15 + stream.randrange(40) for i in range(3000)])
    passages = np.arange(3000) // 6 + 1
    plan = place(lengths, capacity=512, policy="best-fit", passages=passages)
    check(plan, lengths, passages, 512)
    assert plan.num_rows <= packing.place(lengths, capacity=512).num_rows + 1


def test_texts_that_may_stand_anywhere_are_placed_as_before() -> None:
    lengths = np.array([1 + (i * 7919) % 61 for i in range(500)])
    plan = place(lengths, capacity=64, policy="best-fit", passages=np.zeros(500, np.int64))
    assert plan.rows.tolist() == packing.place(lengths, capacity=64).rows.tolist()


def test_a_policy_that_keeps_texts_in_line_is_refused() -> None:
    with pytest.raises(RecipeError, match="concat keeps texts in line"):
        place([3, 3], capacity=8, policy="concat", passages=np.array([1, 1]))
