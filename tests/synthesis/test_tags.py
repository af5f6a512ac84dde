"""The markup: equal to the released one character by character, and read back as it was written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.synthesis.tags import Tags

TAGS = Tags()
BEGIN, END = "<s>", "</s>"

FREE = Pair("What does it eat?", "Fish.")
CHOICE = Pair("Where does it stand?", "in water", options=("in water", "on ice"))
REASONED = Pair("How many legs has it?", "2", rationale="A heron is a bird. Birds have two legs.")
REASONED_CHOICE = Pair("Is it a bird?", "yes", options=("yes", "no"), rationale="It has feathers.")


def shot(text: str, *pairs: Pair) -> Shot:
    return Shot(Document(text, text, "birds"), pairs)


def with_special_tokens(text: str, *, breaks: Sequence[int]) -> str:
    """As a person would spell the whole sequence."""
    cuts = [0, *breaks, len(text)]
    return "".join(BEGIN + text[a:b] + END for a, b in itertools.pairwise(cuts))


def test_a_group_is_written_in_the_released_markup() -> None:
    group = Group("g", (shot("A heron waits.", FREE, CHOICE), shot("It is grey.", REASONED, REASONED_CHOICE)))
    written = TAGS.write(group)
    assert with_special_tokens(written.text, breaks=written.breaks) == (
        "<s> <CON> A heron waits. </CON>\n\n"
        "<QUE> What does it eat? <ANS> Fish. </END>\n\n"
        "<QUE> Where does it stand?\nOptions:\n- in water\n- on ice <ANS> in water </END></s>"
        "<s> <CON> It is grey. </CON>\n\n"
        "<QUE> How many legs has it?\nLet's think step by step."
        " <ANS> A heron is a bird. Birds have two legs.\nTherefore, the answer is 2 </END>\n\n"
        "<QUE> Is it a bird?\nOptions:\n- yes\n- no\nLet's think step by step."
        " <ANS> It has feathers.\nTherefore, the answer is yes </END></s>"
    )
    assert (written.id, written.kind, written.source) == ("g", "task", "birds")


def test_loss_lies_on_pairs_and_end_tags_only() -> None:
    written = TAGS.write(Group("g", (shot("A heron waits.", FREE, CHOICE), shot("It is grey.", REASONED))))
    assert written.spans is not None
    assert [written.text[a:b] for a, b in written.spans] == [
        "<QUE> What does it eat? <ANS> Fish. </END>\n\n"
        "<QUE> Where does it stand?\nOptions:\n- in water\n- on ice <ANS> in water </END>",
        "<QUE> How many legs has it?\nLet's think step by step."
        " <ANS> A heron is a bird. Birds have two legs.\nTherefore, the answer is 2 </END>",
    ]
    # An end-of-text token goes in at each break and at the end; it carries loss as the character before it does.
    assert [stop for _, stop in written.spans] == [*written.breaks, len(written.text)]


def test_a_prompt_is_what_training_saw_before_the_last_pairs() -> None:
    shots = (shot("A heron waits.", FREE, CHOICE), shot("It is <CON> grey.", REASONED), shot("It flies.", FREE))
    written = TAGS.write(Group("g", shots))
    cuts = [0, *written.breaks, len(written.text)]
    parts = [written.text[a:b] for a, b in itertools.pairwise(cuts)]
    prompt = TAGS.prompt(shots[:2], shots[2].document.text)
    assert prompt[:2] == parts[:2]
    assert prompt[2] == " <CON> It flies. </CON>\n\n"
    assert parts[2] == prompt[2] + "<QUE> What does it eat? <ANS> Fish. </END>"


def test_shots_without_pairs_are_left_out() -> None:
    shots = (shot("A heron waits."), shot("It is grey.", FREE), shot("It flies."))
    written = TAGS.write(Group("g", shots))
    assert written.text == " <CON> It is grey. </CON>\n\n<QUE> What does it eat? <ANS> Fish. </END>"
    assert (written.breaks, len(written.spans or ())) == ((), 1)
    assert TAGS.prompt(shots, "Next.") == [written.text, " <CON> Next. </CON>\n\n"]
    nothing = TAGS.write(Group("g", shots[:1]))
    assert (nothing.text, nothing.spans, nothing.breaks) == ("", (), ())


REJECTED = {
    "<QUE> q <ANS> a": ("no_end_tag", "<QUE> q <ANS> a"),
    "<QUE> q <AN": ("no_end_tag", "<QUE> q <AN"),
    "hello": ("no_end_tag", "hello"),
    "q <ANS> a </END>": ("no_question_tag", "q <ANS> a"),
    "</END>": ("no_question_tag", ""),
    "<QUE> q </END>": ("no_answer_tag", "<QUE> q"),
    "<QUE> q <ANS> a <ANS> b </END>": ("several_answer_tags", "<QUE> q <ANS> a <ANS> b"),
    "<QUE> q <QUE> r <ANS> a </END>": ("stray_tag", "<QUE> q <QUE> r <ANS> a"),
    "<QUE> q </CON> <ANS> a </END>": ("stray_tag", "<QUE> q </CON> <ANS> a"),
    "<QUE>  <ANS> a </END>": ("empty_question", "<QUE>  <ANS> a"),
    "<QUE> Options:\n- a <ANS> a </END>": ("empty_question", "<QUE> Options:\n- a <ANS> a"),
    "<QUE> q <ANS> \n </END>": ("empty_answer", "<QUE> q <ANS>"),
    "<QUE> q\nOptions:\n- a\nb <ANS> a </END>": ("broken_options", "<QUE> q\nOptions:\n- a\nb <ANS> a"),
    "<QUE> q\nOptions: <ANS> a </END>": ("broken_options", "<QUE> q\nOptions: <ANS> a"),
    "<QUE> q\nOptions:\n-  <ANS> a </END>": ("broken_options", "<QUE> q\nOptions:\n-  <ANS> a"),
    "<QUE> q\nLet's think step by step. <ANS> a </END>": (
        "broken_rationale",
        "<QUE> q\nLet's think step by step. <ANS> a",
    ),
    "<QUE> q\nLet's think step by step. <ANS> Therefore, the answer is a </END>": (
        "broken_rationale",
        "<QUE> q\nLet's think step by step. <ANS> Therefore, the answer is a",
    ),
    "<QUE> q\nLet's think step by step. <ANS> r\nTherefore, the answer is </END>": (
        "empty_answer",
        "<QUE> q\nLet's think step by step. <ANS> r\nTherefore, the answer is",
    ),
    " \n": ("no_pair", ""),
}


@pytest.mark.parametrize("answer", REJECTED)
def test_what_is_no_pair_is_rejected_with_its_reason(answer: str) -> None:
    reason, text = REJECTED[answer]
    pairs, rejects = TAGS.parse(answer)
    assert (list(pairs), list(rejects)) == ([], [Reject(text, reason)])


def test_good_pieces_are_kept_beside_broken_ones() -> None:
    answer = "<QUE> q1 <ANS> a1 </END>\n\n<QUE> q2 </END>\n\n<QUE> q3\n<ANS>a3</END>\n\n<QUE> cut"
    pairs, rejects = TAGS.parse(answer)
    assert list(pairs) == [Pair("q1", "a1"), Pair("q3", "a3")]
    assert [reject.reason for reject in rejects] == ["no_answer_tag", "no_end_tag"]


def test_pairs_about_a_passage_that_the_model_made_up_are_rejected() -> None:
    answer = "<QUE> q1 <ANS> a1 </END> <CON> Once upon a time </CON>\n\n<QUE> q2 <ANS> a2 </END>"
    pairs, rejects = TAGS.parse(answer)
    assert list(pairs) == [Pair("q1", "a1")]
    assert [(reject.reason, reject.text[:12]) for reject in rejects] == [("new_passage", "<CON> Once u")]


def test_a_conclusion_without_the_cue_is_part_of_a_plain_answer() -> None:
    pairs, rejects = TAGS.parse("<QUE> q <ANS> It rained. Therefore, the answer is wet. </END>")
    assert (list(pairs), list(rejects)) == ([Pair("q", "It rained. Therefore, the answer is wet.")], [])


UNWRITABLE = {
    "empty_question": Pair(" ", "a"),
    "empty_answer": Pair("q", "\n"),
    "broken_options": Pair("q", "a", options=("a", "b\nc")),
    "broken_rationale": Pair("q", "a", rationale="Therefore, the answer is near."),
    "ambiguous_markup": Pair("q\nOptions:\n- a", "a"),
}


@pytest.mark.parametrize("reason", UNWRITABLE)
def test_a_pair_that_would_come_back_different_is_never_written(reason: str) -> None:
    assert TAGS.refuse(UNWRITABLE[reason]) == reason
    written = TAGS.write(Group("g", (shot("A heron waits.", FREE, UNWRITABLE[reason]),)))
    assert written.text == " <CON> A heron waits. </CON>\n\n<QUE> What does it eat? <ANS> Fish. </END>"


FRAGMENTS = [
    *("<CON>", "</CON>", "<QUE>", "<ANS>", "</END>", "<END  >", "</QUE >", "</s>", "<", ">", " ", "\n", "- "),
    *("Options:", "\nOptions:\n- ", "\nLet's think step by step.", "Therefore, the answer is"),
    *("a", "\u00e9", "\u2028", "\x1c"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
PAIRS = st.builds(
    Pair, HOSTILE, HOSTILE, st.lists(HOSTILE, max_size=3).map(tuple), st.none() | HOSTILE, st.none() | st.just("maths")
)


def trimmed(pair: Pair) -> Pair:
    """What the markup carries of a pair: no blanks around fields, no category."""
    rationale = None if pair.rationale is None else pair.rationale.strip()
    return Pair(pair.question.strip(), pair.answer.strip(), tuple(o.strip() for o in pair.options), rationale)


@given(HOSTILE, st.lists(PAIRS, max_size=3))
def test_parse_gives_back_what_write_put_there(passage: str, pairs: list[Pair]) -> None:
    written = TAGS.write(Group("g", (Shot(Document("d", passage, "s"), tuple(pairs)),)))
    kept = [trimmed(pair) for pair in pairs if TAGS.refuse(pair) is None]
    assert written.spans is not None
    assert len(written.spans) == (1 if kept else 0)
    for start, stop in written.spans:
        read, rejects = TAGS.parse(written.text[start:stop])
        assert (list(read), list(rejects)) == (kept, [])
        # What a passage says never closes it early.
        assert written.text[:start] == TAGS.prompt([], passage)[0]
        assert written.text.count("<CON>") == written.text[:start].count("</CON>\n\n") == 1


@given(st.lists(HOSTILE | st.just("<QUE> q <ANS> a </END>"), max_size=6).map(" ".join))
def test_every_pair_that_parse_finds_can_be_written(answer: str) -> None:
    pairs, rejects = TAGS.parse(answer)
    assert [TAGS.refuse(pair) for pair in pairs] == [None] * len(pairs)
    assert pairs or rejects


def test_a_plain_pair_is_always_written() -> None:
    """The property above would hold for a dialect that refuses everything."""
    assert [TAGS.refuse(pair) for pair in (FREE, CHOICE, REASONED, REASONED_CHOICE)] == [None] * 4
    assert TAGS.refuse(Pair("What is <CON> for?", "It opens </CON>, or <END >.")) is None


IN_FORM = [
    "<QUE> Who? <ANS> A heron. </END>",
    "<QUE>Who?<ANS>A heron.</END>",
    "<QUE> Who?\n\n  Where? <ANS> A heron.\n\nIn water. </END>\n\n<QUE> a <ANS> b </END>",
    "<QUE> Who?\nOptions:\n- a\n- b <ANS> a </END>",
    "<QUE> Who?\nLet's think step by step. <ANS> So.\nTherefore, the answer is a </END>",
    "<QUE> Who?\nOptions:\n- a\nLet's think step by step. <ANS> So.\nTherefore, the answer is a </END>",
    "<QUE> Who has Options: a? <ANS> Let's think step by step. Therefore, the answer is a </END>",
]
NOT_IN_FORM = [
    "",
    " ",
    "<QUE> Who? </END>",
    "<QUE>  <ANS> a </END>",
    "<QUE> \n <ANS> a </END>",
    "<QUE> Who? <ANS> </END>",
    "<QUE> Who? <ANS> a",
    "<QUE> Who? <ANS> a </END>\n\n",
    "<QUE> Who? <ANS> a <ANS> b </END>",
    "<QUE> Who? <ANS> a <",
    "<QUE> Who? <ANS> a </EN </END>",
    "<QUE> Options:\n- a <ANS> a </END>",
    "<QUE> Who?\nOptions: <ANS> a </END>",
    "<QUE> Who?\nOptions:\na <ANS> a </END>",
    "<QUE> Who?\nOptions:\n- a\nb <ANS> a </END>",
    "<QUE> Who?\nOptions:\n- <ANS> a </END>",
    "<QUE> Who?\nLet's think step by step. <ANS> a </END>",
    "<QUE> Who?\nLet's think step by step.\nNo! <ANS> So.\nTherefore, the answer is a </END>",
    "<QUE> Let's think step by step. <ANS> So.\nTherefore, the answer is a </END>",
    "<QUE> Who?\nLet's think step by step. <ANS> So.\nTherefore, the answer is </END>",
    "<QUE> Who?\nLet's think step by step. <ANS> So. Therefore, the answer is b\nTherefore, the answer is a </END>",
]


def test_a_model_is_held_to_pairs_of_the_four_kinds() -> None:
    form = TAGS.form().text
    for answer in IN_FORM:
        assert re.fullmatch(form, answer), answer
        assert not TAGS.parse(answer)[1], answer
    for answer in NOT_IN_FORM:
        assert not re.fullmatch(form, answer), answer


def test_a_bound_on_fields_ends_a_loop_in_any_of_them() -> None:
    form, loop = TAGS.form(field_characters=60).text, "why " * 20 + "why"
    for answer in IN_FORM:
        assert re.fullmatch(form, answer), answer
    for answer in (
        f"<QUE> {loop} <ANS> a </END>",
        f"<QUE> Who? <ANS> {loop} </END>",
        f"<QUE> Who?\nOptions:\n- {loop} <ANS> a </END>",
        f"<QUE> Who?\nLet's think step by step. <ANS> {loop}\nTherefore, the answer is a </END>",
    ):
        assert not re.fullmatch(form, answer), answer
        assert re.fullmatch(TAGS.form().text, answer), answer


def test_a_smaller_sign_may_be_written_where_the_passage_has_one_and_never_begins_a_tag() -> None:
    signs = ["<QUE> Is p < 0.05? <ANS> It is <0.01. </END>", "<QUE> a <b> <ANS> x << y </END>"]
    tags = ["<QUE> a <QU b <ANS> c </END>", "<QUE> a <ANS> b </i> </END>", "<QUE> a </END <ANS> b </END>"]
    without, beside = TAGS.form(passage="p is 0.05").text, TAGS.form(passage="p < 0.05").text
    for answer in signs:
        assert re.fullmatch(beside, answer)
        assert not re.fullmatch(without, answer)
    for answer in tags:
        assert not re.fullmatch(beside, answer)
