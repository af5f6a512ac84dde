"""How pairs stand in the reply of an instruct model: the part of the dialect `chat` that hangs on the model's size.

    json    {"pairs": [{"question": "...", "answer": "..."}, ...]}      json_replies.py
    lines   Q: ...                                                      line_replies.py
            A: ...

Models below some 3 billion parameters do not get JSON right: asked for it, SmolLM2-135M gave 17 pairs for 46 passages,
cut off or repeated, and 59 for 48 in plain lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from instructpt.engines import Form
from instructpt.records import Pair, Reject

MAX_PAIRS = 8
"""A passage, where the model chooses. Replies of some 60 tokens a pair; the shipped synthesizer writes 5."""
MAX_OPTIONS = 8
"""A form's bound; replies that come without one may hold more."""


class Replies(Protocol):
    """One layout. `read(write(pairs))` gives `pairs` back, but for blanks around texts, where `refuse` allows them."""

    def write(self, pairs: Sequence[Pair]) -> str:
        """The reply that holds these pairs."""
        ...

    def read(self, reply: str) -> tuple[list[Pair], list[Reject]]:
        """The pairs in a reply, in order, and what was no pair, each with a reason. Nothing for a blank reply."""
        ...

    def form(self, categories: Sequence[str] = (), *, field_characters: int | None = None) -> Form:
        """What a reply looks like, as `Dialect.form` has it."""
        ...

    def refuse(self, pair: Pair) -> str | None:
        """Why `read` would not give this pair back; None if it does."""
        ...


def refuse_category(category: str) -> str | None:
    """Why a category cannot be written; None if it can."""
    category = category.strip()
    if not category:
        return "empty_category"
    return "broken_category" if len(category.splitlines()) > 1 else None
