"""Filters: what each rule rejects and keeps, in every script, and that thresholds can be moved and switched off."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.corpus import filters, readers, splitting
from instructpt.corpus.filters import FILTERS, Thresholds, first_reason
from instructpt.errors import RecipeError
from instructpt.records import Document

OFF = Thresholds(**{field.name: None for field in fields(Thresholds)})

ORDINARY = {
    "prose": "The river rose in the night, and by morning the lower fields stood under a foot of brown water.",
    "law": "§ 7-201. Definitions.\n(a) (1) “Agency” means the Agency.\n(2) The term “child” means a person under 18.",
    "chinese": "春天来了，河水涨了起来，村里的人都到田里去看。老人说，今年的雨比往年来得早，麦子也许会长得更好。"
    "孩子们不听，只顾在水边玩。",
    "hindi": "नदी रात में चढ़ गई और सुबह तक निचले खेत पानी में डूब गए थे। बूढ़े ने कहा कि इस साल बारिश जल्दी आई।",
    "emoji": "What a day at the beach with everyone 😀😀🏖️, sand everywhere and not a cloud in the sky above us!",
    "gothic": "𐌰𐍄𐍄𐌰 𐌿𐌽𐍃𐌰𐍂 𐌸𐌿 𐌹𐌽 𐌷𐌹𐌼𐌹𐌽𐌰𐌼 𐍅𐌴𐌹𐌷𐌽𐌰𐌹 𐌽𐌰𐌼𐍉 𐌸𐌴𐌹𐌽 𐌵𐌹𐌼𐌰𐌹 𐌸𐌹𐌿𐌳𐌹𐌽𐌰𐍃𐍃𐌿𐍃 𐌸𐌴𐌹𐌽𐍃",
    "table": "| name | age |\n|------|-----|\n| Ann  | 31  |\n| Bob  | 28  |\n\nBoth of them live in the same street.",
    "spaces": "name" + " " * 2000 + "value of the field that follows after a wide gap in the page",
} | {module.__name__: inspect.getsource(module) for module in (filters, readers, splitting)}

BROKEN = {
    "too_short": " Home | Next \n" + " " * 100,
    "one_character": "_" * 60 + " Name and date of birth " + "_" * 60,
    "long_run": "Some words come first and then more of them, so that the share stays small. " * 20 + "." * 400,
    "symbols": "$%&/ #!? ]][[ <>;: a1 b2 c3 ~^* +=|\\ @@ {}() '' \"\" x9 ++--" * 2,
    "repeated_lines": "Subscribe to our newsletter today\n" * 6 + "One line of something else",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_text_is_kept(name: str) -> None:
    assert first_reason(Document("", ORDINARY[name], ""), Thresholds()) is None


@pytest.mark.parametrize("reason", BROKEN)
def test_each_rule_rejects_what_it_is_for(reason: str) -> None:
    document = Document("", BROKEN[reason], "")
    assert first_reason(document, Thresholds()) == reason
    assert first_reason(document, OFF) is None


def test_every_rule_has_a_text_that_it_rejects() -> None:
    rejecting = {name for name, rule in FILTERS.items() for text in BROKEN.values() if rule(_doc(text), Thresholds())}
    assert rejecting == set(FILTERS)


def test_thresholds_can_be_moved() -> None:
    assert first_reason(_doc("short"), Thresholds(min_characters=5)) is None
    assert first_reason(_doc("short"), Thresholds(min_characters=6)) == "too_short"
    assert first_reason(_doc(ORDINARY["prose"]), Thresholds(max_characters=50)) == "too_long"
    assert first_reason(_doc("aab aac"), Thresholds(min_characters=0, max_character_share=0.6)) == "one_character"
    assert first_reason(_doc("aab aac"), Thresholds(min_characters=0, max_character_share=0.7)) is None
    runs = Thresholds(min_characters=0, max_character_share=None, max_run_characters=3)
    assert first_reason(_doc("aaa baaa"), runs) is None
    assert first_reason(_doc("aaab aaaa"), runs) == "long_run"


def test_a_sign_that_says_as_much_as_several_letters_counts_for_several() -> None:
    """Three for a Chinese sign, two for kana and Hangul; a Thai or Hindi letter is a letter."""
    lengths = {
        "河水涨了起来。": 19,
        "ひらがな": 8,
        "漢字とかな": 12,
        "한국어": 6,
        "ไทย": 3,
        "नदी": 3,
        "𠀀": 3,
        "a b": 3,
    }
    for text, length in lengths.items():
        assert first_reason(_doc(text), Thresholds(min_characters=length + 1)) == "too_short"
        assert filters.length(_doc(f" {text}\n"), Thresholds(min_characters=length, max_characters=length)) is None
        assert filters.length(_doc(text), Thresholds(min_characters=0, max_characters=length - 1)) == "too_long"


def test_a_short_paragraph_is_kept_in_any_script() -> None:
    text = "春天来了，河水涨了起来，村里的人都到田里去看。"
    assert len(text) < 50
    assert first_reason(_doc(text), Thresholds()) is None
    assert first_reason(_doc("首页 | 关于我们 | 联系方式"), Thresholds()) == "too_short"


@pytest.mark.parametrize("settings", [{"min_characters": -1}, {"max_symbol_share": 1.5}, {"max_character_share": -0.1}])
def test_thresholds_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        Thresholds(**settings)  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_any_text_gets_the_same_short_reason_twice(text: str) -> None:
    reason = first_reason(_doc(text), Thresholds(min_characters=0))
    assert reason is None or (reason.isidentifier() and len(reason) < 20)
    assert first_reason(_doc(text), Thresholds(min_characters=0)) == reason


@given(st.text(st.sampled_from("ab 😀\n𐌰."), min_size=1, max_size=60))
def test_character_rules_count_what_they_say(text: str) -> None:
    solid = [character for character in text if not character.isspace()]
    share = max(map(solid.count, solid)) / len(solid) if solid else 0
    symbols = sum(character in "😀." for character in solid) / len(solid) if solid else 0
    run = best = 0
    for before, character in zip(" " + text, text, strict=False):
        run = run + 1 if character == before else 1
        best = best if character.isspace() else max(best, run)
    only = Thresholds(min_characters=0, max_character_share=share, max_run_characters=best, max_symbol_share=symbols)
    assert first_reason(_doc(text), only) is None
    if solid:
        stricter = Thresholds(0, None, None, best - 1, None, None)
        assert first_reason(_doc(text), stricter) == "long_run"
        assert first_reason(_doc(text), Thresholds(0, None, share * 0.99, None, None, None)) == "one_character"
    if symbols:
        assert first_reason(_doc(text), Thresholds(0, None, None, None, symbols * 0.99, None)) == "symbols"


def _doc(text: str) -> Document:
    return Document("", text, "")
