"""Dialects: how a group is written to a model, and how a model's answer is read. One contract, one table line each.

    group   --write-->   training text of the model that is to write pairs
    earlier shots and a passage   --prompt-->   what that model goes on from   --(engine)-->   answer
    answer  --parse-->   pairs, and rejects with a reason

`parse` undoes `write`: nothing after it looks for markup again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar, Protocol

from instructpt.engines import Conversation, Form
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text
from instructpt.synthesis.markup import NOTHING_KNOWN


class Dialect(Protocol):
    """The contract. `tests/contracts/test_dialects.py` runs over every entry of `DIALECTS`."""

    marks: ClassVar[tuple[str, ...]]
    """Its tags, for a vocabulary that is made for it."""
    can_steer: ClassVar[bool]
    """Whether pairs carry their category, and a prompt may ask for categories."""
    asks_apart: ClassVar[bool]
    """Whether each pair that is asked for is best written by itself (`chains.turns`)."""

    def write(self, group: Group) -> Text:
        """The group as one training text of kind "task", with loss on what the model is to write.

        A pair that `refuse` names a reason for is left out, and so is a shot without pairs; `keep_writable` counts
        both. The text is empty if nothing is left.
        """
        ...

    def arrange(self, shot: Shot) -> Shot:
        """The shot with its pairs in the order in which a model is to learn to write them."""
        ...

    def prompt(
        self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()
    ) -> list[str] | Conversation:
        """What the model goes on from: markup, one string a sequence, for `Vocabulary.sequence` (the last one stays
        open), or a conversation for an instruct model.

        The strings are those that `write` makes of the same shots. Earlier shots without pairs are left out.
        categories: of the pairs to write, one name a pair, in order; none leaves the choice to the model.
        Raises RecipeError for categories in a dialect that cannot be asked for any (`can_steer`).
        """
        ...

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        spans: Sequence[str] = (),
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form | None:
        """What an answer to such a `prompt` looks like, for engines that hold a model to it; None if anything goes.

        `parse` finds no reject in a whole answer of this form, but for texts that are empty where a JSON schema is all
        that servers take. It asks for as many pairs as `categories` (in their order, if the dialect can say that), and
        for at least one pair where none are given. passage: what the pairs are about; a form may hang on it (markup
        lets a `<` through only where the passage has one). field_characters: about how long a question, an option, a
        reason or an answer may get, so that a model in a loop comes to an end; a form may be unable to say it. spans:
        what answers that are spans are to be chosen from; by default anything in the passage. answers: of categories,
        what `Prompting.answers` says; a form may hold those that are spans to what the passage says.
        """
        ...

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str] | Conversation:
        """What the model goes on from to answer `pair`'s question (with its options and cue); for `answer`.

        The strings are those that `write` makes of the same shots and this pair alone, up to where its answer begins; a
        dialect that writes answers first asks as `tags` does.
        pair: one that `refuse` says nothing against.
        """
        ...

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """`pair` with the answer (and rationale, if `pair` has one) that the model gave after `ask`.

        The answer goes to its end tag, or to the end of the text where there is none: a model that was not tuned never
        writes one. A Reject where there is no answer, or a tag inside it.
        """
        ...

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """The pairs in an answer, in order, and what was no pair, each with a reason in snake_case."""
        ...

    def refuse(self, pair: Pair) -> str | None:
        """Why this pair cannot be written so that `parse` gives it back; None if it can."""
        ...


DIALECTS = {
    "tags": "instructpt.synthesis.tags:Tags",
    "steered": "instructpt.synthesis.steered:Steered",
    "answers": "instructpt.synthesis.answers:Answers",
    "chat": "instructpt.synthesis.chat:Chat",
}
"""Name -> module:Class. A class takes no arguments, or one for which it has a default: see `VARIANTS`."""

VARIANTS = {"chat": "instructpt.synthesis.prompts:variants"}
"""Name -> module:function that lists what the class takes behind a colon: "chat:german", "chat:lines"."""


def dialect_names() -> list[str]:
    """What `open_dialect` takes, sorted. Besides these, "chat:lines:german" is a layout and a language, and a path that
    ends in .toml stands for a language: "chat:path/to/mine.toml", "chat:lines:mine.toml"."""
    return sorted([*DIALECTS, *(f"{name}:{variant}" for name in VARIANTS for variant in _named(VARIANTS[name])())])


def open_dialect(name: str) -> Dialect:
    """The dialect called `name`: one of `DIALECTS`, or one with a variant, as in "chat:german".

    Raises RecipeError for an unknown name, InputError for a file that is no wording.
    """
    first, colon, variant = name.partition(":")
    if first not in DIALECTS or (colon and first not in VARIANTS):
        names = dialect_names()
        near = get_close_matches(name, names, n=2)
        hint = f"did you mean {' or '.join(near)}? There are" if near else "choose one of"
        raise RecipeError(f"no dialect is called {name!r}: {hint} {', '.join(names)}")
    dialect: Dialect = _named(DIALECTS[first])(*([variant] if colon else []))
    return dialect


def dialect_sources(name: str) -> dict[str, str]:
    """What a dialect's prompts depend on besides code, for `Stage.sources`: the wording's fingerprint, if it has one.

    Raises as `open_dialect`.
    """
    wording = getattr(open_dialect(name), "wording", None)
    return {} if wording is None else {"wording": wording.fingerprint}


def _named(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def keep_writable(group: Group, *, dialect: Dialect) -> Group:
    """The group with each pair that the dialect cannot write turned into a reject, so that it is counted."""
    shots = []
    for shot in group.shots:
        reasons = [dialect.refuse(pair) for pair in shot.pairs]
        pairs = tuple(pair for pair, reason in zip(shot.pairs, reasons, strict=True) if reason is None)
        rejects = tuple(
            Reject(f"{pair.question}\n{pair.answer}", reason)
            for pair, reason in zip(shot.pairs, reasons, strict=True)
            if reason is not None
        )
        shots.append(replace(shot, pairs=pairs, rejects=shot.rejects + rejects))
    return replace(group, shots=tuple(shots))
