"""What a user relies on when groups of tasks are balanced: shares move as asked, and every pair is accounted for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rows import CATALOG, converted, row

from instructpt.collection.balance import MAX_COPIES, balance, parse_weights
from instructpt.collection.stages import group_shots
from instructpt.errors import RecipeError
from instructpt.records import Shot


def shots_of(**sizes: int) -> list[Shot]:
    records = [
        row(name, f"Text {i} of {name}.", question=f"q{j}", options=("a fox", "a crow"))
        for name, size in sizes.items()
        for i in range(size)
        for j in range(1 + i % 3)
    ]
    return converted(records)[0]


def groups_of(shots: list[Shot]) -> Counter[str]:
    return Counter(CATALOG.entries[shot.document.source].group for shot in shots)


def test_by_default_nothing_changes() -> None:
    shots = shots_of(stories=5, moods=9)
    balanced = balance(shots, catalog=CATALOG, seed=1)
    assert (balanced.shots, balanced.rejects, balanced.num_copies) == (shots, [], 0)


def test_equal_groups_are_equal_and_as_many_as_before() -> None:
    balanced = balance(shots_of(stories=30, tales=30, moods=120, roles=60), catalog=CATALOG, seed=1, exponent=0)
    assert groups_of(balanced.shots) == {"reading": 80, "opinion": 80, "roles": 80}


def test_a_small_group_is_repeated_no_more_than_four_times() -> None:
    balanced = balance(shots_of(stories=2, moods=98), catalog=CATALOG, seed=1, exponent=0)
    assert groups_of(balanced.shots) == {"reading": 2 * MAX_COPIES, "opinion": 92}
    assert balanced.num_copies == 6


def test_weights_move_shares_by_group_and_by_category() -> None:
    shots = shots_of(stories=50, tales=50, moods=100)
    by_group = balance(shots, catalog=CATALOG, seed=1, weights="opinion=3")
    assert groups_of(by_group.shots) == {"reading": 50, "opinion": 150}
    by_category = balance(shots, catalog=CATALOG, seed=1, weights="retelling=0, sentiment=1")
    assert Counter(shot.document.source for shot in by_category.shots) == {"stories": 67, "moods": 133}


def test_contexts_with_many_pairs_can_be_taken_more_often() -> None:
    shots = shots_of(stories=90)
    balanced = balance(shots, catalog=CATALOG, seed=1, many_pairs_weight=2.0)
    assert len(balanced.shots) == 90
    counts = Counter(len(shot.pairs) for shot in balanced.shots)
    assert counts[3] == counts[1] + counts[2], "a third of the contexts, twice as often as the others"
    with pytest.raises(RecipeError, match="many_pairs_weight is 0: give a number above 0"):
        balance(shots, catalog=CATALOG, seed=1, many_pairs_weight=0)


def test_the_fullest_contexts_stay() -> None:
    balanced = balance(shots_of(stories=90, moods=30), catalog=CATALOG, seed=1, exponent=0)
    kept = [len(shot.pairs) for shot in balanced.shots if shot.document.source == "stories"]
    assert Counter(kept) == {3: 30, 2: 30}
    assert len(balanced.rejects) == 30
    assert {reject.reason for reject in balanced.rejects} == {"over_balance"}


SIZES = st.dictionaries(st.sampled_from(["stories", "tales", "moods", "roles"]), st.integers(1, 20), min_size=1)


@given(SIZES, st.floats(0, 1), st.sampled_from(["", "reading=2", "reading=0", "sentiment=0.1, roles=5"]))
def test_pairs_are_kept_or_counted(sizes: dict[str, int], exponent: float, weights: str) -> None:
    shots = shots_of(**sizes)
    balanced = balance(shots, catalog=CATALOG, seed=1, exponent=exponent, weights=weights)
    assert balanced == balance(shots, catalog=CATALOG, seed=1, exponent=exponent, weights=weights)
    copies = Counter(shot.document.id for shot in balanced.shots)
    assert max(copies.values(), default=0) <= MAX_COPIES
    assert balanced.num_copies == len(balanced.shots) - len(copies)
    num_pairs = sum(len(shot.pairs) for shot in shots)
    assert sum(len(shot.pairs) for shot in shots if shot.document.id in copies) + len(balanced.rejects) == num_pairs
    if weights != "reading=0":
        assert abs(len(balanced.shots) - len(shots)) <= len(sizes)


def test_a_text_is_never_twice_in_one_group() -> None:
    balanced = balance(shots_of(stories=3, moods=97), catalog=CATALOG, seed=1, exponent=0)
    groups = list(group_shots(balanced.shots, num_shots=3, seed=1))
    assert sum(len(group.shots) for group in groups) == len(balanced.shots)
    for group in groups:
        assert len({shot.document.id for shot in group.shots}) == len(group.shots)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "readin=2"}, "names 'readin', no category or group: did you mean 'reading'"),
        ({"weights": "reading"}, "names 'reading'|write name=number"),
        ({"weights": "reading=much"}, "'reading=much': write name=number"),
        ({"weights": "reading=-1"}, "'reading=-1': write name=number"),
        ({"exponent": 2.0}, "balance is 2.0: give 0"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        balance([], catalog=CATALOG, seed=1, **settings)  # type: ignore[arg-type]


def test_weights_are_read_with_blanks_and_without() -> None:
    assert parse_weights(" narrative QA = 2,opinion=0.5, ", catalog=CATALOG) == {"narrative QA": 2.0, "opinion": 0.5}
