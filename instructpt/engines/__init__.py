"""Engines: what turns a prompt into an answer. One contract, one file an engine, one table line each.

An engine is asynchronous: a caller awaits `complete` for many prompts at once and the engine batches those that wait
together. Identity is the model, not the engine: which engine wrote a completion is never part of a fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol

from instructpt.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What an instruct model is asked, before any chat template made tokens of it. The last turn is the user's."""

    messages: tuple[Message, ...]


Prompt = Sequence[int] | Conversation
"""Token ids (exactly what the model reads, its begin of text included), or a conversation that the engine or its server
lays out by the model's own chat template."""


@dataclass(frozen=True, slots=True)
class Form:
    """What every answer looks like. An engine that can holds the model to it while it writes; others ignore it.

    A help, not a promise: an answer may be cut off by its length, and whoever reads it still checks it.
    """

    kind: Literal["regex", "json", "grammar"]
    """A regular expression (without anchors, looks ahead or back references) for the whole answer, a JSON schema, or a
    grammar in llguidance's dialect of Lark, whose first line is `%llguidance {}`."""
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn. Greedy by default, as in the paper (section 2)."""

    max_new_tokens: int = 400
    """The paper's number (section 2)."""
    temperature: float = 0.0
    """0 = greedy."""
    seed: int = 0
    """For temperature > 0: a request's own stream is drawn from this and its prompt."""
    form: Form | None = None

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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where an engine's model runs, as people are told of it."""

    name: str
    """Its URL, without credentials."""
    is_healthy: bool
    num_under_way: int
    num_answered: int
    num_failed: int
    trouble: str = ""
    """Why it gives no answers at this moment; "" if it does."""
    is_held_back: bool = False
    """Whether it said "too many requests", and gets none until it is time."""
    idle: Mapping[str, float] = field(default_factory=dict)
    """Shares of the time for which it had nothing to do, by cause, where somebody looks (`synthesis.idleness`)."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is, for people and for whoever sends it requests."""

    capacity: int | None = None
    """Requests at once beyond which it wins nothing, in all its endpoints; None where it cannot know."""
    num_prompt_tokens: int = 0
    """Read so far, as far as it was told."""
    num_cached_tokens: int | None = None
    """Of those, the ones that a prefix cache held; None where it was not told."""
    endpoints: tuple[Endpoint, ...] = ()
    """None where the model runs in this process."""


class Engine(Protocol):
    """The contract. `tests/contracts/test_engines.py` runs over every entry of `ENGINES`."""

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Go on from `prompt`. Raises EngineError if this prompt cannot be answered; other prompts are not touched.

        PromptRefusedError if it is the prompt's own fault and would be again; EngineGoneError if nothing can be
        answered any more.
        """
        ...

    def state(self) -> EngineState:
        """How it is at this moment; cheap, from any thread."""
        ...

    async def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Sequence[float]:
        """Natural-log probability of each continuation token after the prompt and the tokens before it."""
        ...

    async def close(self) -> None:
        """Let go of the model; requests under way raise EngineError. May be called again."""
        ...


ENGINES = {
    "transformers": "instructpt.engines.transformers:TransformersEngine",
    "http": "instructpt.engines.http:HttpEngine",
    "vllm": "instructpt.engines.vllm:VllmEngine",
}
"""Name -> module:Class. A class takes the model (folder or Hub id) and its own keyword options. One with
`needs_weights = True` gets the model's whole folder, others what says how text becomes ids: a server has the weights.
One that has the options `device` or `served_model` is told the run's device, and the name of a `remote:NAME`."""


def engine_named(name: str) -> Any:
    """The class of an engine; a name such as mine:Engine is a class in a module of yours.

    Raises RecipeError for an unknown name.
    """
    module, _, attribute = ENGINES.get(name, name).partition(":")
    if not attribute:
        known = ", ".join(sorted(ENGINES))
        raise RecipeError(f"no engine is called {name!r}: choose one of {known}, or give your own as module:Class")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"cannot load the engine {name} ({error}): see that Python can import {module}") from error


def open_engine(name: str, model: str, **options: Any) -> Engine:
    """The engine called `name` with `model` loaded. Raises RecipeError for an unknown name."""
    engine: Engine = engine_named(name)(model, **options)
    return engine
