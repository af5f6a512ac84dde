"""The main process, for stages whose shards ask one engine: a thread a shard, and the next shard in good time.

    shard 0   ################-----.                  # chains are started, - the last ones end
    shard 1             ......#####################-----.
    shard 2                         .................####      . open, and waits for what the one before leaves

A shard that is read to its end makes room for another one to be opened, so that there is always one that takes what
the tails of those before it leave; small shards are open in greater number. The engine itself decides what goes first
(`synthesis.capacity`): shards are worked on in order, and nothing is shared but what the stage opened.

What a stage opens for this executor is told who waits (`when_read`) and can end the work of all threads (`cancel`).
The first error, or Ctrl-C, does that; threads are gone when `run_shards` is left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from instructpt.errors import BudgetError

if TYPE_CHECKING:
    from instructpt.artifacts import Run, Stage
    from instructpt.executors import Work

MAX_OPEN = 32
"""Shards; each has a ledger and a reader open, seven files or so."""
_MAX_UNREAD = 2
"""Open shards that still have work to start: the one that is read, and the one that is to follow."""


class Shared(Protocol):
    """What `Stage.opened` of a stage with placement "engine" gives."""

    def when_read(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called, from any thread, with the index of each shard that has nothing left to start."""
        ...

    def cancel(self) -> None:
        """From any thread: end what all shards are at. `Stage.shard` raises an error then."""
        ...


def run_shards(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards in threads, in order, as many at once as keep the engine busy.

    The first error ends all others; after a BudgetError they are waited for, since they end by themselves and what they
    have under way is paid for.
    """
    shared: Shared = run.shared
    events: SimpleQueue[tuple[int, float | BaseException | None]] = SimpleQueue()
    waiting, threads, unread = deque(indices), dict[int, threading.Thread](), set[int]()

    def build(index: int) -> None:
        try:
            events.put((index, work(stage, index, run)))
        except BaseException as error:  # handed to the main thread, which raises it
            events.put((index, error))

    shared.when_read(lambda index: events.put((index, None)))
    failure: BaseException | None = None
    try:
        while threads or (waiting and failure is None):
            while waiting and failure is None and len(unread) < _MAX_UNREAD and len(threads) < MAX_OPEN:
                index = waiting.popleft()
                threads[index] = threading.Thread(target=build, args=(index,), name=f"shard-{index}", daemon=True)
                unread.add(index)
                threads[index].start()
            index, result = events.get()
            unread.discard(index)
            if result is None:
                continue
            threads.pop(index).join()
            if not isinstance(result, BaseException):
                yield index, result
            elif failure is None:
                failure = result
                if not isinstance(result, BudgetError):
                    shared.cancel()
    finally:
        if threads:
            shared.cancel()
            for thread in threads.values():
                thread.join()
    if failure is not None:
        raise failure
