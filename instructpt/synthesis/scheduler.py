"""The scheduler: from chains of passages to groups, with many chains under way and no barrier between rounds.

    chain 1   round 1 --> round 2 ---------> round 3 --> done               yielded first
    chain 2   round 1 ------------------> round 2 --> round 3 --> done      yielded second
    chain 3   round 1 --> round 2 --> round 3 --> done ...................  waits for chain 2
    chain 4   ..................................  round 1 --> round 2       took the place of chain 3

A round is: fit the prompt, ask the ledger, else the engine, parse, check. Round r+1 of a chain starts the moment round
r is read. Groups come out in the order of their chains, whichever is done first, and every passage comes out once.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, TypeVar

from instructpt.engines import Completion, Engine, Sampling
from instructpt.errors import EngineError, RecipeError
from instructpt.records import Document, Group, Reject, Shot
from instructpt.synthesis import ledger as ledgers
from instructpt.synthesis.chains import Prompt, fit
from instructpt.synthesis.checks import apply_checks, find_checks
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.ledger import Ledger
from instructpt.vocabulary import Vocabulary

T = TypeVar("T")

MAX_FAILURES_IN_A_ROW = 32
"""Requests that may fail one after the other before the engine counts as dead, if none asked before them is still
waited for: what fails fails at once (a prompt too long), while good answers take their time."""
READ_AHEAD = 4
"""Chains held, for each one under way: a slow chain holds up others only once so many of them wait for it."""


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


async def synthesize(
    chains: Iterable[tuple[Document, ...]],
    *,
    synthesis: Synthesis,
    id_prefix: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[Group, None]:
    """Pairs for every passage: one group a chain, in order, each passage in exactly one shot. Close it if left early.

    chains: read as needed, in the event loop's thread; at most `READ_AHEAD` x `max_chains_in_flight` are held at once.
    id_prefix: begins each `Group.id`, followed by the chain's number and its first passage's id, which may repeat.
    on_progress: called after each passage, with totals.

    A passage that the window cannot hold comes out without pairs and with a reject `passage_too_long`; one that the
    engine refuses (EngineError) with a reject `engine_error`. Failures are not in the ledger: a run that is started
    again asks once more, until its shard is sealed. Raises EngineError if `MAX_FAILURES_IN_A_ROW` requests fail, or if
    nothing was ever answered; StorageError if the ledger cannot be kept.
    """
    run = _Run(synthesis, on_progress)
    places = asyncio.Semaphore(synthesis.max_chains_in_flight)
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: deque[asyncio.Task[Group]] = deque()
    numbered = enumerate(chains)
    num_passages = 0
    try:
        while True:
            while len(tasks) < READ_AHEAD * synthesis.max_chains_in_flight:
                index, chain = next(numbered, (0, None))
                if chain is None:
                    break
                group_id = f"{id_prefix}{index}:{chain[0].id}"
                task = asyncio.create_task(_chain(run, chain, group_id, places, num_passages))
                num_passages += len(chain)
                task.add_done_callback(functools.partial(_report_failure, broken))
                tasks.append(task)
            if not tasks:
                break
            awaited: set[asyncio.Future[Any]] = {tasks[0], broken}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                broken.result()
            yield tasks.popleft().result()
        run.check_answered()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if broken.done():
            broken.exception()  # raised above, or the caller left before: either way it was seen
        else:
            broken.cancel()


def run_chains(
    chains: Iterable[tuple[Document, ...]],
    *,
    synthesis: Synthesis,
    id_prefix: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Group]:
    """`synthesize` for callers that are not asynchronous; the engine goes on working between two groups.

    `chains` is read and `on_progress` called in the event loop's thread. Leaving early (an error, Ctrl-C, closing this
    iterator) cancels all that is under way and returns when it has stopped.
    """
    loop = _event_loop(os.getpid())
    ready: SimpleQueue[Group | asyncio.Task[None]] = SimpleQueue()
    room = asyncio.Semaphore(synthesis.max_chains_in_flight)
    feeding: list[asyncio.Task[None]] = []

    async def feed() -> None:
        groups = synthesize(chains, synthesis=synthesis, id_prefix=id_prefix, on_progress=on_progress)
        async with aclosing(groups):
            async for group in groups:
                await room.acquire()
                ready.put(group)

    def start() -> None:
        task = loop.create_task(feed())
        task.add_done_callback(ready.put)
        feeding.append(task)

    loop.call_soon_threadsafe(start)
    item: Group | asyncio.Task[None] | None = None
    try:
        while not isinstance(item := ready.get(), asyncio.Task):
            loop.call_soon_threadsafe(room.release)
            yield item
        item.result()
    finally:
        if not isinstance(item, asyncio.Task):
            loop.call_soon_threadsafe(lambda: feeding[0].cancel())
            while not isinstance(ready.get(), asyncio.Task):
                pass


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for `coroutine`, run in the loop that `run_chains` uses: `run_in_loop(engine.close())`."""
    return asyncio.run_coroutine_threadsafe(coroutine, _event_loop(os.getpid())).result()


