"""What a user relies on when a set needs mending: texts are found in questions, answers stay true, misfits stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.collection.catalog import load
from instructpt.collection.converters import CONVERTERS, MISCELLANEOUS, unframed
from instructpt.collection.neutral import TaskRecord
from instructpt.words.overlap import is_span, words

RECORD = TaskRecord(dataset="some", context="", question="", answer="", id="1")
TYPES = ("person", "location", MISCELLANEOUS)


def convert(name: str, **fields: Any) -> TaskRecord:
    return CONVERTERS[name](replace(RECORD, **fields))


def test_a_word_problem_becomes_a_story_and_a_question() -> None:
    found = convert("story_and_question", question="Ann has 3 apples. She eats one!  How many are left?", answer="2")
    assert (found.context, found.question, found.answer) == (
        "Ann has 3 apples. She eats one!",
        "How many are left?",
        "2",
    )


@pytest.mark.parametrize("question", ["How many are left?", "Ann has 3 apples. Say how many are left.", ""])
def test_a_problem_without_story_or_question_mark_is_left_as_it_is(question: str) -> None:
    for name in ("story_and_question", "story_and_equation"):
        assert convert(name, question=question) == replace(RECORD, question=question)


@pytest.mark.parametrize(
    ("equation", "rationale"),
    [
        ("X=((71.0-43.0)/7.0)", "(71 - 43) / 7 = 4"),
        ("x = 0.5*8", "0.5 * 8 = 4"),
        ("x=(1+1)*(3-1)", "(1 + 1) * (3 - 1) = 4"),
        ("x=2-(-2)", "2 - (-2) = 4"),
        ("x=3.999", "3.999 = 4"),
        ("x=0.7+0.6", None),
        ("x=2**2", None),
        ("x=4/(1-1)", None),
        ("x=4)(", None),
        ("x=-3+7", "-3 + 7 = 4"),
        ("X-6=52", None),
        ("x+(1.0/x)=3.3333", None),
        ("X=3.6666666666666665-2.5", None),
        (None, None),
    ],
)
def test_an_equation_that_is_already_solved_becomes_the_rationale(equation: str | None, rationale: str | None) -> None:
    found = convert("story_and_equation", question="It was. How many?", answer="4.0", meta={"equation": equation})
    assert (found.context, found.question, found.answer) == ("It was.", "How many?", "4")
    assert found.rationale == rationale


def test_an_exam_question_may_end_without_a_question_mark_but_needs_a_story() -> None:
    found = convert("vignette_and_question", question="A man of 50 falls ill after dinner. The likely cause is:")
    assert (found.context, found.question) == ("A man of 50 falls ill after dinner.", "The likely cause is:")
    numbered = "27. The likely cause of caries is:"
    assert convert("vignette_and_question", question=numbered).question == numbered


def test_a_long_answer_becomes_the_text_where_it_names_its_topic() -> None:
    row: Mapping[str, Any] = {"question": "What is (are) Measles?", "answer": "Measles is a disease of the young."}
    found = convert("text_and_topic", **row, meta={"focus": "Measles"})
    assert (found.context, found.question, found.answer) == ("Measles is a disease of the young.", "", "Measles")
    for meta in ({"focus": "Mumps"}, {"focus": None}, {}):
        assert convert("text_and_topic", **row, meta=meta).context == ""


def test_a_definition_becomes_the_text_and_the_term_its_answer() -> None:
    found = convert("definition_and_term", question="What is it?", answer="An asset.", meta={"term": "Goodwill"})
    assert (found.context, found.question, found.answer) == ("An asset.", "", "Goodwill")
    assert convert("definition_and_term", answer="An asset.").context == ""


def test_the_entity_type_with_the_fewest_mentions_is_asked_for() -> None:
    answer = "person: Ann; Bob; Ann\nlocation: Rome\nmiscellaneous: Latin"
    found = convert("one_entity_type", answer=answer, options=TYPES)
    assert (found.question, found.answer, found.options) == ("location", "Rome", ())
    assert "unanswerable" not in found.meta


def test_mentions_are_listed_once_and_signs_are_none() -> None:
    found = convert("one_entity_type", answer="person: @; Ann; Bob; Ann", options=TYPES)
    assert (found.question, found.answer) == ("person", "Ann; Bob")


@pytest.mark.parametrize("answer", ["none", "miscellaneous: Latin", "person: @\nmiscellaneous: Latin"])
def test_a_text_without_names_makes_an_unanswerable_question_of_an_absent_type(answer: str) -> None:
    records = [replace(RECORD, answer=answer, options=TYPES, id=str(number)) for number in range(20)]
    found = [CONVERTERS["one_entity_type"](record) for record in records]
    assert all(record.answer == "" and record.meta["unanswerable"] for record in found)
    expected = {"location"} if "person" in answer else {"person", "location"}
    assert {record.question for record in found} == expected
    assert found == [CONVERTERS["one_entity_type"](record) for record in records]


def test_a_text_of_whose_types_none_is_absent_is_left_as_it_is() -> None:
    record = replace(RECORD, answer="person: @\nlocation: @", options=TYPES)
    assert CONVERTERS["one_entity_type"](record) == record


@pytest.mark.parametrize(
    ("answer", "bare"),
    [
        ("Heseltine.", "Heseltine"),
        ("poisoning.", "poisoning"),
        ("Denmore, Jr.", "Denmore, Jr."),
        ("the U.S.", "the U.S."),
        ("gas", "gas"),
        ("not there.", "not there"),
    ],
)
def test_the_stop_behind_a_copied_phrase_goes_and_that_of_an_abbreviation_stays(answer: str, bare: str) -> None:
    text = (
        "Heseltine knew Raymond Denmore, Jr. and saw Denmore, Jr., in the U.S. He died of gas poisoning. Nobody came."
    )
    assert convert("phrase_without_stop", context=text, answer=answer).answer == bare


@given(st.text("ab .,", max_size=12), st.text("ab .,", max_size=4))
def test_a_phrase_that_stands_in_the_text_still_does_without_its_stop(text: str, phrase: str) -> None:
    found = convert("phrase_without_stop", context=text, answer=f"{phrase}.")
    assert is_span(found.answer, words(text)) == is_span(f"{phrase}.", words(text))


def test_notes_behind_options_go_and_the_answer_stays_one_of_them() -> None:
    options = ("Procedure. [Enacted title]", "Trade Practices", "Estates [Old] and Wills")
    found = convert("options_without_notes", options=options, answer=options[0])
    assert found.options == ("Procedure", "Trade Practices", "Estates [Old] and Wills")
    assert found.answer == "Procedure"


@pytest.mark.parametrize(
    ("dataset", "question", "inside"),
    [
        (
            "fairytale_question_generation",
            "Write a question about the story that is answered by: the king",
            "the king",
        ),
        ("evidence_span", "Which part of the text shows that pain was less? Much less?", "pain was less? Much less"),
        (
            "trial_pico",
            "The authors report a result on pain (vs. rest). "
            "Which intervention is studied, and what is it compared with?",
            "pain (vs. rest)",
        ),
        ("product_reviews", 'Which features does this sentence judge, and how? "It is "great"."', 'It is "great".'),
    ],
)
def test_the_frame_round_a_question_comes_off_and_other_questions_stay(
    dataset: str, question: str, inside: str
) -> None:
    frame = load().entries[dataset].frame
    assert frame is not None
    for asked, expected in ((question, inside), ("What else?", "What else?"), (frame.format(question=""),) * 2):
        assert unframed(replace(RECORD, question=asked), frame).question == expected


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_no_converter_stumbles_over_an_empty_record_or_changes_whose_it_is(name: str) -> None:
    found = CONVERTERS[name](RECORD)
    assert (found.dataset, found.id, found.context) == (RECORD.dataset, RECORD.id, "")
    assert CONVERTERS[name].__doc__
