"""Of many pairs the best are kept: spread over the passage, and those that a second reading agrees with most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.corpus.stages import Read
from instructpt.errors import RecipeError
from instructpt.mining.stages import Mine
from instructpt.records import Document, Pair, Shot
from instructpt.verification.stages import SURPLUS, Best, best

PASSAGE = "The heron waits in the water. It eats fish, frogs and eels. Its nest is made of sticks."


def about(words: str, agreement: float | None) -> Pair:
    begin = PASSAGE.index(words)
    return Pair(f"Which is {words}?", words, span=(begin, begin + len(words)), agreement=agreement)


HERON, WATER, FISH, EELS, STICKS = (
    about(words, agreement)
    for words, agreement in (("heron", 0.9), ("water", 1.0), ("fish", 0.6), ("eels", 0.8), ("sticks", 0.5))
)
SHOT = Shot(Document("1", PASSAGE, "birds"), (HERON, WATER, FISH, EELS, STICKS))


@pytest.mark.parametrize(
    ("most", "kept"),
    [
        (1, (WATER,)),
        (2, (WATER, EELS)),
        (3, (WATER, EELS, STICKS)),  # before a second one about herons, though that agrees more
        (4, (HERON, WATER, EELS, STICKS)),
        (5, SHOT.pairs),
        (9, SHOT.pairs),
    ],
)
def test_every_sentence_has_its_best_pair_before_one_has_two(most: int, kept: tuple[Pair, ...]) -> None:
    chosen = best(SHOT, most=most)
    assert chosen.pairs == kept
    assert [reject.reason for reject in chosen.rejects] == [SURPLUS] * (5 - len(kept))


def test_what_nobody_has_read_again_keeps_its_order() -> None:
    pairs = tuple(Pair(f"Which {number}?", "x") for number in range(4))
    assert best(Shot(SHOT.document, pairs), most=2).pairs == pairs[:2]


@given(
    pairs=st.lists(
        st.builds(
            Pair,
            question=st.text(max_size=5),
            answer=st.text(max_size=5),
            span=st.none() | st.tuples(st.integers(0, len(PASSAGE)), st.integers(0, len(PASSAGE))),
            agreement=st.none() | st.floats(0, 1),
        ),
        max_size=8,
    ),
    most=st.integers(1, 8),
)
def test_nothing_is_lost_and_order_stays(pairs: list[Pair], most: int) -> None:
    chosen = best(Shot(SHOT.document, tuple(pairs)), most=most)
    assert len(chosen.pairs) == min(most, len(pairs))
    assert len(chosen.pairs) + len(chosen.rejects) == len(pairs)
    places = iter(pairs)
    assert all(pair in places for pair in chosen.pairs)


def test_less_than_one_pair_is_refused() -> None:
    groups = Mine(name="mined", passages=Read(name="documents", files=("x.jsonl",)))
    with pytest.raises(RecipeError, match="0 pairs a passage: give at least 1"):
        Best(name="best", groups=groups, pairs=0)
