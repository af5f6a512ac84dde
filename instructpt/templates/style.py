"""Style: everything that is drawn for a group, once, before any of it is written.

All texts of a group share one style, so that a chain of texts reads as examples of one kind (the paper, section 3).
Each choice, a field of `Style`, has a stream of its own: a group's number for a choice depends on the seed, the group's
name and its first text, and on no other choice. (In the paper's code all choices come from equal seeds: 2,856 of 16,800
pairs of opener and joiner are ever drawn, and a Dialog is never inverted.)

    mode       classic 80, dialog 5, numbered 5, few_shot 5, next_turn 5; the last three only if each text has two pairs
    inverted   5 %, of classic and dialog
    the rest   one of a pool each; openers and joiners are left out half of the time, options shown half of the time
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from instructpt.records import Group
from instructpt.seeds import digest, draws
from instructpt.templates.catalog import Mode, WordingCatalog
from instructpt.templates.wording import ChoicePatterns, FewShot, NextTurn, Numbering, OptionItems, Pattern, Phrase

Entry = TypeVar("Entry")

_NEEDS_TWO_PAIRS = ("numbered", "few_shot", "next_turn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What was drawn for a group, in the order of the numbers: new fields go to the end.

    The catalog's files say what each piece of wording is for; pool: the one that it is drawn from. What is_optional is
    left out half of the time, by a number before its own. Where no pool is named, more than the catalog decides.
    """

    key: str
    """Of the group: the streams of its single pairs are named after it."""
    mode: Mode
    inverted: bool
    """Pairs first, then the text. Only in the modes classic and dialog."""
    plain: Pattern = field(metadata={"pool": "plain"})
    choice: ChoicePatterns = field(metadata={"pool": "choice"})
    reasoned: Pattern = field(metadata={"pool": "reasoned"})
    reasoned_choice: ChoicePatterns = field(metadata={"pool": "reasoned_choice"})
    reply: Pattern = field(metadata={"pool": "replies"})
    cue: str = field(metadata={"pool": "cues"})
    conclusion: Pattern = field(metadata={"pool": "conclusions"})
    shows_options: bool
    """False: questions with options are asked openly and answered by the option's text, wherever that makes sense."""
    header: str = field(metadata={"pool": "headers"})
    items: OptionItems
    item_end: str
    none: str = field(metadata={"pool": "none"})
    opener: Pattern | None = field(metadata={"pool": "openers", "is_optional": True})
    gap: str = field(metadata={"pool": "gaps"})
    joiner: Phrase | None = field(metadata={"pool": "joiners", "is_optional": True})
    lead: str = field(metadata={"pool": "leads"})
    separator: str
    shot_separator: str
    inverted_opener: Phrase = field(metadata={"pool": "inverted_openers"})
    passage_gap: str = field(metadata={"pool": "passage_gaps"})
    passage: Pattern = field(metadata={"pool": "passages"})
    numbered: Pattern = field(metadata={"pool": "numbered"})
    numbering: Numbering = field(metadata={"pool": "numberings"})
    few_shot: FewShot = field(metadata={"pool": "few_shot"})
    explanation: Pattern = field(metadata={"pool": "explanations"})
    speakers: tuple[str, str] = field(metadata={"pool": "speakers"})
    lead_in: str = field(metadata={"pool": "lead_ins"})
    inverted_lead_in: str = field(metadata={"pool": "inverted_lead_ins"})
    turn_end: str = field(metadata={"pool": "turn_ends"})
    next_turn: NextTurn = field(metadata={"pool": "next_turn"})

    @property
    def layout(self) -> str:
        """The name to count it under: the mode, with "_inverted" where the pairs come first."""
        return f"{self.mode}_inverted" if self.inverted else self.mode


_DRAWN = [one for one in fields(Style) if one.name != "key"]
_POOLS = {one.name: one.metadata["pool"] for one in _DRAWN if one.metadata}
_OPTIONAL = [one.name for one in _DRAWN if one.metadata.get("is_optional")]
_NUMBERS = [name for one in _DRAWN for name in ([f"has_{one.name}"] if one.name in _OPTIONAL else []) + [one.name]]


def draw(catalog: WordingCatalog, *, seed: int, group: Group) -> Style:
    """The style of a group that has pairs. The same seed and group give the same style on every machine."""
    assert any(shot.pairs for shot in group.shots), "a group without pairs has no style"
    # A group's id may repeat; the first text tells such groups apart.
    key = digest(seed, "template", group.id, group.shots[0].document.text).hex()
    numbers = dict(zip(_NUMBERS, draws(key, count=len(_NUMBERS)), strict=True))

    def pick(name: str, pool: tuple[Entry, ...]) -> Entry:
        return pool[numbers[name] * len(pool) >> 64]

    def coin(name: str) -> bool:
        return numbers[name] >> 63 == 1

    mode = _mode(catalog, numbers["mode"], group)
    drawn: dict[str, Any] = {name: pick(name, getattr(catalog, pool)) for name, pool in _POOLS.items()}
    spread = _spread(group, (drawn["plain"], drawn["choice"].shown, drawn["reasoned"], drawn["reasoned_choice"].shown))
    separator = pick("separator", (catalog.line_separators, catalog.separators, catalog.wide_separators)[spread])
    taken = separator, drawn["gap"], drawn["passage_gap"]
    items = pick("items", catalog.lettered_items if mode == "numbered" else catalog.items)
    item_ends = catalog.item_ends + catalog.marked_item_ends if items.marks else catalog.item_ends
    drawn |= {
        "inverted": mode in ("classic", "dialog") and numbers["inverted"] * 100 >> 64 < catalog.inversion_percent,
        "shows_options": coin("shows_options"),
        "items": items,
        "item_end": pick("item_end", item_ends),
        **{name: None for name in _OPTIONAL if not coin(f"has_{name}")},
        "separator": separator,
        "shot_separator": pick("shot_separator", tuple(s for s in catalog.shot_separators if s not in taken)),
    }
    return Style(key=key, mode=mode, **drawn)


def _mode(catalog: WordingCatalog, number: int, group: Group) -> Mode:
    place = number * sum(catalog.weights.values()) >> 64
    has_two_pairs = all(len(shot.pairs) != 1 for shot in group.shots)
    for mode, weight in catalog.weights.items():
        place -= weight
        if place < 0:
            # What cannot be laid out as drawn goes to classic, which is how 80 and 5 become 95 and 5.
            return mode if has_two_pairs or mode not in _NEEDS_TWO_PAIRS else "classic"
    raise AssertionError("weights are positive and place is below their sum")


def _spread(group: Group, templates: tuple[Pattern, Pattern, Pattern, Pattern]) -> int:
    """The largest spread of the templates that the group's pairs need.

    templates: for pairs that are free, with options, with a rationale, with both.
    """
    in_use = {(1 if pair.options else 0) + (2 if pair.rationale else 0) for shot in group.shots for pair in shot.pairs}
    return max(templates[i].spread for i in in_use)