@functools.cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:
    """The process's event loop, in a thread of its own (keyed by process, since threads do not survive a fork).

    One for all shards: what an engine keeps open (connections, queues) belongs to the loop it was first used in.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"event-loop-{process}", daemon=True)
    thread.start()

    def stop() -> None:
        if os.getpid() != process:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    atexit.register(stop)
    return loop


@dataclass(slots=True)
class _Run:
    """What the chains of one `synthesize` share."""

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
        """Count a request that failed. Raises _EngineGoneError if the engine no longer answers at all."""
        if self.failures_in_a_row == 0:
            self.asked_before_failures = set(self.under_way)
        self.asked_before_failures.discard(key)
        self.failures_in_a_row += 1
        self.last_failure = error
        if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW and not self.asked_before_failures:
            raise _EngineGoneError(
                f"the last {self.failures_in_a_row} requests to the engine failed: see that it works, then run again"
                f" (the last error: {error})"
            ) from error

    def check_answered(self) -> None:
        """Raise EngineError if there were requests and no answer: a dead engine must not look like a finished run."""
        if self.progress.failed and not self.num_answered:
            raise _EngineGoneError(
                f"the engine answered none of {self.progress.failed} requests: see that it works, then run again"
                f" (the last error: {self.last_failure})"
            )


class _EngineGoneError(EngineError):
    """The engine as a whole, not one prompt."""


async def _chain(
    run: _Run, chain: tuple[Document, ...], group_id: str, places: asyncio.Semaphore, first_number: int
) -> Group:
    shots: list[Shot] = []
    async with places:
        for number, document in enumerate(chain, first_number):
            shots.append(await _shot(run, document, shots, number))
    return Group(group_id, tuple(shots))


async def _shot(run: _Run, document: Document, earlier: Sequence[Shot], number: int) -> Shot:
    synthesis = run.synthesis
    prompt = fit(
        earlier,
        passage=document.text,
        dialect=synthesis.dialect,
        vocabulary=synthesis.vocabulary,
        budget_tokens=synthesis.budget_tokens,
        categories=synthesis.categories(number) if synthesis.categories else (),
    )
    if prompt is None:
        shot = Shot(document, rejects=(Reject("", "passage_too_long"),))
        run.count(shot)
        return shot
    try:
        completion, replayed = await _ask(run, prompt)
    except _EngineGoneError:
        raise
    except EngineError as error:
        shot = Shot(document, rejects=(Reject(str(error), "engine_error"),))
        run.count(shot, failed=1, prompt_tokens=len(prompt.ids))
        return shot
    pairs, rejects = synthesis.dialect.parse(completion.text)
    shot = Shot(document, tuple(pairs), prompt.follows, tuple(rejects))
    shot = apply_checks(shot, synthesis.checks, answers=synthesis.answers)
    run.count(shot, prompt_tokens=len(prompt.ids), output_tokens=completion.num_tokens, replayed=1 if replayed else 0)
    return shot


async def _ask(run: _Run, prompt: Prompt) -> tuple[Completion, bool]:
    """The answer to a prompt, and whether the ledger had it. Equal prompts under way at once are asked once."""
    synthesis = run.synthesis
    key = ledgers.key(prompt.ids, model_identity=synthesis.model_identity, sampling=synthesis.sampling)
    while (asked := run.under_way.get(key)) is not None:
        await asked.wait()
    known = synthesis.ledger.get(key)
    if known is not None:
        run.num_answered += 1
        return known, True
    run.under_way[key] = asked = asyncio.Event()
    try:
        completion = await synthesis.engine.complete(prompt.ids, synthesis.sampling)
        run.succeed()
        await synthesis.ledger.put(key, completion)
    except EngineError as error:
        run.fail(key, error)
        raise
    finally:
        del run.under_way[key]
        run.asked_before_failures.discard(key)
        asked.set()
    return completion, False


def _report_failure(broken: asyncio.Future[None], task: asyncio.Task[Group]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not broken.done():
        broken.set_exception(error)
