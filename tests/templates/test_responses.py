"""Instruction tuning: loss on the responses, on all of them and on nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from drawn_groups import groups, only
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Group, Pair, Shot
from instructpt.templates.catalog import Mode, load
from instructpt.templates.render import plain, render

FORWARDS: tuple[Mode, ...] = ("classic", "dialog", "numbered", "few_shot")


def learned(text) -> list[str]:
    assert text.spans is not None
    return [text.text[start:stop] for start, stop in text.spans]


@pytest.mark.parametrize("mode", FORWARDS)
@given(group=groups(), seed=st.integers(0, 2**40))
def test_every_response_carries_loss_and_no_question_does(mode: Mode, group: Group, seed: int) -> None:
    catalog = only(mode)
    (rendered,) = render(group, catalog=catalog, seed=seed, loss="responses")
    (usual,) = render(group, catalog=catalog, seed=seed)
    assert rendered.text == usual.text, "what carries loss changes no character"
    pieces = learned(rendered)
    assert len(pieces) == sum(len(shot.pairs) for shot in group.shots)
    said = "\n".join(pieces)
    silent = rendered.text
    for piece in pieces:
        silent = silent.replace(piece, "", 1)
    for shot in group.shots:
        assert shot.document.text not in said
        for pair in shot.pairs:
            assert pair.question not in said
            assert pair.rationale is None or said.count(pair.rationale) == 1
            assert pair.options or said.count(pair.answer) == 1


@given(group=groups(), seed=st.integers(0, 2**40))
def test_spans_are_in_order_and_the_last_one_ends_the_text(group: Group, seed: int) -> None:
    (rendered,) = render(group, catalog=load(), seed=seed, loss="responses")
    spans = rendered.spans
    assert spans is not None
    assert all(start < stop for start, stop in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert spans[-1][1] == len(rendered.text) or any(c.isalnum() for c in rendered.text[spans[-1][1] :])
    assert rendered.layout in ("classic", "dialog", "numbered", "few_shot")


def test_marks_are_characters_that_the_texts_do_not_hold() -> None:
    group = Group(
        "g", (Shot(Document("d", "A \U000f0000 text \U000f0002.", "s"), (Pair("Why \U000f0001?", "So \U000f0003"),)),)
    )
    (rendered,) = render(group, catalog=only("classic"), seed=1, loss="responses")
    for character in "\U000f0000\U000f0001\U000f0002\U000f0003":
        assert rendered.text.count(character) == 1
    assert "So \U000f0003" in learned(rendered)[0]


def test_a_pair_without_a_text_is_the_pair_alone() -> None:
    group = Group("g", (Shot(Document("d", "", "s"), (Pair("Name a river.", "The Rhine"),)),))
    for seed in range(40):
        for loss in ("all", "responses"):
            (rendered,) = render(group, catalog=load(), seed=seed, loss=loss)  # type: ignore[arg-type]
            assert rendered.text.count("Name a river") == 1
            assert len(rendered.text) < 80, "no opener or joiner of a text that is not there"


def test_a_group_without_pairs_has_nothing_to_respond() -> None:
    group = Group("g", (Shot(Document("d", "Text.", "s")),))
    assert render(group, catalog=load(), seed=1, loss="responses") == []
    assert plain(group) == []


def test_plain_is_question_blank_response() -> None:
    pairs = (Pair("Why?", "So."), Pair("Which?", "red", ("red", "blue"), "Blood is red."))
    group = Group("g", (Shot(Document("d", "Blood.", "s"), pairs), Shot(Document("e", "", "s"), pairs[:1])))
    texts = plain(group, loss="responses")
    assert [text.text for text in texts] == [
        "Blood.\n\nWhy? So.",
        "Blood.\n\nWhich?\n- red\n- blue Blood is red. red",
        "Why? So.",
    ]
    assert [learned(text) for text in texts] == [[" So."], [" Blood is red. red"], [" So."]]
    assert len({text.id for text in texts[:2]}) == 2
    assert all(text.spans is None for text in plain(group))


def test_of_two_texts_only_the_one_with_pairs_has_a_response() -> None:
    group = Group("g", (Shot(Document("d", "A.", "s"), (Pair("Why?", "So"),)), Shot(Document("e", "B.", "s"))))
    (rendered,) = render(group, catalog=only("classic"), seed=3, loss="responses")
    assert [piece.strip(" .)]*\"'") for piece in learned(rendered)] == ["So"]
