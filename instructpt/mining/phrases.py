"""The wording of mined questions: data, not code. `wording/english.toml` holds it, all of it our own.

    [title]                          one table a rule
    free = [                         one list a form, at least five wordings, each with the same {placeholders}
      "What is the title of this passage?",
      ...

A wording is drawn and filled in one pass, so that braces in a passage are only braces. That the file is sound (five
wordings and more, none twice, equal placeholders) is tested, since nobody but us writes it.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

EVIDENCE = "evidence"
"""The table that is no rule's: how a rationale quotes the sentence it rests on."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def ask(rule: str, form: str, rng: random.Random, **fields: str) -> str:
    """A drawn wording of this rule and form, its placeholders filled with `fields`."""
    wording = rng.choice(english()[rule][form])
    return PLACEHOLDER.sub(lambda match: fields[match.group(1)], wording)


def evidence(sentence: str, rng: random.Random) -> str:
    """A rationale that quotes the sentence an answer rests on."""
    return ask(EVIDENCE, "quote", rng, sentence=sentence.replace('"', "'"))


@cache
def english() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Rule -> form -> wordings."""
    return tomllib.loads((files(__package__) / "wording" / "english.toml").read_text("utf-8"))
