"""What a user relies on when a context is too long: it is cut where a reader would, and answers stay inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rows import converted, row

from instructpt.collection.windows import assign, cut, in_characters
from instructpt.words.evidence import sentence_starts

STORY = (
    "A fox met a crow on a hill. The crow held a piece of cheese. It said nothing at all.\n\n"
    "The fox praised its voice. At last the crow sang, and the cheese fell down."
)


def windows(text: str, limit: int) -> list[str] | None:
    [found] = cut([text], limit=limit, lengths=lambda texts: list(map(len, texts)), sentence_starts=sentence_starts)
    return found


def test_a_window_ends_where_a_paragraph_does_else_where_a_sentence_does() -> None:
    assert windows(STORY, 120) == STORY.split("\n\n")
    assert windows(STORY, 60) == [
        "A fox met a crow on a hill.",
        "The crow held a piece of cheese. It said nothing at all.",
        "The fox praised its voice.",
        "At last the crow sang, and the cheese fell down.",
    ]


def test_lines_serve_where_sentences_do_not() -> None:
    assert windows("ann : where is it\nbo : over there\nann : thanks", 36) == [
        "ann : where is it\nbo : over there",
        "ann : thanks",
    ]


@pytest.mark.parametrize(
    "text", ["word " * 30, "A sentence. " + "word " * 30, "| Year | Cup |\n| 2009. It | Ann |\n| 2010 | Bo |"]
)
def test_what_cannot_be_cut_is_dropped_and_counted(text: str) -> None:
    assert windows(text, 40) is None
    shots, reasons = converted([row(context=text)] * 2, in_characters(context=40, shot=400))
    assert shots == []
    assert reasons == {"context_too_long": 2}


@given(st.text(alphabet="aB .!?\n|", max_size=120), st.integers(1, 40))
def test_windows_hold_the_text_in_order(text: str, limit: int) -> None:
    found = windows(text, limit)
    if found is not None:
        assert "".join("".join(found).split()) == "".join(text.split())
        assert all(len(window) <= limit for window in found)


def test_pairs_go_where_their_answer_is() -> None:
    first, second = STORY.split("\n\n")
    records = [
        row(question="What did the crow hold?", answer="a piece of cheese"),
        row(question="What fell down?", answer="the cheese"),
        row(question="Why did the crow sing?", answer="the fox praised the voice that it had"),
        row(question="Where did they meet?", answer="On the moon"),
        row(question="Did the fox praise its voice?", answer="yes", options=("yes", "no")),
        row(question="Why?", answer="vanity", rationale="It said nothing at all.", options=("vanity", "age")),
        row(question="Whose is this?", answer="mine", options=("mine", "yours")),
        row(question="", answer="vanity"),
    ]
    kinds = ["span", "span", "free", "span", "label", "label", "label", "label"]
    assert assign(records, [first, second], kinds) == [0, 1, 1, None, 1, 0, None, 0]  # type: ignore[arg-type]


def test_no_pair_goes_to_a_window_that_lacks_a_name_in_its_question() -> None:
    windows = ["Ada wrote the first program in 1843.", "She died in 1852, and Babbage lived on until 1871."]
    questions = ["When did Ada die?", "When did Babbage die?", "Until when did Babbage live on?", "When did Byron die?"]
    answers = ["1852", "1871", "1871", "1852"]
    records = [row(question=asked, answer=said) for asked, said in zip(questions, answers, strict=True)]
    assert assign(records, windows, ["span"] * 4) == [None, 1, 1, 1]


def test_split_contexts_are_shots_of_their_own_and_the_rest_is_counted() -> None:
    first, second = STORY.split("\n\n")
    records = [
        row(context=STORY, question="What did the crow hold?", answer="a piece of cheese"),
        row(context=STORY, question="Whose voice was praised?", answer="its voice"),
        row(context=STORY, question="Where did they meet?", answer="On the moon"),
        row("moods", context=STORY, question="", answer="calm", options=("calm", "angry")),
    ]
    shots, reasons = converted(records, in_characters(context=120, shot=400))
    assert {shot.document.text: sorted(pair.answer for pair in shot.pairs) for shot in shots} == {
        first: ["a piece of cheese", "calm"],
        second: ["its voice"],
    }
    assert len({shot.document.id for shot in shots}) == 2
    assert reasons == {"answer_outside_split": 1}
