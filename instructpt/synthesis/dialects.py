"""Dialects: how a group is written to a model, and how a model's answer is read. One contract, one table line each.

    group   --write-->   training text of the model that is to write pairs
    earlier shots and a passage   --prompt-->   what that model goes on from   --(engine)-->   answer
    answer  --parse-->   pairs, and rejects with a reason

`parse` undoes `write`: nothing after it looks for markup again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import ClassVar, Protocol

from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text


class Dialect(Protocol):
    """The contract. `tests/contracts/test_dialects.py` runs over every entry of `DIALECTS`."""

    marks: ClassVar[tuple[str, ...]]
    """Its tags, for a vocabulary that is made for it."""
    can_steer: ClassVar[bool]
    """Whether pairs carry their category, and a prompt may ask for categories."""

    def write(self, group: Group) -> Text:
        """The group as one training text of kind "task", with loss on what the model is to write.

        A pair that `refuse` names a reason for is left out, and so is a shot without pairs; `keep_writable` counts
        both. The text is empty if nothing is left.
        """
        ...

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> list[str]:
        """What the model goes on from, one string a sequence, for `Vocabulary.sequence`; the last one stays open.

        The strings are those that `write` makes of the same shots. Earlier shots without pairs are left out.
        categories: of the pairs to write, one name a pair, in order; none leaves the choice to the model.
        Raises RecipeError for categories in a dialect that cannot be asked for any (`can_steer`).
        """
        ...

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> list[str]:
        """What the model goes on from to answer `pair`'s question (with its options and cue); for `answer`.

        The strings are those that `write` makes of the same shots and this pair alone, up to where its answer begins.
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
}
"""Name -> module:Class. A class takes no arguments."""


def open_dialect(name: str) -> Dialect:
    """The dialect called `name`. Raises RecipeError for an unknown name."""
    if name not in DIALECTS:
        raise RecipeError(f"no dialect is called {name!r}: choose one of {', '.join(sorted(DIALECTS))}")
    module, _, attribute = DIALECTS[name].partition(":")
    dialect: Dialect = getattr(import_module(module), attribute)()
    return dialect


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
