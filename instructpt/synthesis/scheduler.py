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
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, TypeVar

from instructpt.errors import EngineError
from instructpt.records import Document, Group, Reject, Shot
from instructpt.synthesis.asking import EngineGoneError, Progress, Session, Synthesis, ask
from instructpt.synthesis.chains import fit
from instructpt.synthesis.checks import apply_checks

T = TypeVar("T")

READ_AHEAD = 4
"""Chains held, for each one under way: a slow chain holds up others only once so many of them wait for it."""


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
    session = Session(synthesis, on_progress)
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
                task = asyncio.create_task(_chain(session, chain, group_id, places, num_passages))
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
        session.check_answered()
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


async def _chain(
    session: Session, chain: tuple[Document, ...], group_id: str, places: asyncio.Semaphore, first_number: int
) -> Group:
    shots: list[Shot] = []
    async with places:
        for number, document in enumerate(chain, first_number):
            shots.append(await _shot(session, document, shots, number))
    return Group(group_id, tuple(shots))


async def _shot(session: Session, document: Document, earlier: Sequence[Shot], number: int) -> Shot:
    synthesis = session.synthesis
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
        session.count(shot)
        return shot
    try:
        completion, replayed = await ask(session, prompt)
    except EngineGoneError:
        raise
    except EngineError as error:
        shot = Shot(document, rejects=(Reject(str(error), "engine_error"),))
        session.count(shot, failed=1, prompt_tokens=len(prompt.ids))
        return shot
    pairs, rejects = synthesis.dialect.parse(completion.text)
    shot = Shot(document, tuple(pairs), prompt.follows, tuple(rejects))
    shot = apply_checks(shot, synthesis.checks, answers=synthesis.answers)
    session.count(
        shot, prompt_tokens=len(prompt.ids), output_tokens=completion.num_tokens, replayed=1 if replayed else 0
    )
    return shot


def _report_failure(broken: asyncio.Future[None], task: asyncio.Task[Group]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not broken.done():
        broken.set_exception(error)
