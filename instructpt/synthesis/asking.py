"""Asking: one prompt and its answer, from the ledger if it is there, else from the engine.

    prompt --> key --> under way already? wait --> in the ledger? --> may go on? --> engine --> ledger --> completion

What the requests of one shard share is its `Session`: which are under way, what was answered, what came of it so far,
and how many failed in a row, by which a dead engine is told from a bad prompt.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from instructpt.engines import Completion, Conversation, Engine, Form, Sampling
from instructpt.errors import BudgetError, EngineError, EngineGoneError, PromptRefusedError, RecipeError
from instructpt.records import Document, Reject, Shot
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.capacity import Capacity
from instructpt.synthesis.chains import Prompt, fit, shown, turns
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.verification.checks import find_checks
from instructpt.words.vocabulary import Vocabulary

T = TypeVar("T")

MAX_FAILURES_IN_A_ROW = 32
"""Requests that may fail one after the other before the engine counts as dead, if none asked before them is still
waited for: what fails fails at once (a prompt too long), while good answers take their time."""
SECONDS_BETWEEN_NEWS = 0.25


@dataclass(slots=True)
class Progress:
    """How far a run of `synthesize` is."""

    passages: int = 0
    pairs: int = 0
    """Accepted ones."""
    writings: int = 0
    """Accepted texts that are no pairs."""
    rejects: int = 0
    prompt_tokens: int = 0
    """Of all prompts that were answered, those that the ledger answered included."""
    output_tokens: int = 0
    replayed: int = 0
    """Passages whose answer was in the ledger."""
    failed: int = 0
    """Passages that the engine gave no answer for."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Rejects by reason."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What turns chains into groups: a model behind an engine, and how to talk with it."""

    engine: Engine
    capacity: Capacity
    """Of this engine; shared by all that ask it at the same time."""
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
    rank: int = 0
    """The shard's place in line: of those that wait for `capacity`, the lowest goes first."""
    guided: bool = True
    """Whether answers are held to the dialect's form, by engines that can."""
    field_characters: int | None = None
    """See `Dialect.form`."""
    context_tokens: int | None = None
    """What the model sees of a passage where it is asked about a part of it; None: all."""
    categories: Callable[[int, str], Sequence[str]] | None = None
    """From a passage's number among those of all chains, and its text, to the categories to ask for there; None asks
    for none."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """See `checks.Passage.answers`."""
    write: Callable[[Session, Document, Sequence[Shot], int], Awaitable[Shot]] | None = None
    """What is written about a passage, given the earlier shots of its chain and its number among all passages; None for
    the dialect's pairs."""
    stop: Callable[[], str | None] | None = None
    """Asked before every request. Once it names a reason, no further one is sent, in any shard on `capacity`."""
    pay: Callable[..., None] | None = None
    """Told `prompt_tokens` and `output_tokens` of every answer that the engine gave, not of the ledger's."""
    used: Counter[str] = field(default_factory=Counter)
    """"requests" that were answered, "prompt_tokens" and "output_tokens", whether engine or ledger answered."""

    def __post_init__(self) -> None:
        find_checks(self.checks)
        if self.categories is not None and not self.dialect.can_steer:
            raise RecipeError(
                f"the dialect {type(self.dialect).__name__} cannot ask for categories: leave them out, or take another"
            )
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
    """What the requests of one shard share."""

    synthesis: Synthesis
    on_progress: Callable[[Progress], None] | None = None
    progress: Progress = field(default_factory=Progress)
    last_news: float = 0.0
    failures_in_a_row: int = 0
    last_failure: EngineError | None = None
    asked_before_failures: set[bytes] = field(default_factory=set)
    """Requests under way when the first of the failures in a row came, as far as they are not answered yet."""
    num_answered: int = 0
    num_broken: int = 0
    """Requests that failed by no fault of their prompt."""
    under_way: dict[bytes, asyncio.Event] = field(default_factory=dict)
    last_sampling: Sampling | None = None

    def sampling(self, form: Form | None) -> Sampling:
        """The run's sampling with this form; the last one is kept, since most prompts ask for the same."""
        if self.last_sampling is None or self.last_sampling.form is not form:
            self.last_sampling = replace(self.synthesis.sampling, form=form)
        return self.last_sampling

    def count(self, shot: Shot, *, replayed: bool = False, failed: bool = False) -> None:
        """Add a finished passage to the totals and tell the caller, unless that was told a moment ago."""
        progress = self.progress
        progress.passages += 1
        progress.pairs += len(shot.pairs)
        progress.writings += len(shot.writings)
        progress.rejects += len(shot.rejects)
        progress.replayed += replayed
        progress.failed += failed
        for reject in shot.rejects:
            progress.reasons[reject.reason] = progress.reasons.get(reject.reason, 0) + 1
        if (now := time.monotonic()) - self.last_news >= SECONDS_BETWEEN_NEWS:
            self.last_news = now
            self.tell()

    def tell(self) -> None:
        """Tell the caller the totals now."""
        if self.on_progress is not None:
            self.on_progress(replace(self.progress, reasons=dict(self.progress.reasons)))

    def check_stop(self) -> None:
        """Raise BudgetError if no further request is to be sent."""
        capacity, stop = self.synthesis.capacity, self.synthesis.stop
        if capacity.stopped is None and stop is not None and (reason := stop()) is not None:
            capacity.stop(reason)
        if capacity.stopped is not None:
            raise BudgetError(capacity.stopped)

    def succeed(self, prompt: Prompt, completion: Completion) -> None:
        """Count an answer: the engine is alive."""
        self.synthesis.capacity.answered(completion.num_tokens)
        if self.synthesis.pay is not None:
            self.synthesis.pay(prompt_tokens=prompt.num_tokens, output_tokens=completion.num_tokens)
        self.failures_in_a_row = 0
        self.asked_before_failures.clear()

    def fail(self, key: bytes, error: EngineError) -> None:
        """Count a request that failed. Raises EngineGoneError if the engine no longer answers at all."""
        is_refused = isinstance(error, PromptRefusedError)
        self.last_failure = error
        self.num_broken += not is_refused
        if is_refused and (self.num_answered or self.synthesis.capacity.num_answered):
            return  # an engine that answers others says that this prompt is at fault
        if self.failures_in_a_row == 0:
            self.asked_before_failures = set(self.under_way)
        self.asked_before_failures.discard(key)
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW and not self.asked_before_failures:
            raise EngineGoneError(
                f"the last {self.failures_in_a_row} requests to the engine failed: see that it works, then run again"
                f" (the last error: {error})"
            ) from error

    def check_answered(self) -> None:
        """Raise EngineError if there were requests and no answer: a dead engine must not look like a finished run."""
        if self.num_broken and not self.num_answered:
            raise EngineGoneError(
                f"the engine answered none of {self.progress.failed} requests: see that it works, then run again"
                f" (the last error: {self.last_failure})"
            )


