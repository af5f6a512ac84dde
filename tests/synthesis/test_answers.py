"""The markup with the answer first: what is written, what an answer is held to, how a question is asked again."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from llguidance import LLMatcher, LLTokenizer

from instructpt.engines import Form
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.synthesis.answers import Answers
from instructpt.synthesis.tags import Tags

GOLDEN = Path(__file__).parents[1] / "golden" / "answers.txt"
ANSWERS = Answers()
BYTES = LLTokenizer("byte")
PASSAGE = (
    "The heron (Ardea cinerea) waits in 1.5 cm of water at 50% light.\n"
    "It eats fish, frogs\nand eels. It's grey—like ash."
)
KINDS = {"extractive QA": "span", "maths": "free", "boolean QA": "label"}

FREE = Pair("What does it eat?", "fish, frogs\nand eels", category="extractive QA")
CHOICE = Pair("Where does it stand?", "in water", options=("in water", "on ice"), category="commonsense")
REASONED = Pair("How many legs has it?", "2", rationale="A heron is a bird.\n\nBirds have two legs.", category="maths")
REASONED_CHOICE = Pair(
    "Is it a bird?", "yes", options=("yes", "no"), rationale="It has <ANS> feathers.", category="boolean QA"
)
GROUP = Group(
    "g",
    (
        Shot(Document("1", "A heron waits in <CON> shallow water.", "birds"), (FREE, CHOICE)),
        Shot(Document("2", "It is grey.", "birds"), (Pair("Not written", "without a category"),)),
        Shot(Document("3", "鹭在水中。\n\nIt writes <CAT> maths </ASK>.", "birds"), (REASONED, REASONED_CHOICE, FREE)),
    ),
)


def may_be_written(answer: str, form: Form) -> bool:
    assert form.kind == "grammar"
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(form.text), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    ids = list(answer.encode())
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def written(answer: str, category: str = "extractive QA") -> str:
    return f"<CAT> {category} <ANS> {answer} <QUE> Which? </END>"


def test_golden_sequences() -> None:
    """INSTRUCTPT_WRITE_GOLDEN=1 writes them anew, to be read as a diff. Brackets stand around what carries loss."""
    text = ANSWERS.write(GROUP)
    assert text.spans is not None
    cuts = [0, *text.breaks, len(text.text)]
    shown = ""
    for (start, stop), (opens, closes) in zip(itertools.pairwise(cuts), text.spans, strict=True):
        shown += f"<s>{text.text[start:opens]}[[{text.text[opens:closes]}</s>]]{text.text[closes:stop]}\n"
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


REJECTED = {
    "<ANS> a <QUE> q </END>": "no_category_tag",
    "<CAT> maths <QUE> q <ANS> a </END>": "broken_category",
    "<CAT> maths <QUE> q </END>": "no_answer_tag",
    "<CAT> maths <ANS> a </END>": "no_question_tag",
    "<CAT> maths <ANS> <QUE> q </END>": "empty_answer",
    "<CAT> maths <ANS> a <QUE> </END>": "empty_question",
    "<CAT> maths <ANS> a <QUE> q <QUE> r </END>": "stray_tag",
    "<CAT> maths <ANS> a <QUE> q\nOptions:\nb </END>": "broken_options",
    "<CAT> maths <ANS> a <QUE> q\nLet's think step by step. </END>": "broken_rationale",
    "<CAT> maths <ANS> a <QUE> q": "no_end_tag",
}


@pytest.mark.parametrize("answer", REJECTED)
def test_what_is_no_pair_is_rejected_with_its_reason(answer: str) -> None:
    pairs, rejects = ANSWERS.parse(answer)
    assert (list(pairs), list(rejects)) == ([], [Reject(answer.removesuffix(" </END>"), REJECTED[answer])])


def test_pairs_come_in_the_order_in_which_the_passage_bears_them_out() -> None:
    """Whatever their category; a yes goes to the sentence that the question is about, what is not there comes last."""
    grey = Pair("What is grey like?", "ash", category="extractive QA")
    eels = Pair("Does it eat eels?", "yes", category="boolean QA")
    heron = Pair("What waits?", "the heron", category="extractive QA")
    song = Pair("Who sang?", "Bach", category="maths")
    shot = Shot(Document("1", PASSAGE, "birds"), (song, grey, eels, heron))
    assert ANSWERS.arrange(shot).pairs == (heron, eels, grey, song)


HELD = [
    "It's",
    "heron",
    "The heron",
    "(Ardea cinerea)",
    "Ardea cinerea",
    "1.5 cm",
    "50%",
    "fish, frogs\nand eels",
    "ash",
]
NOT_HELD = ["", " ", "eron", "her", "5 cm", "the heron", "heron waits", "fish, frogs and eels", "Bach", "ash. A"]


@pytest.mark.parametrize("answer", HELD)
def test_a_span_of_the_passage_may_be_an_answer(answer: str) -> None:
    assert may_be_written(written(answer), ANSWERS.form(["extractive QA"], passage=PASSAGE, answers=KINDS))


@pytest.mark.parametrize("answer", NOT_HELD)
def test_what_the_passage_does_not_say_may_not_be_one(answer: str) -> None:
    form = ANSWERS.form(["extractive QA"], passage=PASSAGE, answers=KINDS)
    assert not may_be_written(written(answer), form)
    assert not answer.strip() or may_be_written(written(answer), ANSWERS.form(["extractive QA"], passage=PASSAGE))


def test_a_span_may_be_held_to_some_of_the_passage() -> None:
    form = ANSWERS.form(["extractive QA"], passage=PASSAGE, spans=("fish", "frogs\nand eels"), answers=KINDS)
    assert may_be_written(written("fish"), form)
    assert may_be_written(written("frogs\nand eels"), form)
    for other in ("ash", "frogs", "fish, frogs"):
        assert not may_be_written(written(other), form)


def test_spans_are_for_categories_whose_answers_are_spans() -> None:
    form = ANSWERS.form(["maths"], passage=PASSAGE, spans=("fish",), answers=KINDS)
    assert may_be_written(written("3", "maths"), form)


@pytest.mark.parametrize("answer", [".", "—", "(", "%"])
def test_a_span_has_a_word(answer: str) -> None:
    assert answer in PASSAGE
    assert not may_be_written(written(answer), ANSWERS.form(["extractive QA"], passage=PASSAGE, answers=KINDS))


def test_only_categories_whose_answers_are_spans_are_held() -> None:
    form = ANSWERS.form(["maths", "boolean QA"], passage=PASSAGE, answers=KINDS)
    assert may_be_written(f"{written('no', 'boolean QA')}\n\n{written('3', 'maths')}", form)


def test_pairs_that_are_asked_for_come_in_any_order_and_number_of_each_is_held() -> None:
    form = ANSWERS.form(["extractive QA", "maths", "extractive QA"], passage=PASSAGE, answers=KINDS)
    pieces = [written("fish"), written("3", "maths"), written("ash")]
    for order in itertools.permutations(pieces):
        assert may_be_written("\n\n".join(order), form)
    for wrong in (pieces[:2], [*pieces, pieces[0]], [pieces[1], pieces[1], pieces[0]]):
        assert not may_be_written("\n\n".join(wrong), form)


def test_of_many_categories_the_number_of_pairs_is_held() -> None:
    names = [f"kind {number}" for number in range(12)]
    form = ANSWERS.form(names, passage=PASSAGE)
    assert len(form.text) < 40_000
    assert may_be_written("\n\n".join(written("x", name) for name in reversed(names)), form)
    assert not may_be_written("\n\n".join(written("x", name) for name in names[:11]), form)


def test_unasked_it_writes_the_categories_that_it_knows() -> None:
    form = ANSWERS.form(passage=PASSAGE, answers=KINDS)
    assert may_be_written(f"<ASK> 1 extractive QA </ASK>\n\n{written('fish')}", form)
    assert not may_be_written(f"<ASK> 1 extractive QA </ASK>\n\n{written('fishes')}", form)
    assert not may_be_written(f"<ASK> 1 extractive QA </ASK>\n\n{written('fish', 'poetry')}", form)


@pytest.mark.parametrize(
    "passage", ["<CON> 1 < 2 </CON> and so on", "鹭在水中。它很灰。", 'a\\b "c" /d/ {e}', "🪿 é\u0301"]
)
def test_whatever_a_passage_holds_its_words_may_be_answers(passage: str) -> None:
    form = ANSWERS.form(["extractive QA"], passage=passage, answers=KINDS)
    pair = Pair("Which?", passage, category="extractive QA")
    text = ANSWERS.write(Group("g", (Shot(Document("1", passage, "s"), (pair,)),))).text
    (prompt,) = ANSWERS.prompt([], passage, categories=["extractive QA"])
    assert may_be_written(text.removeprefix(prompt), form)


def test_a_question_is_asked_again_as_in_tags() -> None:
    earlier, passage, pair = GROUP.shots[:1], "It is grey.", replace(CHOICE, category="commonsense")
    assert ANSWERS.ask(earlier, passage, pair) == Tags().ask(earlier, passage, pair)
    assert ANSWERS.answer(" on ice </END>", pair) == replace(pair, answer="on ice")
