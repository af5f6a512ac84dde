"""Everything that goes in comes out exactly once, in every layout; raw text stays raw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from drawn_groups import groups, only
from hypothesis import given
from hypothesis import strategies as st

from instructpt.records import Document, Group, Pair, Shot
from instructpt.templates.catalog import MODES, Mode, load
from instructpt.templates.pairs import prepare
from instructpt.templates.render import apart, render
from instructpt.templates.style import draw


@pytest.mark.parametrize(("mode", "inverted"), [(mode, inverted) for mode in MODES for inverted in (False, True)])
@given(group=groups(), seed=st.integers(0, 2**40))
def test_every_piece_stands_in_the_text_exactly_once(mode: Mode, inverted: bool, group: Group, seed: int) -> None:
    catalog = only(mode, inverted=inverted)
    (rendered,) = render(group, catalog=catalog, seed=seed)
    text, style = rendered.text, draw(catalog, seed=seed, group=group)
    assert rendered.layout == style.layout
    assert style.mode == mode
    assert style.inverted == (inverted and mode in ("classic", "dialog"))
    for i, shot in enumerate(group.shots):
        assert text.count(shot.document.text) == 1
        for j, pair in enumerate(shot.pairs):
            assert text.count(pair.question) == 1
            if pair.rationale:
                assert text.count(pair.rationale) == 1
            parts = prepare(pair, catalog=catalog, style=style, place=(i, j))
            others = [option for option in pair.options if option != pair.answer]
            if parts.options is None:
                assert text.count(pair.answer) == 1
                assert not any(option in text for option in others)
            else:
                assert text.count(parts.options) == 1
                assert all(text.count(option) == 1 for option in others)
                # In the list; and once more as the answer, unless that is a label.
                assert text.count(pair.answer) == (1 if style.items.marks else 2)


@given(group=groups(), seed=st.integers(0, 2**40))
def test_a_label_is_that_of_the_right_option(group: Group, seed: int) -> None:
    style = draw(load(), seed=seed, group=group)
    for pair in group.shots[0].pairs:
        parts = prepare(pair, catalog=load(), style=style, place=(0, 0))
        if parts.options is not None and style.items.marks:
            labels = {style.items.label(k): k for k in range(len(pair.options))}
            assert style.items.line(labels[parts.answer], pair.answer) in parts.options


@given(group=groups(), seed=st.integers(0, 2**40))
def test_apart_every_pair_is_a_text_in_the_wording_that_it_has_beside(group: Group, seed: int) -> None:
    catalog = only("classic", inverted=False)
    texts = apart(group, catalog=catalog, seed=seed)
    (beside,) = render(group, catalog=catalog, seed=seed)
    pairs = [text for text in texts if text.kind == "augmented"]
    assert len(pairs) == sum(len(shot.pairs) for shot in group.shots)
    for text, (shot, pair) in zip(pairs, [(s, p) for s in group.shots for p in s.pairs], strict=True):
        assert text.text in beside.text
        assert pair.question in text.text
        assert shot.document.text not in text.text
    raw = [text for text in texts if text.kind == "raw"]
    assert [text.text for text in raw] == [shot.document.text for shot in group.shots if shot.document.text.strip()]
    assert {text.passage for text in pairs} <= {text.passage for text in raw}
    assert all(text.passage for text in pairs)


def test_braces_in_a_question_stay_what_they_are() -> None:
    pair = Pair("What does {answer} do in '{question}'?", "It {stands} for 100 %.")
    group = Group("g", (Shot(Document("d", "A {text}.", "s"), (pair, Pair("{rationale}?", "{options}"))),))
    for seed in range(200):
        (rendered,) = render(group, catalog=load(), seed=seed)
        for piece in ("A {text}.", pair.question, "It {stands} for 100 %", "{rationale}?", "{options}"):
            assert rendered.text.count(piece) == 1


def shot(name: str, *pairs: Pair) -> Shot:
    return Shot(Document(name, f"Text {name}.", f"source {name}"), pairs)


def test_a_group_without_pairs_comes_out_as_its_documents_untouched() -> None:
    group = Group("g", (shot("a"), shot("b")))
    rendered = render(group, catalog=load(), seed=1, kind="task")
    assert [(text.id, text.text, text.source, text.kind) for text in rendered] == [
        ("a", "Text a.", "source a", "raw"),
        ("b", "Text b.", "source b", "raw"),
    ]
    assert [text.layout for text in rendered] == ["", ""]


def test_a_shot_without_pairs_stands_raw_in_its_place() -> None:
    group = Group("g", (shot("a", Pair("Q1?", "A1"), Pair("Q2?", "A2")), shot("b"), shot("c", Pair("Q3?", "A3"))))
    for seed in range(50):
        (text,) = render(group, catalog=load(), seed=seed, kind="task")
        style = draw(load(), seed=seed, group=group)
        assert f"{style.shot_separator}Text b.{style.shot_separator}" in text.text
        assert text.text.index("Text a.") < text.text.index("Text b.") < text.text.index("Text c.")
        assert (text.id, text.source, text.kind, text.spans, text.breaks) == ("g", "source a", "task", None, ())


def test_a_group_without_shots_gives_nothing() -> None:
    assert render(Group("g", ()), catalog=load(), seed=1) == []


def test_same_seed_same_text_and_other_seed_another() -> None:
    group = Group("g", (shot("a", Pair("Q1?", "A1"), Pair("Q2?", "A2", ("A2", "B2", "C2"))),))
    texts = [render(group, catalog=load(), seed=seed)[0].text for seed in range(40)]
    assert texts == [render(group, catalog=load(), seed=seed)[0].text for seed in range(40)]
    assert len(set(texts)) == 40


def test_right_options_are_found_at_every_place_for_every_pair_of_a_group() -> None:
    options = ("right", "w1", "w2", "w3")
    group = Group("g", (shot("a", *[Pair(f"Q{i}?", "right", options) for i in range(4)]),))
    catalog = only("classic")
    places = [Counter[int]() for _ in range(4)]
    for seed in range(2000):
        style = replace(draw(catalog, seed=seed, group=group), shows_options=True, item_end="\n", header="")
        for j, pair in enumerate(group.shots[0].pairs):
            listed = prepare(pair, catalog=catalog, style=style, place=(0, j)).options
            assert listed is not None
            places[j][next(k for k, line in enumerate(listed.split("\n")) if "right" in line)] += 1
    assert all(430 < counts[k] < 570 for counts in places for k in range(4)), places


def prepared(pair: Pair, *, shows_options: bool, seed: int = 0):
    group = Group("g", (shot("a", pair),))
    style = replace(draw(load(), seed=seed, group=group), shows_options=shows_options, header="")
    return prepare(pair, catalog=load(), style=style, place=(0, 0)), style


def test_half_of_the_questions_with_options_are_asked_openly() -> None:
    group = Group("g", (shot("a", Pair("Why?", "x", ("x", "y"))),))
    shown = sum(draw(load(), seed=seed, group=group).shows_options for seed in range(2000))
    assert 900 < shown < 1100
    parts, _ = prepared(Pair("Why?", "x", ("x", "y")), shows_options=False)
    assert (parts.options, parts.answer) == (None, "x")


def test_a_question_about_its_options_is_never_asked_openly() -> None:
    parts, _ = prepared(Pair("Which of the following is blue?", "sky", ("sky", "grass")), shows_options=False)
    assert parts.options is not None


def test_options_that_point_at_others_keep_the_order() -> None:
    options = ("ice", "snow", "hail", "All of the above.")
    for seed in range(20):
        parts, _ = prepared(Pair("What is cold?", options[3], options), shows_options=False, seed=seed)
        assert parts.options is not None
        assert [parts.options.index(option) for option in options] == sorted(map(parts.options.index, options))


def test_an_answer_outside_its_options_says_none_of_them_in_the_drawn_wording() -> None:
    parts, style = prepared(Pair("What is hot?", "none of these.", ("ice", "snow")), shows_options=False)
    assert parts.options is not None
    assert parts.answer == style.none
    parts, _ = prepared(Pair("What is hot?", "lava", ("ice", "snow")), shows_options=True)
    assert parts.answer == "lava"


def test_long_options_stand_on_lines_of_their_own() -> None:
    pair = Pair("Why?", "short", ("short", "a rather long option, too long for a line with others"))
    for seed in range(50):
        parts, _ = prepared(pair, shows_options=True, seed=seed)
        assert parts.options is not None
        assert parts.options.count("\n") == 1


def test_a_single_pair_is_never_announced_as_several() -> None:
    group = Group("g", (shot("a", Pair("Why?", "So.")),))
    for seed in range(300):
        style = draw(load(), seed=seed, group=group)
        text = render(group, catalog=load(), seed=seed)[0].text
        if style.mode == "classic" and style.joiner and not style.inverted:
            assert style.joiner.one in text
