"""The catalog of task sets: what each asks, in which words, under which licence, where it comes from. One table a set.

    [subjectivity]
    category = "subjectivity"           # fine: the category of its pairs, which a steered synthesizer writes
    group = "opinion mining"            # broad: for balancing and for reading
    licence = "CC BY 4.0"
    redistribution = "yes"              # may weights trained on it be passed on?
    source = "nltk/nltk_data@5db857e6f7"
    part = "seen"                       # or "unseen": kept for measuring what was learnt
    answers = "label"                   # "span", "label" or "free"
    suits = ["writer", "reader"]        # what is tuned on it where questions come after their answers; none: neither
    wordings = ["Is this opinion or report?", ...]

`load()` reads every TOML file of this folder as one catalog; a user's own is a file of the same layout, given by path.
docs/formats.md lists all keys.

A set whose rows hold questions of their own has no wordings. One whose rows are bare labels has at least five, of which
one is drawn per context. A wording may hold {question}, to frame the row's own, and {labels}, to name the label set in
the question; its pairs then have no options (NER: the answer lists several labels, so it is none of them).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from instructpt.collection.converters import CONVERTERS
from instructpt.errors import InputError, RecipeError
from instructpt.files import content_digest, find

MIN_WORDINGS = 5
"""Fewer wordings than this would teach a model the wording instead of the task."""
MAX_CATEGORY_WORDS = 3
"""A synthesizer writes the category before each pair: every word of it costs room."""

Part = Literal["seen", "unseen"]
Answers = Literal["span", "label", "free"]
Suits = Literal["writer", "reader"]
Redistribution = Literal["yes", "share-alike", "no", "unknown"]

SHIPPABLE: tuple[Redistribution, ...] = ("yes", "share-alike")
"""What weights may be trained on that are passed on."""


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a set lies on the Hugging Face Hub, and what its columns mean; read by `instructpt.collection.hub`."""

    id: str
    split: str
    fields: Mapping[str, Any]
    """Field of the neutral layout -> where it stands in a row."""
    config: str | None = None
    revision: str | None = None
    """A commit; None: the newest."""
    rows: str | None = None
    """Name of a function for rows that hold several questions."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one task set."""

    category: str
    group: str
    licence: str
    redistribution: Redistribution = "unknown"
    source: str = ""
    """Where its rows come from: a repository and a commit of it."""
    part: Part = "seen"
    """"unseen": never trained on by default, so that a synthesizer can be measured on it."""
    family: str | None = None
    """Sets of one family share contexts, and therefore one part."""
    answers: Answers = "free"
    """"span": answers stand in the text, word for word, as a rule; "label": one of a few; "free": anything else."""
    suits: tuple[Suits, ...] = ()
    """"writer": its questions stand on their own and ask about the text, so that one can learn to write such; "reader":
    the text decides the answers, so that one can learn to find them."""
    benchmark: str | None = None
    """The scored benchmark that it is a part of: left out by default."""
    wordings: tuple[str, ...] = ()
    """None for a set whose rows hold questions."""
    frame: str | None = None
    """The words that all its questions are put in, with {question} for the rest: taken off, for the wordings."""
    converter: str | None = None
    """A name in `instructpt.collection.converters.CONVERTERS`."""
    hub: Hub | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Task sets by name."""

    entries: Mapping[str, Entry]
    unanswerable: tuple[str, ...]
    """Answers to a question that the text does not answer."""

    def named(self, names: Iterable[str]) -> Catalog:
        """The sets that `names` stand for, each the name of a set, a category or a group; all sets for no names.

        Raises RecipeError for a name that is none of these, with those most like it.
        """
        wanted = tuple(names)
        known = {word for name, entry in self.entries.items() for word in (name, entry.category, entry.group)}
        for name in wanted:
            if name not in known:
                raise RecipeError(f"no data set, category or group is called {name!r}{suggestion(name, known)}")
        chosen = {
            name: entry
            for name, entry in self.entries.items()
            if not wanted or not {name, entry.category, entry.group}.isdisjoint(wanted)
        }
        return Catalog(chosen, self.unanswerable)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which sets are taken: by name, by part, apart from what is scored, and by licence.

    A set that no catalog knows is taken as one to train on, of unknown licence.
    """

    sets: tuple[str, ...] = ()
    """Names of sets, categories or groups; none: all."""
    part: Literal["seen", "unseen", "all"] = "seen"
    """Those to tune on, those kept to measure what was learnt, or both."""
    benchmarks: bool = False
    """Whether parts of scored benchmarks are taken."""
    redistributable: bool = False
    """Only sets whose licence lets weights trained on them be passed on."""
    suits: Literal["", "writer", "reader"] = field(default="", metadata={"later": True})
    """Only sets that the catalog says suit it; sets that it does not know are taken."""

    def reasons(self, catalog: Catalog) -> dict[str, str]:
        """Why each set of the catalog that is left out is: not_chosen, other_part, benchmark_set, not_suited,
        not_redistributable.

        Raises RecipeError for a name in `sets` that the catalog does not know.
        """
        chosen = catalog.named(self.sets).entries
        reasons = {}
        for name, entry in catalog.entries.items():
            if name not in chosen:
                reasons[name] = "not_chosen"
            elif self.part not in ("all", entry.part):
                reasons[name] = "other_part"
            elif entry.benchmark and not self.benchmarks:
                reasons[name] = "benchmark_set"
            elif self.suits and self.suits not in entry.suits:
                reasons[name] = "not_suited"
            elif self.redistributable and entry.redistribution not in SHIPPABLE:
                reasons[name] = "not_redistributable"
        return reasons

    def unknown_set(self) -> str | None:
        """Why rows of a set that the catalog does not know are left out; None if they are taken."""
        if self.sets:
            return "not_chosen"
        if self.part == "unseen":
            return "other_part"
        return "not_redistributable" if self.redistributable else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: up to three known names most like `name`, or an example where none is like it."""
    spelled = {word.casefold(): word for word in sorted(known)}
    near = [spelled[match] for match in get_close_matches(name.casefold(), spelled, cutoff=0.5)]
    if near:
        return f": did you mean {' or '.join(map(repr, near))}?"
    return f": give one such as {', '.join(map(repr, list(spelled.values())[:3]))}"


def locate(path: str | None = None) -> tuple[Path, ...]:
    """The files of a catalog: all that ship, or the one at `path`. Raises InputError if there is none."""
    if path is None:
        return tuple(sorted(Path(__file__).parent.glob("*.toml")))
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"there is no catalog at {path}: give a TOML file, or none for the catalog that ships")
    return (file,)


def sources(path: str | None = None) -> dict[str, str]:
    """The files of a catalog by content, for the identity of what is made by it."""
    return {f"catalog/{file.name}": content_digest(find(str(file))[0]) for file in locate(path)}


def load(path: str | None = None) -> Catalog:
    """Read and check a catalog: all files that ship as one, or the TOML file at `path` alone.

    Raises InputError naming the file, the set and the key that is wrong.
    """
    entries: dict[str, Entry] = {}
    where: dict[str, str] = {}
    unanswerable: list[str] = []
    files = locate(path)
    for file in files:
        tables = _read(file)
        answers = tables.pop("unanswerable", [])
        if not _texts(answers):
            raise InputError(f"{file.name}: unanswerable must be a list of texts, the answers where a text gives none")
        unanswerable += [answer for answer in answers if answer not in unanswerable]
        for name, table in tables.items():
            if name in entries:
                raise InputError(f"{file.name}, [{name}]: {where[name]} has a set of this name: rename one of them")
            entries[name], where[name] = _entry(f"{file.name}, [{name}]", table), file.name
    if not unanswerable:
        raise InputError(
            f"{files[0].name} has no list `unanswerable`: give the answers to questions that a text does not answer"
        )
    _check_families(entries)
    return Catalog(entries, tuple(unanswerable))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML ({error}): mend that line") from error


_CHOICES = {"redistribution": get_args(Redistribution), "part": get_args(Part), "answers": get_args(Answers)}
_NEEDED = ("category", "group", "licence")
_TEXT_KEYS = (*_NEEDED, "source", "family", "benchmark", "frame", "converter", *_CHOICES)
_HUB_NEEDED = ("id", "split")
_HUB_TEXT_KEYS = (*_HUB_NEEDED, "config", "revision", "rows")


def _entry(where: str, table: object) -> Entry:
    if not isinstance(table, dict):
        raise InputError(f"{where}: a set is a table with {', '.join(_NEEDED)}")
    _check_keys(where, table, needed=_NEEDED, texts=_TEXT_KEYS, others=("wordings", "suits", "hub"))
    for key, choices in _CHOICES.items():
        if table.get(key, choices[0]) not in choices:
            raise InputError(f"{where}: {key} is {table[key]!r}; give {', '.join(choices)}")
    converter = table.get("converter")
    if converter is not None and converter not in CONVERTERS:
        raise InputError(f"{where}: no converter is called {converter!r}{suggestion(converter, CONVERTERS)}")
    if table.get("frame", "{question}").count("{question}") != 1:
        raise InputError(f"{where}: frame is {table['frame']!r}; give a text with one {{question}} in it")
    _check_category(where, table["category"])
    suits = table.get("suits", [])
    if not isinstance(suits, list) or not set(suits) <= set(get_args(Suits)):
        raise InputError(f"{where}: suits is {suits!r}; give a list of {', '.join(get_args(Suits))}")
    values = {key: table[key] for key in _TEXT_KEYS if key in table}
    return Entry(
        **values,
        suits=tuple(suits),
        wordings=_wordings(where, table.get("wordings", [])),
        hub=_hub(where, table.get("hub")),
    )


def _hub(where: str, table: object) -> Hub | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise InputError(f"{where}: hub is a table with id, split and fields")
    _check_keys(f"{where}, hub", table, needed=_HUB_NEEDED, texts=_HUB_TEXT_KEYS, others=("fields",))
    fields = table.get("fields", {})
    if not isinstance(fields, dict) or not (fields or "rows" in table):
        raise InputError(f"{where}, hub: fields must be a table that says where question and answer stand in a row")
    return Hub(**{key: table[key] for key in _HUB_TEXT_KEYS if key in table}, fields=fields)


def _check_keys(
    where: str, table: Mapping[str, Any], *, needed: Iterable[str], texts: Iterable[str], others: Iterable[str]
) -> None:
    known = {*texts, *others}
    for key in sorted(set(table) - known):
        raise InputError(f"{where}: unknown key {key!r}{suggestion(key, known)}")
    for key in needed:
        if key not in table:
            raise InputError(f"{where}: {key} is missing")
    for key in texts:
        value = table.get(key, "-")
        if not isinstance(value, str) or not value.strip() or value != value.strip():
            raise InputError(f"{where}: {key} is {value!r}; give a text without blanks around it")


def _check_category(where: str, category: str) -> None:
    """Short and plain, for it is written into prompts, lists and `--categories`."""
    words = category.split(" ")
    if len(words) > MAX_CATEGORY_WORDS or not all(words):
        raise InputError(f"{where}: category {category!r} has {len(words)} words; give at most {MAX_CATEGORY_WORDS}")
    if found := re.search(r"[,=|<>\n]", category):
        raise InputError(f"{where}: category {category!r} holds {found[0]!r}; leave it out")
    if any(word not in (word.lower(), word.upper()) for word in words):
        raise InputError(f"{where}: category {category!r} has capitals; only acronyms may")


def _wordings(where: str, wordings: object) -> tuple[str, ...]:
    if not _texts(wordings) or len(set(wordings)) < len(wordings):
        raise InputError(f"{where}: wordings must be different texts")
    if 0 < len(wordings) < MIN_WORDINGS:
        raise InputError(f"{where}: {len(wordings)} wordings; give at least {MIN_WORDINGS}, or none")
    for wording in wordings:
        for placeholder in re.findall(r"\{[^}]*\}", wording):
            if placeholder not in ("{question}", "{labels}"):
                raise InputError(f"{where}: unknown placeholder {placeholder}; use {{question}} or {{labels}}")
    return tuple(wordings)


def _check_families(entries: Mapping[str, Entry]) -> None:
    first: dict[str, str] = {}
    for name, entry in entries.items():
        other = first.setdefault(entry.family, name) if entry.family else name
        if entries[other].part != entry.part:
            raise InputError(
                f"[{name}] is {entry.part} but [{other}] of its family {entry.family!r} is {entries[other].part}: "
                "sets that share contexts go into one part"
            )


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
