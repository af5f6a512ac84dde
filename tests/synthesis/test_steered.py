"""The markup with categories: what is written, what may be missing from an answer, what is refused."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.synthesis.steered import Steered

GOLDEN = Path(__file__).parents[1] / "golden" / "steered.txt"
STEERED = Steered()

FREE = Pair("What does it eat?", "Fish.", category="reading comprehension")
CHOICE = Pair("Where does it stand?", "in water", options=("in water", "on ice"), category="commonsense")
REASONED = Pair("How many legs has it?", "2", rationale="A heron is a bird. Birds have two legs.", category="maths")
REASONED_CHOICE = Pair(
    "Is it a bird?", "yes", options=("yes", "no"), rationale="It has feathers.", category="boolean QA"
)
GROUP = Group(
    "g",
    (
        Shot(Document("1", "A heron waits in <CON> shallow water.", "birds"), (FREE, CHOICE)),
        Shot(Document("2", "It is grey.", "birds"), (Pair("Not written", "without a category"),)),
        Shot(Document("3", "鹭在水中。\n\nIt writes <CAT> maths </ASK>.", "birds"), (REASONED, REASONED_CHOICE, FREE)),
    ),
)


def test_golden_sequences() -> None:
    """INSTRUCTPT_WRITE_GOLDEN=1 writes them anew, to be read as a diff. Brackets stand around what carries loss."""
    written = STEERED.write(GROUP)
    assert written.spans is not None
    cuts = [0, *written.breaks, len(written.text)]
    shown = ""
    for (start, stop), (opens, closes) in zip(itertools.pairwise(cuts), written.spans, strict=True):
        shown += f"<s>{written.text[start:opens]}[[{written.text[opens:closes]}</s>]]{written.text[closes:stop]}\n"
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


def test_what_is_asked_for_begins_what_is_written() -> None:
    (prompt,) = STEERED.prompt([], "It is grey.", categories=["maths", "narrative QA"])
    assert prompt == " <CON> It is grey. </CON>\n\n<ASK> 1 maths | 1 narrative QA </ASK>\n\n"
    pairs = (REASONED, Pair("Who?", "It.", category="narrative QA"))
    written = STEERED.write(Group("g", (Shot(Document("2", "It is grey.", "birds"), pairs),))).text
    assert written.startswith(prompt + "<CAT> maths <QUE> How many")


@pytest.mark.parametrize(
    "begin",
    [
        "",
        "\n",
        "<ASK> 1 maths | 1 commonsense </ASK>\n\n",
        " <ASK> maths",
        "<ASK>maths|commonsense</ASK>",
        "<ASK> </ASK> ",
    ],
)
def test_the_line_of_categories_may_be_whole_broken_or_missing(begin: str) -> None:
    body = "<CAT> maths <QUE> q <ANS> a </END>\n\n<CAT>commonsense<QUE>r<ANS>b</END>"
    pairs, rejects = STEERED.parse(begin + body)
    assert list(pairs) == [Pair("q", "a", category="maths"), Pair("r", "b", category="commonsense")]
    assert list(rejects) == []


REJECTED = {
    "<QUE> q <ANS> a </END>": ("no_category_tag", "<QUE> q <ANS> a"),
    "<ASK> maths </ASK>\n\n<QUE> q <ANS> a </END>": ("no_category_tag", "<QUE> q <ANS> a"),
    "<QUE> q <CAT> maths <ANS> a </END>": ("no_category_tag", "<QUE> q <CAT> maths <ANS> a"),
    "</END>": ("no_category_tag", ""),
    "<CAT> maths </END>": ("no_question_tag", "<CAT> maths"),
    "<CAT> <QUE> q <ANS> a </END>": ("empty_category", "<CAT> <QUE> q <ANS> a"),
    "<CAT> a | b <QUE> q <ANS> a </END>": ("broken_category", "<CAT> a | b <QUE> q <ANS> a"),
    "<CAT> a <CAT> b <QUE> q <ANS> a </END>": ("broken_category", "<CAT> a <CAT> b <QUE> q <ANS> a"),
    "<CAT> a\nb <QUE> q <ANS> a </END>": ("broken_category", "<CAT> a\nb <QUE> q <ANS> a"),
    "<CAT> maths <QUE> q <ANS> a <CAT> b </END>": ("stray_tag", "<CAT> maths <QUE> q <ANS> a <CAT> b"),
    "<CAT> maths <QUE> q <ASK> <ANS> a </END>": ("stray_tag", "<CAT> maths <QUE> q <ASK> <ANS> a"),
    "<CAT> maths <QUE> q <ANS> a": ("no_end_tag", "<CAT> maths <QUE> q <ANS> a"),
    "<CAT> maths <QUE> <ANS> a </END>": ("empty_question", "<CAT> maths <QUE> <ANS> a"),
    "<ASK> maths | commonsense": ("no_pair", ""),
    "<AS": ("no_end_tag", "<AS"),
}


@pytest.mark.parametrize("answer", REJECTED)
def test_what_is_no_pair_is_rejected_with_its_reason(answer: str) -> None:
    reason, text = REJECTED[answer]
    pairs, rejects = STEERED.parse(answer)
    assert (list(pairs), list(rejects)) == ([], [Reject(text, reason)])


def test_a_second_line_of_categories_costs_the_piece_it_stands_in() -> None:
    piece = "<CAT> maths <QUE> q <ANS> a </END>\n\n"
    pairs, rejects = STEERED.parse(f"<ASK> maths </ASK>\n\n{piece}<ASK> maths </ASK>\n\n{piece}{piece}")
    assert len(pairs) == 2
    assert [reject.reason for reject in rejects] == ["no_category_tag"]


UNWRITABLE = {
    "no_category": Pair("q", "a"),
    "empty_category": Pair("q", "a", category=" "),
    "broken_category": Pair("q", "a", category="a | b"),
    "empty_answer": Pair("q", "", category="maths"),
    "ambiguous_markup": Pair("q\nOptions:\n- a", "a", category="maths"),
}


@pytest.mark.parametrize("reason", UNWRITABLE)
def test_a_pair_that_would_come_back_different_is_never_written(reason: str) -> None:
    assert STEERED.refuse(UNWRITABLE[reason]) == reason
    shot = Shot(Document("1", "A heron waits.", "birds"), (FREE, UNWRITABLE[reason]))
    assert STEERED.write(Group("g", (shot,))).text == (
        " <CON> A heron waits. </CON>\n\n<ASK> 1 reading comprehension </ASK>\n\n"
        "<CAT> reading comprehension <QUE> What does it eat? <ANS> Fish. </END>"
    )


@pytest.mark.parametrize("category", ["a | b", "<CAT>", "two\nlines", "", " "])
def test_a_category_that_cannot_be_written_cannot_be_asked_for(category: str) -> None:
    assert STEERED.refuse(Pair("q", "a", category=category))
    with pytest.raises(RecipeError, match="cannot be asked for"):
        STEERED.prompt([], "It flies.", categories=["maths", category])


def test_a_model_is_held_to_the_pairs_that_it_is_asked_for() -> None:
    form = STEERED.form(["maths", "a.b (c)", "maths"]).text
    maths, other = "<CAT> maths <QUE> q <ANS> a </END>", "<CAT> a.b (c) <QUE> q <ANS> a </END>"
    whole = f"{maths}\n\n{maths}\n\n{other}"
    assert re.fullmatch(form, whole), "pairs of one category come together"
    (prompt,) = STEERED.prompt([], "It is grey.", categories=["maths", "a.b (c)", "maths"])
    assert prompt.endswith("<ASK> 2 maths | 1 a.b (c) </ASK>\n\n")
    for other_answer in (
        f"{maths}\n\n{other}\n\n{maths}",
        f"{maths}\n\n{maths}",
        f"{whole}\n\n{maths}",
        f"{whole}\n\n",
        whole.replace("a.b", "axb"),
        whole.replace("<CAT> maths", "<CAT> science"),
        f"<ASK> 2 maths </ASK>\n\n{whole}",
    ):
        assert not re.fullmatch(form, other_answer), other_answer


def test_a_model_that_is_not_asked_says_first_what_it_writes() -> None:
    form, pair = STEERED.form().text, "<CAT> maths <QUE> q <ANS> a </END>"
    for begin in ("<ASK> 1 maths </ASK>\n\n", "<ASK> 12 maths | 1 narrative QA </ASK>\n\n"):
        assert re.fullmatch(form, begin + pair)
        assert re.fullmatch(form, f"{begin}{pair}\n\n{pair}")
        assert not re.fullmatch(form, begin)
    for begin in (
        "",
        "<ASK> </ASK>\n\n",
        "<ASK> maths </ASK>\n\n",
        "<ASK> 0 maths </ASK>\n\n",
        "<ASK> 1 maths | </ASK>\n\n",
    ):
        assert not re.fullmatch(form, begin + pair)


@pytest.mark.parametrize("category", ["a | b", "<CAT>", "two\nlines", " "])
def test_a_form_has_no_category_that_cannot_be_written(category: str) -> None:
    with pytest.raises(RecipeError, match="cannot be asked for"):
        STEERED.form(["maths", category])
