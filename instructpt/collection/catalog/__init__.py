"""The catalog of task sets: what each set asks, in which words, under which licence. One TOML file, one table a set.

    [subjectivity]
    category = "subjectivity classification"    # becomes the pairs' category
    group = "subjectivity"                      # broad group, for balancing and for reading
    licence = "CC BY 4.0"
    wordings = ["Is this opinion or report?", ...]

A set whose rows hold questions of their own has no wordings. One whose rows are bare labels has at least five, of which
one is drawn per context. A wording may hold {question}, to frame the row's own, and {labels}, to name the label set in
the question; its pairs then have no options (NER: the answer lists several labels, so it is none of them).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instructpt.errors import InputError

MIN_WORDINGS = 5
"""Fewer wordings than this would teach a model the wording instead of the task."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one task set."""

    category: str
    group: str
    licence: str
    wordings: tuple[str, ...] = ()
    """None for a set whose rows hold questions."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Task sets by name."""

    entries: Mapping[str, Entry]
    unanswerable: tuple[str, ...]
    """Answers to a question that the text does not answer."""


def locate(name: str) -> Path:
    """Where the catalog called `name` lies: one that ships, or a path."""
    return Path(__file__).parent / f"{name}.toml" if name.isidentifier() else Path(name).expanduser()


def load(name: str = "sample") -> Catalog:
    """Read and check a catalog: one that ships, by name, or a TOML file, by path.

    Raises InputError naming the set and the field that is wrong.
    """
    path = locate(name)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        shipped = ", ".join(sorted(file.stem for file in Path(__file__).parent.glob("*.toml")))
        raise InputError(f"no catalog is called {name}: give {shipped}, or the path of a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML ({error}): mend that line") from error
    unanswerable = tables.pop("unanswerable", None)
    if not _texts(unanswerable) or not unanswerable:
        raise InputError(
            f"{path} has no list `unanswerable`: give the answers to questions that a text does not answer"
        )
    return Catalog({name: _entry(path, name, table) for name, table in tables.items()}, tuple(unanswerable))


def _entry(path: Path, name: str, table: object) -> Entry:
    where = f"{path.name}, [{name}]"
    if not isinstance(table, dict) or not all(
        isinstance(table.get(key), str) for key in ("category", "group", "licence")
    ):
        raise InputError(f"{where}: category, group and licence are needed, each a text")
    unknown = sorted(set(table) - {"category", "group", "licence", "wordings"})
    if unknown:
        raise InputError(f"{where}: unknown field {unknown[0]!r}; category, group, licence and wordings are known")
    wordings = table.get("wordings", [])
    if not _texts(wordings) or len(set(wordings)) < len(wordings):
        raise InputError(f"{where}: wordings must be different texts")
    if 0 < len(wordings) < MIN_WORDINGS:
        raise InputError(f"{where}: {len(wordings)} wordings; give at least {MIN_WORDINGS}, or none")
    for wording in wordings:
        for placeholder in re.findall(r"\{[^}]*\}", wording):
            if placeholder not in ("{question}", "{labels}"):
                raise InputError(f"{where}: unknown placeholder {placeholder}; use {{question}} or {{labels}}")
    return Entry(table["category"], table["group"], table["licence"], tuple(wordings))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
