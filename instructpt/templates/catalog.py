"""Catalogs: the wording that pairs and texts are laid out with, one folder of TOML files a language.

    catalog/english/modes.toml       how often each layout is drawn
                    pairs.toml       a pair by itself
                    options.toml     lists of options
                    reasoning.toml   pairs with a rationale
                    passages.toml    what stands around a text, and between things
                    lists.toml       the layouts `numbered` and `few_shot`
                    dialog.toml      the layouts `dialog` and `next_turn`

A key of a file is a pool, each a field of `WordingCatalog`; which file holds it does not matter. A language is a
folder with the same pools: nothing else has to be told of it. A catalog is checked when it is read: every pool there
and none unknown, every placeholder in its place, nothing twice. (In the paper's code two missing commas fused strings,
and 6 of 79 free-pair templates were duplicates.)
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from instructpt.errors import InputError
from instructpt.seeds import digest
from instructpt.templates.wording import (
    MARKS,
    ChoicePatterns,
    FewShot,
    NextTurn,
    Numbering,
    OptionItems,
    Pattern,
    Phrase,
    choice,
    phrase,
    template,
)

Mode = Literal["classic", "dialog", "numbered", "few_shot", "next_turn"]
MODES: tuple[Mode, ...] = get_args(Mode)

_FOLDER = Path(__file__).with_name("catalog")


def _weights(value: object) -> Mapping[Mode, int]:
    if not isinstance(value, dict) or set(value) != set(MODES):
        raise ValueError(f"is {value!r}: give one number to each of {', '.join(MODES)}")
    if not all(type(number) is int and number >= 0 for number in value.values()) or not sum(value.values()):
        raise ValueError(f"is {value!r}: give whole numbers that are not negative and not all zero")
    return {mode: value[mode] for mode in MODES}


def _percent(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 100:
        raise ValueError(f"is {value!r}: give a whole number from 0 to 100")
    return value


def _text(entry: object) -> str:
    if not isinstance(entry, str):
        raise ValueError("is no text: put it in quotation marks")
    return entry


def _texts(is_good: Callable[[str], bool], complaint: str) -> Callable[[object], Iterable[str]]:
    """Reads an entry that is a text as it stands."""

    def read_entry(entry: object) -> Iterable[str]:
        if not is_good(_text(entry)):
            raise ValueError(complaint)
        yield _text(entry)

    return read_entry


def _strings(entry: object) -> Iterable[str]:
    yield _text(entry)


_lower_case = _texts(
    lambda text: text != "" and text == text.casefold(), "is not in lower case, which it is compared in"
)
_lines = _texts(lambda text: text.strip() != "" and text == text.strip(), "is empty or has blanks at an end")
_spaces = _texts(
    lambda text: text[:1].isspace() and text[-1:].isspace(),
    "does not begin and end with a blank or a line break: it stands between things",
)
Piece = TypeVar("Piece")


def _patterns(compile_pattern: Callable[..., Piece], **settings: Any) -> Callable[[object], Iterable[Piece]]:
    def read_entry(entry: object) -> Iterable[Piece]:
        yield compile_pattern(_text(entry), **settings)

    return read_entry


def _reasoned(compile_pattern: Callable[..., Piece]) -> Callable[[object], Iterable[Piece]]:
    """Reads a pattern with a rationale; the answer stands in {conclusion} or by itself."""

    def read_entry(entry: object) -> Iterable[Piece]:
        ending = "conclusion" if "{conclusion}" in _text(entry) else "answer"
        yield compile_pattern(_text(entry), required=("question", "rationale", ending), optional=("cue",))

    return read_entry


_reasoned_plain, _reasoned_choice = _reasoned(template), _reasoned(choice)


def _table(entry: object, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(entry, dict) or set(entry) != set(keys):
        raise ValueError(f"does not have exactly the keys {', '.join(keys)}")
    return entry


def _marks(table: dict[str, Any]) -> list[str]:
    marks = table["marks"]
    if not isinstance(marks, list) or not marks or any(kind not in MARKS for kind in marks):
        raise ValueError(f"has marks {marks!r}: give a list of some of {', '.join(MARKS)}")
    return marks


def _items(entry: object) -> Iterable[OptionItems]:
    if isinstance(entry, dict) and "marks" not in entry:
        table = _table(entry, ("item",))
        yield OptionItems(template(_text(table["item"]), required=("option",), padded=True))
        return
    table = _table(entry, ("item", "label", "marks"))
    item = template(_text(table["item"]), required=("mark", "option"), padded=True)
    label = template(_text(table["label"]), required=("mark",))
    for kind in _marks(table):
        yield OptionItems(item, label, kind)


def _numberings(entry: object) -> Iterable[Numbering]:
    table = _table(entry, ("question", "answer", "marks"))
    question, answer = (
        template(_text(table[name]), required=("mark",), padded=True) for name in ("question", "answer")
    )
    for kind in _marks(table):
        yield Numbering(question, answer, kind)


def _few_shot(entry: object) -> Iterable[FewShot]:
    table = _table(entry, ("lead", "example", "last"))
    example = template(_text(table["example"]), required=("question", "answer"), optional=("number",))
    last = template(_text(table["last"]), required=("question", "answer"))
    yield FewShot(phrase(_text(table["lead"])), example, last)


def _next_turn(entry: object) -> Iterable[NextTurn]:
    table = _table(entry, ("pattern", "turn"))
    if table["turn"] not in ("answer", "exchange"):
        raise ValueError(f"has turn {table['turn']!r}: give answer or exchange")
    yield NextTurn(template(_text(table["pattern"]), required=("history", "turn")), table["turn"])


def _speakers(entry: object) -> Iterable[tuple[str, str]]:
    if not isinstance(entry, list) or len(entry) != 2 or len(set(map(_text, entry))) != 2:
        raise ValueError("is not a list of two different texts: who asks, who answers")
    if not all(name.strip() and (name[-1].isspace() or name[-1] in "：】」") for name in entry):
        raise ValueError("has a speaker without a blank, or a mark that stands for one, at the end")
    yield entry[0], entry[1]


def _pool(read_entry: Callable[[object], Iterable[object]]) -> Any:
    """A pool of a catalog, by what reads an entry of its list."""
    return field(metadata={"entry": read_entry})


def _single(read_value: Callable[[object], object]) -> Any:
    """A value of a catalog, by what reads it."""
    return field(metadata={"value": read_value})


@dataclass(frozen=True, slots=True)
class WordingCatalog:
    """All that is drawn from, for one language. The files say what each pool is for."""

    fingerprint: str
    """Of the pools as they were read, wherever they stand; comments do not count."""
    weights: Mapping[Mode, int] = _single(_weights)
    """Shares of the layouts, in whole numbers of any sum."""
    inversion_percent: int = _single(_percent)
    plain: tuple[Pattern, ...] = _pool(_patterns(template, required=("question", "answer")))
    choice: tuple[ChoicePatterns, ...] = _pool(_patterns(choice, required=("question", "answer")))
    reasoned: tuple[Pattern, ...] = _pool(_reasoned_plain)
    reasoned_choice: tuple[ChoicePatterns, ...] = _pool(_reasoned_choice)
    replies: tuple[Pattern, ...] = _pool(_patterns(template, required=("rationale", "conclusion")))
    cues: tuple[str, ...] = _pool(_lines)
    conclusions: tuple[Pattern, ...] = _pool(_patterns(template, required=("answer",)))
    headers: tuple[str, ...] = _pool(_strings)
    items: tuple[OptionItems, ...] = _pool(_items)
    item_ends: tuple[str, ...] = _pool(_spaces)
    marked_item_ends: tuple[str, ...] = _pool(_spaces)
    """Only between items that carry a mark."""
    none: tuple[str, ...] = _pool(_lines)
    pinned: frozenset[str] = _pool(_lower_case)
    needs_options: tuple[str, ...] = _pool(_lower_case)
    openers: tuple[Pattern, ...] = _pool(_patterns(template, required=("text",)))
    gaps: tuple[str, ...] = _pool(_spaces)
    joiners: tuple[Phrase, ...] = _pool(_patterns(phrase))
    leads: tuple[str, ...] = _pool(_spaces)
    line_separators: tuple[str, ...] = _pool(_spaces)
    separators: tuple[str, ...] = _pool(_spaces)
    wide_separators: tuple[str, ...] = _pool(_spaces)
    shot_separators: tuple[str, ...] = _pool(_spaces)
    inverted_openers: tuple[Phrase, ...] = _pool(_patterns(phrase))
    passage_gaps: tuple[str, ...] = _pool(_spaces)
    passages: tuple[Pattern, ...] = _pool(_patterns(template, required=("text",)))
    numbered: tuple[Pattern, ...] = _pool(_patterns(template, required=("questions", "answers")))
    numberings: tuple[Numbering, ...] = _pool(_numberings)
    few_shot: tuple[FewShot, ...] = _pool(_few_shot)
    explanations: tuple[Pattern, ...] = _pool(_patterns(template, required=("rationale",)))
    speakers: tuple[tuple[str, str], ...] = _pool(_speakers)
    lead_ins: tuple[str, ...] = _pool(_lines)
    inverted_lead_ins: tuple[str, ...] = _pool(_lines)
    turn_ends: tuple[str, ...] = _pool(_spaces)
    next_turn: tuple[NextTurn, ...] = _pool(_next_turn)
    lettered_items: tuple[OptionItems, ...] = field(init=False)
    """Items that cannot be mistaken for the numbers of the questions."""
    none_wordings: frozenset[str] = field(init=False)
    """`none`, as it is compared: in lower case."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pinned", frozenset(self.pinned))
        object.__setattr__(self, "lettered_items", tuple(i for i in self.items if i.marks in ("", "A", "a")))
        object.__setattr__(self, "none_wordings", frozenset(wording.casefold() for wording in self.none))