def prompts_for(
    synthesis: Synthesis, earlier: Sequence[Shot], *, passage: str, categories: Sequence[str]
) -> list[Prompt | None]:
    """What the model is asked about a passage, a prompt a turn (`chains.turns`); None for one that does not fit."""
    dialect, answers, vocabulary = synthesis.dialect, synthesis.answers, synthesis.vocabulary
    prompts = []
    for turn in turns(categories, passage=passage, dialect=dialect, answers=answers):
        seen = passage
        if turn.part is not None and synthesis.context_tokens is not None:
            seen = shown(passage, turn.part, vocabulary=vocabulary, context_tokens=synthesis.context_tokens)
        prompt = fit(
            earlier,
            passage=seen,
            dialect=dialect,
            vocabulary=vocabulary,
            budget_tokens=synthesis.budget_tokens,
            categories=turn.categories,
            spans=turn.spans,
            guided=synthesis.guided,
            field_characters=synthesis.field_characters,
            answers=answers,
        )
        prompts.append(prompt)
    return prompts


async def ask(session: Session, prompt: Prompt, *, drawn: Sampling | None = None) -> tuple[Completion, bool]:
    """The answer to a prompt, and whether the ledger had it. Equal prompts under way at once are asked once.

    drawn: how the answer is drawn, where not as all of the run are.
    Raises BudgetError if no further request is to be sent, EngineError as the engine and `Session.fail` do.
    """
    synthesis, sampling = session.synthesis, drawn or session.sampling(prompt.form)
    identity = synthesis.model_identity
    key = ledgers.key(prompt.content, model_identity=identity, sampling=sampling, scored=prompt.scored)
    while (asked := session.under_way.get(key)) is not None:
        await asked.wait()
    known = synthesis.ledger.get(key)
    if known is None:
        completion = await _ask_engine(session, prompt, key=key, sampling=sampling)
    else:
        completion = known
    session.num_answered += 1
    synthesis.used.update(requests=1, prompt_tokens=prompt.num_tokens, output_tokens=completion.num_tokens)
    session.progress.prompt_tokens += prompt.num_tokens
    session.progress.output_tokens += completion.num_tokens
    return completion, known is not None


async def _ask_engine(session: Session, prompt: Prompt, *, key: bytes, sampling: Sampling) -> Completion:
    synthesis = session.synthesis
    session.check_stop()
    session.under_way[key] = asked = asyncio.Event()
    try:
        completion = await _completion(synthesis.engine, prompt, sampling)
        session.succeed(prompt, completion)
        await synthesis.ledger.put(key, completion)
    except EngineError as error:
        session.fail(key, error)
        raise
    finally:
        del session.under_way[key]
        session.asked_before_failures.discard(key)
        asked.set()
    return completion


async def _completion(engine: Engine, prompt: Prompt, sampling: Sampling) -> Completion:
    """What the model goes on with; of a prompt with an answer to be scored, the log-probabilities of its ids."""
    if not prompt.scored:
        return await engine.complete(prompt.content, sampling)
    assert not isinstance(prompt.content, Conversation)
    scores = await engine.score(prompt.content, prompt.scored)
    return Completion(" ".join(f"{score:.4f}" for score in scores), len(scores), "stop")


async def answered(
    session: Session, prompt: Prompt, *, drawn: Sampling | None = None
) -> tuple[Completion | Reject, bool]:
    """As `ask`; where the engine refuses or fails, a Reject with its words instead, `prompt_refused` or `engine_error`.

    Raises EngineGoneError and BudgetError as `ask` does: nothing more will be answered.
    """
    try:
        return await ask(session, prompt, drawn=drawn)
    except EngineGoneError:
        raise
    except EngineError as error:
        return refusal(error), False


def refusal(error: EngineError) -> Reject:
    """Whether the prompt was at fault, `prompt_refused`, or not, `engine_error`, with what the engine said."""
    return Reject(str(error), "prompt_refused" if isinstance(error, PromptRefusedError) else "engine_error")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order. Where one fails the others are stopped, but what is paid for is waited for."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BudgetError:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
