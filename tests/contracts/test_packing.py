"""Every packing policy: each token in exactly one row, rows full, the same plan every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.assembly.packing import POLICIES, Plan, place
from instructpt.errors import RecipeError
from instructpt.seeds import rng

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


def tokens_of(plan: Plan) -> list[tuple[int, int]]:
    """(document, token) of every place that holds one, in the order of the plan."""
    pieces = zip(plan.documents.tolist(), plan.starts.tolist(), plan.lengths.tolist(), strict=True)
    return [(document, token) for document, start, length in pieces for token in range(start, start + length)]


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@given(lengths=LENGTHS, capacity=st.integers(1, 50))
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_no_token_is_lost_or_doubled_and_no_row_too_long(policy: str, lengths: list[int], capacity: int) -> None:
    plan = place(lengths, capacity=capacity, policy=policy)
    assert sorted(tokens_of(plan)) == [(d, token) for d, length in enumerate(lengths) for token in range(length)]
    assert plan.rows[0] == 0
    assert plan.rows[-1] == len(plan.documents)
    for first, stop in zip(plan.rows, plan.rows[1:], strict=False):
        assert 1 <= plan.lengths[first:stop].sum() <= capacity
    assert (plan.lengths >= 1).all()


def test_the_same_lengths_give_the_same_plan(policy: str) -> None:
    lengths = [1 + (i * 7919) % 613 for i in range(2000)]
    first, second = (place(np.array(lengths), capacity=256, policy=policy) for _ in range(2))
    for name in ("documents", "starts", "lengths", "rows"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_rows_are_full(policy: str) -> None:
    stream = rng(0, "lengths")
    lengths = [2 + int(stream.lognormvariate(6.2, 1.0)) for _ in range(20_000)]
    plan = place(lengths, capacity=2048, policy=policy)
    assert plan.num_tokens == sum(lengths)
    assert plan.fill >= 0.999


def test_lengths_that_do_not_go_together_fill_rows_where_cutting_is_allowed() -> None:
    chapters = [1000 + i % 24 for i in range(4000)]
    assert place(chapters, capacity=4096, policy="best-fit").fill < 0.99
    plan = place(chapters, capacity=4096, policy="filled")
    assert plan.fill >= 0.999
    assert (np.bincount(plan.documents) > 1).sum() < 60  # of 4,000


def test_only_documents_longer_than_a_row_are_cut_by_best_fit() -> None:
    stream = rng(1, "lengths")
    lengths = np.array([1 + int(stream.lognormvariate(5, 1.2)) for _ in range(3000)])
    plan = place(lengths, capacity=512, policy="best-fit")
    is_cut = np.bincount(plan.documents) > 1
    assert (is_cut == (lengths > 512)).all()


@given(lengths=st.lists(st.integers(1, 12), max_size=40))
def test_best_fit_uses_as_many_rows_as_when_done_one_by_one(lengths: list[int]) -> None:
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, space in enumerate(spaces) if space >= length]
        if fitting:
            spaces[min(fitting, key=lambda i: spaces[i])] -= length
        else:
            spaces.append(12 - length)
    plan = place(lengths, capacity=12, policy="best-fit")
    used = [int(plan.lengths[a:b].sum()) for a, b in zip(plan.rows, plan.rows[1:], strict=False)]
    assert sorted(used) == sorted(12 - space for space in spaces)


def test_the_drawn_examples() -> None:
    def rows(policy: str) -> list[str]:
        plan = place([9, 5, 4, 3, 2, 1], capacity=8, policy=policy)
        letters = ["abcdef"[document] for document, _ in tokens_of(plan)]
        ends = np.cumsum(np.add.reduceat(plan.lengths, plan.rows[:-1])).tolist()
        return ["".join(letters[a:b]) for a, b in zip([0, *ends], ends, strict=False)]

    assert rows("best-fit") == ["aaaaaaaa", "bbbbbddd", "cccceeaf"]
    assert rows("concat") == ["aaaaaaaa", "abbbbbcc", "ccdddeef"]


def test_nothing_gives_no_rows(policy: str) -> None:
    plan = place([], capacity=8, policy=policy)
    assert (plan.num_rows, plan.num_tokens, plan.fill) == (0, 0, 1.0)


def test_mistakes_are_named() -> None:
    with pytest.raises(RecipeError, match="best-fit, filled, concat"):
        place([1], capacity=8, policy="tight")
    with pytest.raises(RecipeError, match="at least 1"):
        place([1], capacity=0)
