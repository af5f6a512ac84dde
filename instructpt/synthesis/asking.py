"""Asking: one prompt and its answer, from the ledger if it is there, else from the engine.

    prompt --> key --> under way already? wait --> in the ledger? --> engine --> ledger --> completion

What the requests of one run share is its `Session`: which are under way, what was answered, and how many failed in a
row, by which a dead engine is told from a bad prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from instructpt.engines import Completion, Engine, Sampling
from instructpt.errors import EngineError, RecipeError
from instructpt.records import Shot
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.chains import Prompt
from instructpt.synthesis.checks import find_checks
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.vocabulary import Vocabulary

MAX_FAILURES_IN_A_ROW = 32
"""Requests that may fail one after the other before the engine counts as dead, if none asked before them is still
waited for: what fails fails at once (a prompt too long), while good answers take their time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run of `synthesize` is."""

    passages: int = 0
    pairs: int = 0
    """Accepted ones."""
    rejects: int = 0
    prompt_tokens: int = 0
    """Of all prompts, those that the ledger answered included."""
    output_tokens: int = 0
    replayed: int = 0
    """Passages whose answer was in the ledger."""
    failed: int = 0
    """Passages that the engine gave no answer for."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What turns chains into groups: a model behind an engine, and how to talk with it."""

    engine: Engine
    dialect: Dialect
    vocabulary: Vocabulary
    """The model's own."""
    ledger: Ledger
    checks: Sequence[str]
    """Names in `checks.CHECKS`; a pair that fails one is not shown to later rounds either."""
    sampling: Sampling
    model_identity: str
    """What the model is (a fingerprint of its weights, say), not where it runs: part of the ledger's key."""
    window_tokens: int
    """Prompt and answer together."""
    max_chains_in_flight: int
    """Requests that the engine may have at once: a chain has one at a time."""
    categories: Callable[[int], Sequence[str]] | None = None
    """From a passage's number among those of all chains to the categories to ask for there; None asks for none."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """See `checks.Passage.answers`."""

    def __post_init__(self) -> None:
        find_checks(self.checks)
        if self.categories is not None and not self.dialect.can_steer:
            raise RecipeError(
                f"the dialect {type(self.dialect).__name__} cannot ask for categories: leave them out, or take another"
            )
        if self.max_chains_in_flight < 1:
            raise RecipeError(f"max_chains_in_flight is {self.max_chains_in_flight}: give at least 1")
        if self.budget_tokens < 1:
            raise RecipeError(
                f"window_tokens is {self.window_tokens} and max_new_tokens {self.sampling.max_new_tokens}:"
                " nothing is left for a prompt, give a larger window or shorter answers"
            )

    @property
    def budget_tokens(self) -> int:
        """What a prompt may take."""
        return self.window_tokens - self.sampling.max_new_tokens


@dataclass(slots=True)
class Session:
    """What the requests of one run share."""

    synthesis: Synthesis
    on_progress: Callable[[Progress], None] | None
    progress: Progress = Progress()
    failures_in_a_row: int = 0
    last_failure: EngineError | None = None
    asked_before_failures: set[bytes] = field(default_factory=set)
    """Requests under way when the first of the failures in a row came, as far as they are not answered yet."""
    num_answered: int = 0
    under_way: dict[bytes, asyncio.Event] = field(default_factory=dict)

    def count(self, shot: Shot, **increments: int) -> None:
        """Add a finished passage to the totals and tell the caller."""
        increments |= {"passages": 1, "pairs": len(shot.pairs), "rejects": len(shot.rejects)}
        totals = {name: getattr(self.progress, name) + value for name, value in increments.items()}
        self.progress = replace(self.progress, **totals)
        if self.on_progress is not None:
            self.on_progress(self.progress)

    def succeed(self) -> None:
        """Count an answer: the engine is alive."""
        self.num_answered += 1
        self.failures_in_a_row = 0
        self.asked_before_failures.clear()

    def fail(self, key: bytes, error: EngineError) -> None:
        """Count a request that failed. Raises EngineGoneError if the engine no longer answers at all."""
        if self.failures_in_a_row == 0:
            self.asked_before_failures = set(self.under_way)
        self.asked_before_failures.discard(key)
        self.failures_in_a_row += 1
        self.last_failure = error
        if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW and not self.asked_before_failures:
            raise EngineGoneError(
                f"the last {self.failures_in_a_row} requests to the engine failed: see that it works, then run again"
                f" (the last error: {error})"
            ) from error

    def check_answered(self) -> None:
        """Raise EngineError if there were requests and no answer: a dead engine must not look like a finished run."""
        if self.progress.failed and not self.num_answered:
            raise EngineGoneError(
                f"the engine answered none of {self.progress.failed} requests: see that it works, then run again"
                f" (the last error: {self.last_failure})"
            )


class EngineGoneError(EngineError):
    """The engine as a whole, not one prompt."""


async def ask(session: Session, prompt: Prompt) -> tuple[Completion, bool]:
    """The answer to a prompt, and whether the ledger had it. Equal prompts under way at once are asked once."""
    synthesis = session.synthesis
    key = ledgers.key(prompt.ids, model_identity=synthesis.model_identity, sampling=synthesis.sampling)
    while (asked := session.under_way.get(key)) is not None:
        await asked.wait()
    known = synthesis.ledger.get(key)
    if known is not None:
        session.num_answered += 1
        return known, True
    session.under_way[key] = asked = asyncio.Event()
    try:
        completion = await synthesis.engine.complete(prompt.ids, synthesis.sampling)
        session.succeed()
        await synthesis.ledger.put(key, completion)
    except EngineError as error:
        session.fail(key, error)
        raise
    finally:
        del session.under_way[key]
        session.asked_before_failures.discard(key)
        asked.set()
    return completion, False
