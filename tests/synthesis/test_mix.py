"""What a user asks for, and what each passage is asked for because of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.errors import RecipeError
from instructpt.synthesis.mix import BLOCK_PASSAGES, Mix, draw, parse_mix

KNOWN = ("summarization", "numerical reasoning", "narrative QA", "boolean QA")


def test_weights_become_shares() -> None:
    mix = parse_mix(" summarization = 1, numerical reasoning=2.0 ,narrative QA", known=KNOWN)
    assert mix.shares == (("summarization", 0.25), ("numerical reasoning", 0.5), ("narrative QA", 0.25))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sumarization=1", "no category is called 'sumarization': did you mean 'summarization'?"),
        ("zzz", "no category is called 'zzz': choose from boolean QA, narrative QA, numerical reasoning, summ"),
        ("summarization=many", "weight of 'summarization' is 'many': give a number above 0"),
        ("summarization=0", "is '0': give a number above 0"),
        ("summarization=-1", "is '-1'"),
        ("summarization=nan", "is 'nan'"),
        ("summarization=inf", "is 'inf'"),
        ("summarization=", "is ''"),
        ("summarization=1,summarization=2", "names 'summarization' twice"),
        ("summarization=1,,", "an item without a name"),
        ("", "an item without a name"),
        ("=3", "an item without a name"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        parse_mix(text, known=KNOWN)


def test_names_are_not_judged_where_none_are_known() -> None:
    assert parse_mix("anything=1").shares == (("anything", 1.0),)


MIXES = st.lists(st.integers(1, 40), min_size=1, max_size=12).map(
    lambda weights: parse_mix(",".join(f"c{i}={weight}" for i, weight in enumerate(weights)))
)


@given(MIXES, st.integers(1, 8), st.integers(0, 5), st.integers(0, 3))
def test_a_block_has_what_was_asked_and_each_passage_nearly(mix: Mix, num_pairs: int, seed: int, block: int) -> None:
    rows = range(block * BLOCK_PASSAGES, (block + 1) * BLOCK_PASSAGES)
    drawn = [draw(mix, num_pairs=num_pairs, seed=seed, place=(0, row)) for row in rows]
    total = Counter(name for names in drawn for name in names)
    for name, share in mix.shares:
        assert abs(total[name] - share * num_pairs * BLOCK_PASSAGES) < 1 + 1e-6
        assert all(abs(names.count(name) - share * num_pairs) < 1 + 1e-6 for names in drawn)
    assert all(len(names) == num_pairs for names in drawn)


def test_a_few_passages_are_nearly_even_already() -> None:
    mix = parse_mix("a=1,b=2,c=5")
    for num_rows in (10, 20, 40):
        total = Counter(name for row in range(num_rows) for name in draw(mix, num_pairs=5, seed=0, place=(1, row)))
        for name, share in mix.shares:
            assert abs(total[name] / (5 * num_rows) - share) < 0.05


def test_draws_depend_on_place_and_seed_alone() -> None:
    mix = parse_mix("a=1,b=2,c=3")
    drawn = [draw(mix, num_pairs=5, seed=3, place=(0, row)) for row in range(200)]
    assert drawn == [draw(mix, num_pairs=5, seed=3, place=(0, row)) for row in range(200)]
    assert drawn != [draw(mix, num_pairs=5, seed=4, place=(0, row)) for row in range(200)]
    assert drawn != [draw(mix, num_pairs=5, seed=3, place=(1, row)) for row in range(200)]
    assert len(set(drawn)) > 30, "order and company change"
    # What is on users' disks was asked for like this: it must never change.
    assert drawn[:2] == [("c", "c", "b", "c", "b"), ("b", "c", "b", "a", "c")]


def test_all_categories_meet_one_another() -> None:
    mix = parse_mix(",".join(f"c{i}" for i in range(20)))
    drawn = [draw(mix, num_pairs=4, seed=0, place=(0, row)) for row in range(2_000)]
    met = {frozenset((a, b)) for names in drawn for a in names for b in names if a != b}
    assert len(met) > 0.95 * 20 * 19 / 2


def test_no_pairs_are_a_mistake() -> None:
    with pytest.raises(RecipeError, match="0 pairs a passage"):
        draw(parse_mix("a"), num_pairs=0, seed=0, place=(0, 0))