def languages() -> tuple[str, ...]:
    """The languages there is a catalog for."""
    return tuple(sorted(path.name for path in _FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_")))


@cache
def load(language: str = "english") -> WordingCatalog:
    """The catalog of a language. Raises InputError for one that there is none for."""
    if language not in languages():
        raise InputError(f"no templates in {language!r}: choose one of {', '.join(languages())}")
    return read(_FOLDER / language)


def read(folder: Path) -> WordingCatalog:
    """The catalog in a folder of TOML files. Raises InputError naming the file and entry that is wrong."""
    known = {pool.name: pool.metadata for pool in fields(WordingCatalog) if pool.metadata}
    found: dict[str, Any] = {}
    contents: dict[str, Any] = {}
    places: dict[str, str] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not TOML: {error}") from error
        for name, value in content.items():
            if name in places:
                raise InputError(f"{path}: {name} is also in {places[name]}: keep one of them")
            if name not in known:
                raise InputError(f"{path}: nothing is called {name}: use the names that catalog/english uses")
            places[name] = path.name
            contents[name] = value
            found[name] = _read(path, name, value, **known[name])
    if missing := [name for name in known if name not in found]:
        raise InputError(f"{folder} lacks {', '.join(missing)}: add what catalog/english has under these names")
    fingerprint = digest(json.dumps(contents, sort_keys=True)).hex()[:32]
    catalog = WordingCatalog(fingerprint=fingerprint, **found)
    if not catalog.lettered_items:
        raise InputError(f"{folder}: items are all numbers: add some with marks A or a, or without marks")
    if len(catalog.shot_separators) < 4:
        raise InputError(f"{folder}: shot_separators has fewer than 4 entries: add some")
    return catalog


def _read(
    path: Path,
    name: str,
    content: object,
    *,
    value: Callable[[object], object] | None = None,
    entry: Callable[[object], Iterable[object]] | None = None,
) -> object:
    """A value, or a pool that has each piece once."""
    if value is not None:
        try:
            return value(content)
        except ValueError as error:
            raise InputError(f"{path}: {name} {error}") from error
    assert entry is not None, name
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: {name} is {content!r}: give a list with at least one entry")
    pool: dict[object, int] = {}
    for number, one in enumerate(content, start=1):
        try:
            for piece in entry(one):
                if piece in pool:
                    raise ValueError(f"is the same as entry {pool[piece]}: keep one of them")
                pool[piece] = number
        except ValueError as error:
            raise InputError(f"{path}: {name}, entry {number}, {one!r} {error}") from error
    return tuple(pool)
