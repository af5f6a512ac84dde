"""What in a passage may be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.synthesis.spans import MAX_SPAN_WORDS, shares
from instructpt.words.evidence import sentences

JANKA = (
    "Carlo Janka (born 15 October 1986) is a champion ski racer from Switzerland. In 2013 he set a record of 158.77 "
    "km/h on the Haneggschuss, the fastest section of the classic Lauberhorn slope. About 25 to 30 percent of the "
    "racers said that they like it; sixteen [4] were helped by the Mankind Project."
)
GERMAN = "Der Reiher steht im Wasser und wartet. Er frisst Fische und Aale. Das Nest ist aus Zweigen und liegt hoch."


def spans(passage: str, number: int = 9) -> set[str]:
    return {span for share in shares(passage, number) for span in share.spans}


@pytest.mark.parametrize(
    "span",
    [
        "Carlo Janka",
        "15 October 1986",
        "Switzerland",
        "2013",
        "158.77 km",
        "Haneggschuss",
        "the fastest section of the classic Lauberhorn slope",
        "25 to 30 percent",
        "the Mankind Project",
    ],
)
def test_in_english_names_numbers_and_phrases_may_be_asked_for(span: str) -> None:
    assert span in spans(JANKA)


@pytest.mark.parametrize(
    "word",
    ["said", "like", "the", "helped", "Carlo", "October", "15", "1986", "25", "4", "sixteen", "In", "they like it"],
)
def test_words_that_name_nothing_and_halves_of_names_and_numbers_may_not(word: str) -> None:
    assert word in JANKA
    assert word not in spans(JANKA)


def test_a_name_that_begins_a_sentence_is_known_by_its_other_places() -> None:
    assert "Miller" in spans("Miller was in the house, and they were there with Miller for the day.")
    assert "Yesterday" not in spans("Yesterday they were in the house, and they were there with Miller for the day.")


def test_lists_and_lines_are_not_run_together() -> None:
    assert spans("Subjects\n\nNon-smoking males of the town, (1) and (2), were asked in Paris.") == {"Paris"}


@pytest.mark.parametrize(
    ("passage", "asked"),
    [
        ("In 2004 Monterrey hosted it, as they say in Monterrey.", {"2004", "Monterrey"}),
        ("In Paris it is a lack of 11-beta-hydroxylase in 3 of them (Hogan et al. 1983).", {"Paris"}),
        ("Thank you, <UNK>. They saw Mrs. Townsend (born in 1901).", {"Townsend", "1901"}),
        ('He said: "Based on this, there were 8 of us or ten, and we had 30 years."', {"30 years"}),
        (
            "They say that Marfan syndrome causes it, and that it is not there.",
            {"Marfan", "Marfan syndrome", "Marfan syndrome causes"},
        ),
        ("Of course I'll go, and that is the fact, if I'll be there with Ada.", {"Ada"}),
        ("They have diabetes of type II, and that is the fact, or the end of it, in Paris.", {"type II", "Paris"}),
        ("§ 9-115.11. They left the U.S. for Rome.", {"the U.S.", "U.S.", "Rome"}),
    ],
)
def test_parts_of_names_citations_and_marks_are_not_asked_for(passage: str, asked: set[str]) -> None:
    assert spans(passage) == asked


def test_of_a_passage_with_names_or_numbers_these_alone_are_asked_for() -> None:
    assert spans("The racer from the town was helped in Paris.") == {"Paris"}
    assert spans("The racer from the town was helped by the others.") == {"The racer", "the town"}


def test_every_sentence_has_its_turn_before_one_has_a_second() -> None:
    assert [share.part for share in shares(JANKA, 3)] == sentences(JANKA)
    assert [JANKA.index(JANKA[slice(*share.part)]) for share in shares(JANKA, 5)] == [0, 0, 77, 77, 190]


def test_of_more_sentences_than_pairs_those_with_most_names_and_numbers_are_asked_about() -> None:
    passage = f"They were in the house of the town. {JANKA} They went to the house by the road."
    parts = [passage[slice(*share.part)] for share in shares(passage, 2)]
    assert [part.split()[0] for part in parts] == ["Carlo", "In"]


@given(number=st.integers(1, 12))
def test_shares_follow_the_passage_and_none_has_what_another_has(number: int) -> None:
    found = shares(JANKA, number)
    assert 1 <= len(found) <= number
    firsts = [min(JANKA.index(span, share.part[0]) for span in share.spans) for share in found]
    assert firsts == sorted(firsts)
    assert len({span for share in found for span in share.spans}) == sum(len(share.spans) for share in found)


def test_of_a_passage_that_names_nothing_nothing_is_asked() -> None:
    assert shares("And so it was, as they say.", 5) == []
    assert shares(" \n ", 5) == []


def test_in_other_languages_sentences_are_shared_out() -> None:
    first, second, third = (share.spans for share in shares(GERMAN, 3))
    assert "Der Reiher steht im Wasser" in first
    assert {"Fische", "Fische und Aale"} <= {*second}
    assert not {*first, *second} & {"und", "steht im"}
    assert "Zweigen" in third
    assert all(span in GERMAN for span in (*first, *second, *third))
    assert len(shares(GERMAN, 5)) == 5


@given(passage=st.text(max_size=200), number=st.integers(1, 6))
def test_spans_stand_in_the_passage(passage: str, number: int) -> None:
    for share in shares(passage, number):
        assert share.spans
        for span in share.spans:
            assert span in passage[slice(*share.part)]
            assert span == span.strip() != ""


@given(st.lists(st.sampled_from(JANKA.split()), max_size=60).map(" ".join))
def test_spans_are_short(passage: str) -> None:
    for share in shares(f"The racer and the others were there. {passage}", 3):
        assert all(len(span.split()) <= MAX_SPAN_WORDS + 4 for span in share.spans)
