"""What a user relies on in the examples that a synthesizer is tuned on: one source a group, filled, nothing lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from task_rows import converted, row

from instructpt.collection.stages import group_shots
from instructpt.records import Shot
from instructpt.report.collection import SetCount, count_sets


def some_shots(number: int) -> list[Shot]:
    records = [row("moods" if i % 3 else "stories", f"Text {i}.", question=f"{i}?") for i in range(number)]
    return converted(records)[0]


def test_groups_are_of_one_source_full_and_the_same_again() -> None:
    shots = some_shots(50)
    groups = list(group_shots(shots, num_shots=4, seed=1))
    assert groups == list(group_shots(shots, num_shots=4, seed=1))
    assert groups != list(group_shots(shots, num_shots=4, seed=2))
    assert len({group.id for group in groups}) == len(groups)
    for group in groups:
        assert len({shot.document.source for shot in group.shots}) == 1
        assert [shot.follows for shot in group.shots] == list(range(len(group.shots)))
    assert sorted(len(group.shots) for group in groups) == [1, 1] + [4] * 12


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(5, 20), st.none() | st.integers(1, 3))
def test_groups_are_filled_up_to_their_capacity(sizes: list[int], capacity: int, num_shots: int | None) -> None:
    shots = some_shots(len(sizes))
    size_of = {shot.document.id: size for shot, size in zip(shots, sizes, strict=True)}

    def costs(members: Sequence[Shot]) -> list[int]:
        return [size_of[shot.document.id] for shot in members]

    groups = list(group_shots(shots, capacity=capacity, costs=costs, num_shots=num_shots, seed=1))
    assert Counter(shot.document.id for group in groups for shot in group.shots) == dict.fromkeys(size_of, 1)
    for group in groups:
        assert sum(costs(group.shots)) <= capacity or len(group.shots) == 1
        assert len(group.shots) <= (num_shots or len(shots))


def test_sets_are_counted_by_context_and_pair() -> None:
    records = [
        row(question="a", answer="b"),
        row(question="cc", answer="d"),
        row("moods", question="", answer="calm", options=("calm", "angry")),
        row("unknown", "Text.", question="e", answer="f"),
    ]
    shots, _ = converted(records)
    question = next(pair.question for shot in shots for pair in shot.pairs if pair.options)
    counts, total = count_sets(group_shots(shots, num_shots=1, seed=1), vocabulary=None)
    context, asked = len("A fox met a crow.") / 4, len(f"{question}\ncalm\nangry\ncalm") / 4
    assert counts == {
        "unknown": SetCount(1, 1, len("Text.e\nf") / 4, {0}),
        "moods": SetCount(1, 1, context + asked, {1}),
        "stories": SetCount(1, 2, context + len("a\nbcc\nd") / 4, {0}),
    }
    assert total == sum(count.tokens for count in counts.values()) - context, "two sets share a context"
