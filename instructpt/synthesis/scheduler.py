"""The scheduler: from chains of passages to groups, with many chains under way and no barrier between rounds.

    chain 1   round 1 --> round 2 ---------> round 3 --> done               yielded first
    chain 2   round 1 ------------------> round 2 --> round 3 --> done      yielded second
    chain 3   round 1 --> round 2 --> round 3 --> done ...................  waits for chain 2
    chain 4   ..................................  round 1 --> round 2       took the place of chain 3

A round is: fit the prompt, ask the ledger, else the engine, parse, check. Round r+1 of a chain starts the moment round
r is read. Groups come out in the order of their chains, whichever is done first, and every passage comes out once.

How many are under way, and which shard's chains go first, is `capacity`'s to say: a chain is read only once there is a
place for it, so that what is held in memory hangs on the engine and not on the corpus.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any

from instructpt.engines.event_loop import event_loop
from instructpt.errors import BudgetError
from instructpt.records import Document, Group, Reject, Shot
from instructpt.synthesis.asking import Progress, Session, Synthesis, answered, prompts_for, together
from instructpt.synthesis.capacity import READ_AHEAD, Capacity, WaitsFor
from instructpt.synthesis.chains import TOO_LONG, Prompt, joined
from instructpt.verification.checks import apply_checks

_SECONDS_OF_SILENCE = 5.0
_MAX_BATCH = 64
"""Groups handed over at once: fewer wake-ups between threads, and room for new chains before all are written."""


async def synthesize(
    chains: Iterable[tuple[Document, ...]],
    *,
    synthesis: Synthesis,
    id_prefix: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[Group, None]:
    """Pairs for every passage: one group a chain, in order, each passage in exactly one shot. Close it if left early.

    chains: read as there is room, in the event loop's thread; `capacity.READ_AHEAD` says how many are held.
    id_prefix: begins each `Group.id`, followed by the chain's number and its first passage's id, which may repeat.
    on_progress: called with totals, some times a second and at the end.

    A passage that the window cannot hold comes out without pairs and with a reject `passage_too_long`; one that the
    engine refuses with a reject `prompt_refused` (PromptRefusedError) or `engine_error` (any other EngineError).
    Failures are not in the ledger: a run that is started again asks once more, until its shard is sealed.

    Raises EngineError if `MAX_FAILURES_IN_A_ROW` requests fail, or if nothing was ever answered; BudgetError once
    `Synthesis.stop` names a reason and what was under way is in the ledger; StorageError if the ledger cannot be kept.
    """
    line = _Line(Session(synthesis, on_progress), id_prefix)
    async with aclosing(_batches(line, chains)) as batches:
        async for batch in batches:
            num_held = len(batch)
            try:
                for group in batch:
                    yield group
                    line.release()
                    num_held -= 1
            finally:
                line.release(num_held)


def run_chains(
    chains: Iterable[tuple[Document, ...]],
    *,
    synthesis: Synthesis,
    id_prefix: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Group]:
    """`synthesize` for callers that are not asynchronous; the engine goes on working between two groups.

    `chains` is read and `on_progress` called in the event loop's thread. Leaving early (an error, Ctrl-C, closing this
    iterator) cancels all that is under way and returns when it has stopped; `cancel` does the same from any thread.
    """
    loop, line = event_loop(), _Line(Session(synthesis, on_progress), id_prefix)
    ready: SimpleQueue[list[Group] | asyncio.Task[None]] = SimpleQueue()
    feeding: list[asyncio.Task[None]] = []

    async def feed() -> None:
        async with aclosing(_batches(line, chains)) as batches:
            async for batch in batches:
                ready.put(batch)

    def start() -> None:
        task = loop.create_task(feed())
        task.add_done_callback(ready.put)
        feeding.append(task)
        synthesis.capacity.keep(task)

    loop.call_soon_threadsafe(start)
    item: list[Group] | asyncio.Task[None] | None = None
    try:
        while not isinstance(item := ready.get(), asyncio.Task):
            yield from item
            loop.call_soon_threadsafe(line.release, len(item))
        item.result()
    finally:
        if not isinstance(item, asyncio.Task):
            loop.call_soon_threadsafe(lambda: feeding[0].cancel())
            while not isinstance(item, asyncio.Task):
                loop.call_soon_threadsafe(line.release, len(item or ()))
                item = ready.get()


def cancel(capacity: Capacity) -> None:
    """From any thread: end all that `run_chains` and `respond` do on an engine. They raise CancelledError."""
    event_loop().call_soon_threadsafe(capacity.cancel)


class _Line:
    """The chains of one shard in their order, from the one whose group comes out next to the one read last."""

    def __init__(self, session: Session, id_prefix: str) -> None:
        self.session = session
        self.id_prefix = id_prefix
        self.tasks: deque[asyncio.Task[Group]] = deque()
        self.changed = asyncio.Event()
        """The first chain is done, or something failed, or all chains are read."""
        self.failure: BaseException | None = None
        self.num_held = 0
        self.has_room = asyncio.Event()
        self.is_reading = False

    def waits_for(self) -> WaitsFor:
        """What the next chain waits for. Of those held back, the ones that were handed over are being written."""
        capacity, num_written = self.session.synthesis.capacity, self.num_held - len(self.tasks)
        is_full = self.num_held >= READ_AHEAD * capacity.limit or capacity.is_full
        return "disk" if self.is_reading or (is_full and 2 * num_written > self.num_held) else "chain"

    async def read(self, chains: Iterable[tuple[Document, ...]]) -> None:
        """Start a chain for every place that the capacity gives, until there are no more of them."""
        capacity, rank = self.session.synthesis.capacity, self.session.synthesis.rank
        num_passages = 0
        numbered = enumerate(chains)
        while True:
            while self.num_held >= READ_AHEAD * capacity.limit:
                self.has_room.clear()
                await self.has_room.wait()
            await capacity.take(rank)
            chain = None
            try:
                if capacity.stopped is not None:
                    raise BudgetError(capacity.stopped)
                self.is_reading = True
                index, chain = next(numbered, (0, None))
            finally:
                self.is_reading = False
                if chain is None:
                    capacity.leave()
            if chain is None:
                capacity.read_to_end(rank)
                return
            group_id = f"{self.id_prefix}{index}:{chain[0].id}"
            task = asyncio.create_task(_chain(self.session, chain, group_id, num_passages))
            num_passages += len(chain)
            self.tasks.append(task)
            self.num_held += 1
            task.add_done_callback(self.chain_done)

    def release(self, num_chains: int = 1) -> None:
        """Hold so many chains less: their groups were taken away."""
        self.num_held -= num_chains
        self.session.synthesis.capacity.release(num_chains)
        self.has_room.set()

    def chain_done(self, task: asyncio.Task[Group]) -> None:
        """Give its place to another; tell of it if its group is the next one, or if it failed."""
        self.session.synthesis.capacity.give_back()
        self.note_failure(task)
        if self.tasks and self.tasks[0] is task:
            self.changed.set()

    def note_failure(self, task: asyncio.Task[Any]) -> None:
        """Keep what the first task that failed raised."""
        if not task.cancelled() and (error := task.exception()) is not None and self.failure is None:
            self.failure = error
            self.changed.set()

    def read_done(self, task: asyncio.Task[None]) -> None:
        """See that the end is noticed."""
        self.note_failure(task)
        self.changed.set()


async def _batches(line: _Line, chains: Iterable[tuple[Document, ...]]) -> AsyncGenerator[list[Group], None]:
    """The groups in order, as many at once as are ready. Whoever takes them releases them from the line."""
    tasks, session = line.tasks, line.session
    capacity, rank = session.synthesis.capacity, session.synthesis.rank
    capacity.begin_to_read(rank, line.waits_for)
    reading = asyncio.create_task(line.read(chains))
    reading.add_done_callback(lambda _: capacity.end_reading(rank))
    reading.add_done_callback(line.read_done)
    try:
        while tasks or not reading.done():
            await _change(line)
            if line.failure is not None:
                if isinstance(line.failure, BudgetError):
                    reading.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                raise line.failure
            while tasks and tasks[0].done():
                num_ready = 1
                while num_ready < min(len(tasks), _MAX_BATCH) and tasks[num_ready].done():
                    num_ready += 1
                groups = [tasks[place].result() for place in range(num_ready)]
                for _ in groups:
                    tasks.popleft()
                yield groups
        reading.result()  # it may have failed in the turn of the loop that ended us, before `read_done` was told
        session.check_answered()
        session.tell()
    finally:
        for task in (reading, *tasks):
            task.cancel()
        await asyncio.gather(reading, *tasks, return_exceptions=True)
        line.release(len(tasks))


async def _change(line: _Line) -> None:
    """Until something is done. An engine that gives no answers is told of all the same, every few seconds."""
    while True:
        try:
            async with asyncio.timeout(_SECONDS_OF_SILENCE):
                await line.changed.wait()
        except TimeoutError:
            line.session.tell()
        else:
            line.changed.clear()
            return


async def _chain(session: Session, chain: tuple[Document, ...], group_id: str, first_number: int) -> Group:
    write = session.synthesis.write or _shot
    shots: list[Shot] = []
    for number, document in enumerate(chain, first_number):
        shots.append(await write(session, document, shots, number))
    return Group(group_id, tuple(shots))


async def _shot(session: Session, document: Document, earlier: Sequence[Shot], number: int) -> Shot:
    synthesis = session.synthesis
    categories = synthesis.categories(number, document.text) if synthesis.categories else ()
    prompts = prompts_for(synthesis, earlier, passage=document.text, categories=categories)
    if len(prompts) == 1:  # as a rule: no task is made for it
        written = [await _written(session, document, prompts[0])]
    else:
        written = await together(_written(session, document, prompt) for prompt in prompts)
    shot = apply_checks(joined(document, [part for part, _, _ in written]), synthesis.checks, answers=synthesis.answers)
    session.count(
        shot,
        replayed=bool(written) and all(replayed for _, replayed, _ in written),
        failed=bool(written) and all(failed for _, _, failed in written),
    )
    return shot


async def _written(session: Session, document: Document, prompt: Prompt | None) -> tuple[Shot, bool, bool]:
    """What a model writes at a prompt, whether the ledger had it, and whether the engine failed."""
    if prompt is None:
        return Shot(document, rejects=(Reject("", TOO_LONG),)), False, False
    found, replayed = await answered(session, prompt)
    if isinstance(found, Reject):
        return Shot(document, rejects=(found,)), False, True
    pairs, rejects = session.synthesis.dialect.parse(found.text)
    return Shot(document, tuple(pairs), prompt.follows, tuple(rejects)), replayed, False
