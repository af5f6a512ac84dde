"""Mixtures keep their shares of tokens, visit every row once an epoch, and refuse too much repetition."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from instructpt.assembly.mixture import BLOCK_ROWS, Mixture, plan
from instructpt.errors import RecipeError


@dataclass(frozen=True)
class Sized:
    """Rows of which only the number is known."""

    size: int
    num_tokens: int
    row_tokens: int = 100
    is_in_order: bool = False

    def __len__(self) -> int:
        return self.size


def mixed(sizes: dict[str, int], weights: dict[str, float], num_rows: int, **options: float) -> Mixture:
    sources = {name: Sized(size, size * 100) for name, size in sizes.items()}
    return plan(sources, weights=weights, num_rows=num_rows, seed=7, **{"max_epochs": 1e9, **options})


def test_shares_hold_to_the_row_at_every_block() -> None:
    weights = {"web": 80, "tasks": 15, "code": 5}
    mixture = mixed(dict.fromkeys(weights, 1000), weights, 10_000)
    counts: Counter[str] = Counter()
    for index in range(mixture.num_rows):
        counts[mixture.row(index)[0]] += 1
        if (index + 1) % BLOCK_ROWS == 0 or index + 1 == mixture.num_rows:
            for name, weight in weights.items():
                ahead = counts[name] - (index + 1) * weight / 100
                assert -1 <= ahead < (len(weights) if name == "web" else 1)
    assert {part.name: part.rows for part in mixture.parts} == counts


def test_weights_are_shares_of_tokens_not_of_rows() -> None:
    sources = {"full": Sized(1000, 100_000), "sparse": Sized(1000, 50_000)}
    mixture = plan(sources, weights={"full": 1, "sparse": 1}, num_rows=9000, seed=0, max_epochs=9)
    rows = {part.name: part.rows for part in mixture.parts}
    assert rows == pytest.approx({"full": 3000, "sparse": 6000}, abs=1)


@example(weights=[1, 1, 1], num_rows=257, size=1)
@given(
    weights=st.lists(st.floats(0.01, 50), min_size=1, max_size=20),
    num_rows=st.integers(1, 600),
    size=st.integers(1, 400),
)
def test_every_row_is_seen_as_often_as_any_other_within_one(weights: list[float], num_rows: int, size: int) -> None:
    names = {f"s{i}": weight for i, weight in enumerate(weights)}
    mixture = mixed(dict.fromkeys(names, size), names, num_rows)
    seen = Counter(mixture.row(index) for index in range(num_rows))
    assert seen.total() == num_rows
    for part in mixture.parts:
        visits = [seen[part.name, row] for row in range(size)]
        assert sum(visits) == part.rows
        assert max(visits) - min(visits) <= 1
        assert abs(part.rows - num_rows * names[part.name] / sum(weights)) <= max(1, len(weights))


def test_an_epoch_has_an_order_of_its_own() -> None:
    mixture = mixed({"a": 256}, {"a": 1}, 512)
    first, second = ([mixture.row(i)[1] for i in range(a, a + 256)] for a in (0, 256))
    assert sorted(first) == sorted(second) == list(range(256))
    assert first != second
    assert first != sorted(first)


def test_sources_are_mixed_within_a_block() -> None:
    mixture = mixed({"a": 900, "b": 900}, {"a": 1, "b": 1}, 512)
    names = "".join(mixture.row(i)[0] for i in range(256))
    assert names.count("ab") > 40


def test_the_order_depends_on_the_seed_and_on_no_other_thing() -> None:
    def order(seed: int, names: tuple[str, ...]) -> list[tuple[str, int]]:
        sources = {name: Sized(300, 30_000) for name in names}
        mixture = plan(sources, weights=dict.fromkeys(names, 1.0), num_rows=400, seed=seed, max_epochs=9)
        return [mixture.row(i) for i in range(400)]

    assert order(1, ("a", "b")) == order(1, ("b", "a"))
    assert order(1, ("a", "b")) != order(2, ("a", "b"))
    assert order(1, ("a", "b"))[:3] == [("a", 297), ("a", 216), ("a", 259)]


def test_too_much_repetition_is_refused_with_the_way_out() -> None:
    with pytest.raises(RecipeError, match=r"'tasks' has 100 rows and would be seen 5\.00 times.*at most 800 rows"):
        mixed({"web": 1000, "tasks": 100}, {"web": 1, "tasks": 1}, 1000, max_epochs=4)
    assert mixed({"web": 1000, "tasks": 100}, {"web": 1, "tasks": 1}, 800, max_epochs=4).num_rows == 800


@pytest.mark.parametrize(
    ("sizes", "weights", "num_rows", "message"),
    [
        ({"a": 1}, {"b": 1.0}, 1, "one weight"),
        ({}, {}, 1, "one weight"),
        ({"a": 1}, {"a": 0.0}, 1, "above 0"),
        ({"a": 1}, {"a": float("nan")}, 1, "above 0"),
        ({"a": 0}, {"a": 1.0}, 1, "no rows"),
        ({"a": 1}, {"a": 1.0}, 0, "at least one"),
    ],
)
def test_mistakes_are_named(sizes: dict[str, int], weights: dict[str, float], num_rows: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        mixed(sizes, weights, num_rows)


def test_rows_of_different_lengths_are_refused() -> None:
    sources = {"a": Sized(1, 1, row_tokens=8), "b": Sized(1, 1, row_tokens=16)}
    with pytest.raises(RecipeError, match=r"\[8, 16\] tokens"):
        plan(sources, weights={"a": 1, "b": 1}, num_rows=2, seed=0, max_epochs=9)


@given(size=st.integers(1, 400), weight=st.floats(0.05, 20), seed=st.integers(0, 99))
def test_rows_in_order_are_taken_round_and_round_from_a_row_that_the_seed_draws(
    size: int, weight: float, seed: int
) -> None:
    """So what lies so many rows apart there lies at least as far apart in the run, also from one pass to the next."""
    found = []
    for is_in_order in (True, False):
        sources = {"apart": Sized(size, size * 100, is_in_order=is_in_order), "web": Sized(300, 30_000)}
        mixture = plan(sources, weights={"apart": weight, "web": 1}, num_rows=700, seed=seed, max_epochs=1e9)
        found.append([mixture.row(index) for index in range(700)])
    ours = [row for name, row in found[0] if name == "apart"]
    assert all((second - first) % size == 1 % size for first, second in pairwise(ours))
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    assert [one for one in found[0] if one[0] == "web"] == [one for one in found[1] if one[0] == "web"]
