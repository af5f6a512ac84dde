"""Engines: what turns token ids into more token ids. One contract, one file an engine, one table line each.

An engine is asynchronous: a caller awaits `complete` for many prompts at once and the engine batches those that wait
together. Identity is the model, not the engine: which engine wrote a completion is never part of a fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

from instructpt.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn. Greedy by default, as in the paper (section 2)."""

    max_new_tokens: int = 400
    """The paper's number (section 2)."""
    temperature: float = 0.0
    """0 = greedy."""
    seed: int = 0
    """For temperature > 0: a request's own stream is drawn from this and its prompt."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise RecipeError(f"max_new_tokens is {self.max_new_tokens}: give at least 1")
        if self.temperature < 0:
            raise RecipeError(f"temperature is {self.temperature}: give 0 (greedy) or more")


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine answered."""

    text: str
    num_tokens: int
    """Tokens that were written, an end of text included."""
    finish: Literal["stop", "length"]
    """"stop": the model ended its text; "length": it ran into max_new_tokens or the context's end."""


class Engine(Protocol):
    """The contract. `tests/contracts/test_engines.py` runs over every entry of `ENGINES`."""

    async def complete(self, prompt: Sequence[int], sampling: Sampling) -> Completion:
        """Go on from `prompt`. Raises EngineError if this prompt cannot be answered; other prompts are not touched."""
        ...

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """Natural-log probability of each continuation token after the prompt and the tokens before it."""
        ...

    async def close(self) -> None:
        """Let go of the model; requests under way raise EngineError. May be called again."""
        ...


ENGINES = {
    "transformers": "instructpt.engines.transformers:TransformersEngine",
    "scripted": "instructpt.engines.scripted:ScriptedEngine",
}
"""Name -> module:Class. A class takes the model (folder or Hub id) and its own keyword options."""


def open_engine(name: str, model: str, **options: Any) -> Engine:
    """The engine called `name` with `model` loaded. Raises RecipeError for an unknown name."""
    if name not in ENGINES:
        raise RecipeError(f"no engine is called {name!r}: choose one of {', '.join(sorted(ENGINES))}")
    module, _, attribute = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), attribute)(model, **options)
    return engine
