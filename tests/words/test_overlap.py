"""The measure of what two texts share."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.words.overlap import (
    exact_match,
    f1,
    grams,
    is_span,
    located_words,
    looks_extractive,
    share_found,
    supported,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The 2nd Battle of Ypres (1915)!", ["the", "2nd", "battle", "of", "ypres", "1915"]),
        ("It cost $3.5m, i.e. 1,000 times more.", ["it", "cost", "3.5m", "i.e", "1,000", "times", "more"]),
        ("snake_case", ["snake", "case"]),
        ("Straße", ["strasse"]),
        ("東京は日本の首都", list("東京は日本の首都")),
        ("", []),
        ("?!", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, expected: list[str]) -> None:
    assert words(text) == expected


TEXTS = st.text() | st.text(
    "aé\u0301\u0308ßﬁ½'.,: \t\u3000橋กिक\u094dक\u0650\u05b7ب각\u1100\u1161\u11a8ｶﾞ\u0bc6\u0bbeİ\u0345"
)


@given(TEXTS)
def test_words_with_places_are_the_same_words(text: str) -> None:
    found = located_words(text)
    assert [word.word for word in found] == words(text)
    for word in found:
        assert 0 <= word.start < word.stop <= len(text)
        assert word.word in unicodedata.normalize("NFKC", text[word.start : word.stop]).casefold()


def test_articles_and_case_do_not_make_an_answer_wrong() -> None:
    assert exact_match("The Eiffel Tower.", "eiffel tower")
    assert f1("the eiffel tower", "Eiffel Tower") == 1
    assert f1("the tower of London", "London tower") == pytest.approx(0.8)
    assert f1("", "yes") == 0
    assert f1("the", "a") == 1


def test_a_span_stands_in_a_row() -> None:
    text = words("He said: the ship left Hull on 3 May 1841.")
    assert is_span("Hull on 3 May", text)
    assert is_span("1841", text)
    assert not is_span("Hull 3 May", text)
    assert not is_span("ship left Hull on 3 May 1841 again", text)
    assert not is_span("...", text)
    assert share_found("Hull 3 June", text) == pytest.approx(2 / 3)


def test_grams_are_all_runs_of_words() -> None:
    assert list(grams("one two three four", 3)) == ["one two three", "two three four"]
    assert list(grams("one two", 3)) == []


@given(st.text(max_size=60), st.text(max_size=20))
def test_measures_keep_their_bounds(text: str, answer: str) -> None:
    assert is_span(answer, words(answer)) == bool(words(answer))
    assert 0 <= share_found(answer, words(text)) <= 1
    assert f1(answer, answer) == 1
    assert f1(answer, text) == pytest.approx(f1(text, answer))


@pytest.mark.parametrize(
    ("answer", "extractive"),
    [
        ("Hull on 3 May 1841", True),
        ("Hull on 3 May 1841, at dawn", False),
        ("No.", False),
        ("Yes, it did", False),
        ("true", False),
        ("Norway", True),
        ("Intervention: placebo\nComparator: baseline", False),
        ("at 10:30", True),
        ("鹭在水中", True),
        ("鹭在水中等待鱼", False),
        ("...", False),
    ],
)
def test_short_answers_look_as_if_taken_from_the_text(answer: str, extractive: bool) -> None:
    assert looks_extractive(answer, ()) == extractive
    assert not looks_extractive(answer, (answer, "another"))


def test_an_answer_is_supported_where_nearly_all_of_it_stands_in_the_text() -> None:
    text = words("He said: the ship left Hull on 3 May 1841, and its crew were sure of a calm passage.")
    assert supported("The ship left Hull", text)
    assert supported("the crew of the ship", text)
    assert supported("The crew were sure they left Hull", text), "one of six words may be another"
    assert not supported("on 3 June", text), "one of three may not"
    assert not supported("Norway", text)
    assert not supported("?", text)


def test_vowel_signs_and_points_are_part_of_their_word() -> None:
    assert words("हिन्दी में नदी") == ["हिन्दी", "में", "नदी"]
    assert words("حُفر الميناء.") == ["حُفر", "الميناء"]
    assert words("𠀀𠀁好") == ["𠀀", "𠀁", "好"]
