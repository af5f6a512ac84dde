"""Styles: shares of the modes, independence of the choices, one style a group."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from instructpt.records import Document, Group, Pair, Shot
from instructpt.seeds import draws
from instructpt.templates.catalog import load
from instructpt.templates.style import Style, draw

SEED = 12345


def group(name: str, *counts: int, text: str = "Text.") -> Group:
    pairs = tuple(Pair(f"Q{i}?", f"A{i}") for i in range(max(counts)))
    return Group(name, tuple(Shot(Document("d", text, "s"), pairs[:count]) for count in counts))


def styles(num_groups: int, *counts: int) -> list[Style]:
    return [draw(load(), seed=SEED, group=group(str(i), *counts)) for i in range(num_groups)]


def test_modes_are_drawn_with_their_weights_and_inversion_apart_from_them() -> None:
    drawn = styles(20_000, 2, 2)
    modes = Counter(style.mode for style in drawn)
    for mode, weight in load().weights.items():
        assert abs(modes[mode] / len(drawn) - weight / 100) < 0.008, modes  # 5 % of 20,000: two standard errors = 0.3 %
    for mode in ("classic", "dialog"):
        share = sum(style.inverted for style in drawn if style.mode == mode) / modes[mode]
        assert abs(share - 0.05) < 0.025, (mode, share)
    assert not any(style.inverted for style in drawn if style.mode not in ("classic", "dialog"))


def test_a_text_with_a_single_pair_leaves_classic_and_dialog() -> None:
    modes = Counter(style.mode for style in styles(5_000, 3, 1))
    assert set(modes) == {"classic", "dialog"}
    assert abs(modes["dialog"] / 5_000 - 0.05) < 0.015


def test_a_text_without_pairs_has_no_say_in_the_mode() -> None:
    assert {style.mode for style in styles(1_000, 2, 0)} == set(load().weights)


def test_openers_and_joiners_are_drawn_independently() -> None:
    drawn = [(s.opener.text, s.joiner.many) for s in styles(30_000, 1) if s.opener and s.joiner]
    assert abs(len(drawn) - 7_500) < 300
    combinations = len(load().openers) * len(load().joiners)
    expected = combinations * (1 - (1 - 1 / combinations) ** len(drawn))
    assert abs(len(set(drawn)) / expected - 1) < 0.03
    assert len({opener for opener, _ in drawn}) == len(load().openers)
    assert len({joiner for _, joiner in drawn}) == len(load().joiners)


def test_choices_of_pairs_are_not_tied_to_each_other() -> None:
    catalog = load()
    pools = {"plain": 8, "speakers": 5, "items": 6, "cue": 5, "numbering": 4}
    drawn = styles(6_000, 2)
    for first, first_size in pools.items():
        for second, second_size in pools.items():
            if first < second:
                table = Counter((_bin(s, first, first_size), _bin(s, second, second_size)) for s in drawn)
                assert len(table) == first_size * second_size
                assert max(table.values()) < 2.0 * len(drawn) / len(table)
    assert len({style.plain for style in drawn}) == len(catalog.plain)


def _bin(style: Style, name: str, size: int) -> int:
    pool = {"plain": "plain", "speakers": "speakers", "items": "items", "cue": "cues", "numbering": "numberings"}[name]
    entries = getattr(load(), pool)
    return entries.index(getattr(style, name)) * size // len(entries)


def test_numbered_questions_never_have_numbered_options() -> None:
    assert {s.items.marks for s in styles(4_000, 2) if s.mode == "numbered"} <= {"", "A", "a"}


def test_shots_are_set_apart_by_something_else_than_pairs() -> None:
    for style in styles(3_000, 2, 2):
        assert style.shot_separator not in (style.separator, style.gap, style.passage_gap)


def test_groups_of_one_name_are_told_apart_by_their_text() -> None:
    one, other = (draw(load(), seed=SEED, group=group("same", 2, text=text)) for text in ("one", "other"))
    assert one != other
    assert one == draw(load(), seed=SEED, group=group("same", 2, text="one"))


def test_a_change_of_one_pool_changes_no_other_choice() -> None:
    catalog = load()
    smaller = replace(catalog, plain=catalog.plain[:7], weights={**catalog.weights, "dialog": 50})
    for i in range(200):
        before, after = (draw(c, seed=SEED, group=group(str(i), 2)) for c in (catalog, smaller))
        same = replace(after, plain=before.plain, mode=before.mode, inverted=before.inverted, items=before.items)
        same = replace(same, item_end=before.item_end, separator=before.separator, shot_separator=before.shot_separator)
        assert same == before


def test_draws_are_pinned_for_all_machines_and_grow_at_the_end() -> None:
    assert draws(12345, "template", count=2) == draws(12345, "template", count=40)[:2]
    assert draws(12345, "template", count=1) == (6021570949172040988,)
    assert draws("x", count=0) == ()
    tens = Counter(number * 10 >> 64 for i in range(500) for number in draws("even", i, count=10))
    assert all(400 < tens[ten] < 600 for ten in range(10))
