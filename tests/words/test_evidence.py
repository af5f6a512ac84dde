"""Which characters of a passage bear an answer out, and how many of its sentences are asked about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from instructpt.artifacts.tally import Tally
from instructpt.records import Document, Group, Pair, Shot
from instructpt.words.evidence import bearing, count_covered, coverage, sentences

PASSAGE = "The heron waits in shallow  water. It eats fish, frogs and eels. Fish it swallows whole."


def said(question: str, answer: str) -> str | None:
    found = bearing(PASSAGE, question=question, answer=answer)
    return None if found is None else PASSAGE[slice(*found)]


def test_an_answer_in_the_passages_words_is_found_there() -> None:
    assert said("Where does it wait?", "in shallow water") == "in shallow  water"
    assert said("Where does it wait?", "Shallow water.") == "shallow  water"


def test_of_several_places_the_one_is_taken_that_the_question_is_about() -> None:
    assert bearing(PASSAGE, question="Which animals does it eat?", answer="fish") == (43, 47)
    assert bearing(PASSAGE, question="What does it swallow whole?", answer="fish") == (65, 69)


def test_an_answer_in_other_words_is_borne_out_by_a_sentence() -> None:
    assert said("Does it swallow fish whole?", "yes") == "Fish it swallows whole."
    assert said("What does the heron do?", "It is waiting in water") == "The heron waits in shallow  water."


def test_part_of_a_word_is_no_place() -> None:
    assert said("Which bird sings?", "her") is None


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_a_place_lies_in_the_passage(passage: str, question: str, answer: str) -> None:
    found = bearing(passage, question=question, answer=answer)
    assert found is None or 0 <= found[0] < found[1] <= len(passage)


def test_coverage_counts_the_sentences_that_a_span_touches() -> None:
    assert coverage(PASSAGE, []) == (0, 3)
    assert coverage(PASSAGE, [(43, 47), (43, 60)]) == (1, 3)
    assert coverage(PASSAGE, [(30, 70)]) == (3, 3)
    assert coverage("", []) == (0, 0)
    assert [PASSAGE[start:stop][-1] for start, stop in sentences(PASSAGE)] == [".", ".", "."]


def test_sentences_that_some_pair_needs_are_counted_in_passages_with_enough_of_them() -> None:
    long = f"{PASSAGE} It nests in trees. It lives long."
    pairs = (Pair("Where?", "water", span=(21, 36)), Pair("Why?", "x"), Pair("What?", "fish", span=(43, 47)))
    shots = (
        Shot(Document("a", long, "s"), pairs),
        Shot(Document("b", long, "s")),
        Shot(Document("c", PASSAGE, "s"), pairs),
    )
    tally = Tally()
    count_covered(Group("g", shots), tally)
    assert tally.counts == {"sentences": 10, "sentences_covered": 2}
