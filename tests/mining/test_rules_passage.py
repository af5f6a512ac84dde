"""What the rules see of a passage: whole sentences, its title, its headings; nothing broken."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.mining.passage import MAX_SENTENCE_CHARACTERS, read


def sentences(text: str) -> list[str]:
    return [sentence.text for sentence in read(text).sentences]


def test_abbreviations_and_numbers_do_not_end_sentences():
    text = "Dr. Holm paid 3.5 crowns to the U.S. consul in No. 7 Quay Street. It rained, e.g. on Monday."
    assert sentences(text) == [
        "Dr. Holm paid 3.5 crowns to the U.S. consul in No. 7 Quay Street.",
        "It rained, e.g. on Monday.",
    ]


def test_a_sentence_knows_where_it_stands():
    text = "The Mill\n\n(a) The rate  fell [3, 5-7] in both groups .\nLater work (Table 2) disagreed\twith that.[8] So?"
    assert [(sentence.text, text[slice(*sentence.span)]) for sentence in read(text).sentences] == [
        ("The rate fell in both groups.", "(a) The rate  fell [3, 5-7] in both groups ."),
        ("Later work disagreed with that.", "Later work (Table 2) disagreed\twith that."),
    ]


def test_a_sentence_that_leans_on_the_one_before_is_understood_with_it():
    text = "The old mill burnt. It was rebuilt in 1870 by the guild. It never ran at night.\n\nIt stands by a river."
    found = {sentence.text: lead for lead, sentence in read(text).statements(random.Random(0))}
    assert found == {"The old mill burnt.": "", "It was rebuilt in 1870 by the guild.": "The old mill burnt. "}


def test_citations_are_taken_out():
    text = "The rate fell [3, 5-7] in both groups (Table 2). Later work disagreed with that.[8] The cause is unknown."
    assert sentences(text) == [
        "The rate fell in both groups.",
        "Later work disagreed with that.",
        "The cause is unknown.",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        "and so the river rose again.",
        "The river rose (as it does every spring.",
        'The miller said, "The river will rise.',
        "Key points - The river rises - The mill stops.",
        "The river rose and the mill stopped",
        "See <b>the river</b> and the mill for more.",
        "The page is at http://example.org and it is good.",
        "Too short.",
        "The " + "very " * 100 + "long river rose.",
        "The row 12 34 56 78 90 11 22 33 44 55 66 77 is a table.",
        "We sold the mill to them They then closed the road.",
    ],
)
def test_broken_sentences_are_left_out(broken):
    assert sentences(broken) == []


def test_a_sentence_inside_speech_is_marked():
    view = read(
        '"Run to the mill. The river is rising fast. Do not wait for me," he said.\n\nThe river did rise that night.'
    )
    assert [(s.text, s.quoted) for s in view.sentences] == [
        ("The river is rising fast.", True),
        ("The river did rise that night.", False),
    ]


def test_items_that_complete_a_line_are_no_sentences():
    text = "(a) The miller shall:\n(1) The keys of the mill.\n(2) A lamp for the night.\n"
    text += "(b) The lamp of the mill shall burn all night."
    assert sentences(text) == ["The lamp of the mill shall burn all night."]


def test_hard_wrapped_lines_are_joined():
    text = "The mill stands by the river and its wheel turns the whole\n"
    text += "day long, until the grain of the Arvelund farms is ground.\n"
    assert sentences(text) == [" ".join(text.split())]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("The Old Mill\n\nThe mill stands by the river.", "The Old Mill"),
        ("The Old Mill\nThe mill stands by the river.", None),
        ("The mill is old.\n\nThe mill stands by the river.", None),
        ("Chapter IV. The Flood\n\nThe river rose.", "The Flood"),
        ("\u00a7 12-3.04. Duties of the miller.\n(a) The miller shall grind.", "Duties of the miller"),
        ("The mill stands by the river.", None),
        ("", None),
    ],
)
def test_titles(text, title):
    assert read(text).title == title


def test_headings_are_no_sentences():
    view = read("The Old Mill\n\nThe mill stands by the river.\n\nThe flood\nThe river rose in the spring.\n")
    assert view.headings == ("The flood",)
    assert [s.text for s in view.sentences] == ["The mill stands by the river.", "The river rose in the spring."]


def test_names_are_found_inside_sentences():
    view = read("The mill of Arvelund was sold to Clara Holm's brother in March. In Tessing, Jon Brekke laughed.")
    assert view.names == ("Arvelund", "Clara Holm", "Tessing", "Jon Brekke")


@given(st.text(alphabet='ab A.!?\n"()-1\u201c\u201d', max_size=300))
def test_any_text_is_read(text):
    for sentence in read(text).sentences:
        assert 0 < len(sentence.text) <= MAX_SENTENCE_CHARACTERS
        assert sentence.text == " ".join(sentence.text.split())
        start, stop = sentence.span
        assert text[start:stop].split()[-1].endswith(sentence.text.split()[-1])
