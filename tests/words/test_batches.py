"""Batches of a size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from instructpt.words.batches import batches


@given(st.lists(st.text(max_size=9)), st.integers(1, 20))
def test_all_stay_in_order_and_no_batch_is_larger_than_its_last_item_makes_it(texts: list[str], enough: int) -> None:
    found = list(batches(texts, size=len, enough=enough))
    assert [text for batch in found for text in batch] == texts
    assert all(batch for batch in found)
    for batch in found:
        assert sum(map(len, batch[:-1])) < enough
    for batch in found[:-1]:
        assert sum(map(len, batch)) >= enough


def test_a_batch_is_there_before_the_next_item_is_asked_for() -> None:
    asked = []
    stream = batches((asked.append(number) or "text" for number in range(10)), size=len, enough=8)
    assert (next(stream), asked) == (["text", "text"], [0, 1])
