"""The contract of template catalogs, run over every language: enough wordings, each fit for every kind of pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from instructpt.records import Document, Group, Pair, Shot
from instructpt.templates.catalog import MODES, Mode, WordingCatalog, languages, load
from instructpt.templates.render import LAYOUTS, render

# Of English; another language has at least a third of what English has.
# Enough that no wording is seen often; the paper's sizes are larger for pairs with reasoning, where ours are composed.
MINIMUM = {
    "plain": 60,
    "choice": 24,
    "reasoned": 20,
    "reasoned_choice": 20,
    "cues": 10,
    "conclusions": 10,
    "headers": 16,
    "items": 60,
    "openers": 30,
    "gaps": 3,
    "joiners": 30,
    "inverted_openers": 30,
    "passages": 30,
    "numbered": 11,
    "numberings": 40,
    "few_shot": 10,
    "explanations": 10,
    "speakers": 50,
    "lead_ins": 15,
    "inverted_lead_ins": 10,
    "next_turn": 15,
    "none": 5,
}
# WordingCatalog's pool -> the mode that writes it, and whether pairs come first.
USED_IN: dict[str, tuple[Mode, bool]] = {
    "plain": ("classic", False),
    "choice": ("classic", False),
    "reasoned": ("classic", False),
    "reasoned_choice": ("classic", False),
    "replies": ("dialog", False),
    "cues": ("dialog", False),
    "conclusions": ("dialog", False),
    "headers": ("classic", False),
    "items": ("few_shot", False),
    "item_ends": ("classic", False),
    "openers": ("classic", False),
    "gaps": ("dialog", False),
    "joiners": ("classic", False),
    "leads": ("dialog", False),
    "inverted_openers": ("classic", True),
    "passage_gaps": ("classic", True),
    "passages": ("dialog", True),
    "numbered": ("numbered", False),
    "numberings": ("numbered", False),
    "few_shot": ("few_shot", False),
    "explanations": ("few_shot", False),
    "speakers": ("dialog", False),
    "lead_ins": ("dialog", False),
    "inverted_lead_ins": ("dialog", True),
    "turn_ends": ("dialog", False),
    "next_turn": ("next_turn", False),
}
PAIRS = (
    Pair("<q0>", "<a0>"),
    Pair("<q1>", "<a1>", ("<o1>", "<a1>")),
    Pair("<q2>", "<a2>", rationale="<r2>"),
    Pair("<q3>", "<a3>", ("<a3>", "<o3>"), "<r3>"),
)
GROUP = Group("g", (Shot(Document("d", "<t0>", "s"), PAIRS), Shot(Document("e", "<t1>", "s"), PAIRS[:1])))
TWICE = Group("g", (Shot(Document("d", "<t0>", "s"), PAIRS),))


@pytest.mark.parametrize("language", languages())
def test_pools_are_large_enough(language: str) -> None:
    catalog = load(language)
    sizes = {name: len(getattr(catalog, name)) for name in MINIMUM}
    wanted = MINIMUM if language == "english" else {name: len(getattr(load(), name)) / 3 for name in MINIMUM}
    assert {name: size for name, size in sizes.items() if size < wanted[name]} == {}


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("pool", USED_IN)
def test_every_wording_holds_every_kind_of_pair(language: str, pool: str) -> None:
    mode, inverted = USED_IN[pool]
    for entry, catalog in _each(load(language), pool, mode, inverted):
        group = TWICE if mode in ("numbered", "few_shot", "next_turn") else GROUP
        for seed in range(4):
            (rendered,) = render(group, catalog=catalog, seed=seed)
            text = rendered.text
            assert rendered.layout == mode + ("_inverted" if inverted else ""), entry
            for shot in group.shots:
                assert text.count(shot.document.text) == 1, entry
            for i, pair in enumerate(PAIRS):
                assert text.count(pair.question) == (2 if i == 0 and len(group.shots) == 2 else 1), entry
                assert text.count(pair.rationale or "<q1>") == 1, entry
                assert pair.answer in text, entry
            assert "{" not in text, entry
            assert "\n" not in (text[0], text[-1]), entry


def _each(catalog: WordingCatalog, pool: str, mode: Mode, inverted: bool) -> Iterator[tuple[Any, WordingCatalog]]:
    """The catalog with one entry of a pool alone, for each of its entries."""
    weights: dict[Mode, int] = {name: int(name == mode) for name in MODES}
    fixed = replace(catalog, weights=weights, inversion_percent=100 if inverted else 0)
    for entry in getattr(catalog, pool):
        yield entry, replace(fixed, **{pool: (entry,)})


@pytest.mark.parametrize("language", languages())
def test_every_mode_has_a_layout_and_a_weight(language: str) -> None:
    assert set(load(language).weights) == set(MODES) == set(LAYOUTS)
