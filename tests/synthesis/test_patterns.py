from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.synthesis.markup import literal, text_without

SETS = [["</", "<Q", "<A"], ["<Q", "\n"], ["<Q", "\nab", "\nba"], ["abb", "acc", "< b"], ["x-]y", "x^"], ["\\n"]]


@pytest.mark.parametrize("strings", SETS)
@given(text=st.text(st.sampled_from("abcxyQA</\\n^-] \n\t\u3000é"), max_size=9))
def test_a_text_is_any_that_begins_with_no_blank_and_holds_none_of_the_strings(strings: list[str], text: str) -> None:
    lines = [string for string in strings if string.startswith("\n") and len(string) > 1]
    held = any(string in text for string in strings) or any(f"\n{text}".startswith(line) for line in lines)
    expected = text != "" and not text[0].isspace() and not held
    assert bool(re.fullmatch(text_without(strings), text)) == expected


@pytest.mark.parametrize("strings", SETS)
@given(text=st.text(st.sampled_from("abcxyQA</\\n^-] \n"), max_size=12))
def test_a_bound_only_takes_texts_away_and_leaves_the_short_ones(strings: list[str], text: str) -> None:
    free, bounded = (re.fullmatch(text_without(strings, most=most), text) is not None for most in (None, 5))
    assert free or not bounded
    assert bounded or not free or len(text) > 5


def test_a_bound_ends_a_loop() -> None:
    assert re.fullmatch(text_without(["<"], most=5), "loopin")
    assert not re.fullmatch(text_without(["<"], most=5), "looping")
    assert not re.fullmatch(text_without(["<", "\nab"], most=5), "a\n" * 7)


@given(st.text())
def test_a_literal_is_its_text_alone(text: str) -> None:
    assert re.fullmatch(literal(text), text)
    assert not re.fullmatch(literal(text), f"{text}x")


def test_strings_that_overlap_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="overlap"):
        text_without(["<Q", "a<"])
