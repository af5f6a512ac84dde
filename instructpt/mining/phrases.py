"""The wording of mined questions: data, not code. `wording/<language>.toml` holds it, all of it our own.

    [comparison]                     one table a rule
    choice = [                       one list a form, at least five wordings, each with the same {placeholders}
      "Which {verb} {comparative}: {one} or {two}?",
      ...

A wording is drawn and filled in one pass, so that braces in a passage are only braces.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from instructpt.errors import InputError

MIN_WORDINGS = 5
EVIDENCE = "evidence"
"""The table that is no rule's: how a rationale quotes the sentence it rests on."""

Wording = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Rule -> form -> wordings."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def ask(rule: str, form: str, rng: random.Random, **fields: str) -> str:
    """A drawn wording of this rule and form, its placeholders filled with `fields`."""
    wording = rng.choice(english()[rule][form])
    return _PLACEHOLDER.sub(lambda match: fields[match.group(1)], wording)


@cache
def english() -> Wording:
    """The wording that ships with the package."""
    name = "english.toml"
    return parse((files(__package__) / "wording" / name).read_text(encoding="utf-8"), name=name)


def parse(text: str, *, name: str) -> Wording:
    """Read and check a wording file; `name` is what an error calls it.

    Raises InputError for a list of fewer than five wordings, one given twice, or one whose placeholders differ from
    those of its list.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not TOML: {error}; mend that line") from error
    return {
        rule: {form: _checked(wordings, where=f"{name} [{rule}] {form}") for form, wordings in forms.items()}
        for rule, forms in tables.items()
    }


def _checked(wordings: object, *, where: str) -> tuple[str, ...]:
    if not isinstance(wordings, list) or not all(isinstance(wording, str) and wording.strip() for wording in wordings):
        raise InputError(f'{where} is not a list of texts: write {where.rpartition(" ")[2]} = ["...", "..."]')
    if len(wordings) < MIN_WORDINGS:
        raise InputError(f"{where} has {len(wordings)} wordings, expected at least {MIN_WORDINGS}: add some")
    seen: dict[str, str] = {}
    for wording in wordings:
        key = " ".join(wording.casefold().split())
        if key in seen:
            raise InputError(f"{where} holds {wording!r} twice: take one out")
        seen[key] = wording
    expected = placeholders(wordings[0])
    for wording in wordings:
        if placeholders(wording) != expected:
            named = ", ".join(sorted(expected)) or "none"
            raise InputError(f"{where}: {wording!r} has other placeholders than the first wording ({named}): use those")
    return tuple(wordings)


def placeholders(wording: str) -> frozenset[str]:
    """The names in braces in a wording."""
    return frozenset(_PLACEHOLDER.findall(wording))
