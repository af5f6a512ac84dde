"""The process's one event loop, in a thread of its own: what engines keep open belongs to it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for `coroutine`, run in the loop that a command uses: `run_in_loop(engine.close())`."""
    return asyncio.run_coroutine_threadsafe(coroutine, event_loop()).result()


def run_or_cancel(
    coroutine: Coroutine[Any, Any, T], *, started: Callable[[asyncio.Task[T]], None] = lambda _: None
) -> T:
    """As `run_in_loop`; leaving early (an error, Ctrl-C) cancels it and returns once it has stopped. started: told."""
    work: list[asyncio.Task[T]] = []

    async def start() -> T:
        work.append(asyncio.create_task(coroutine))
        started(work[0])
        return await work[0]

    async def stop() -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    try:
        return run_in_loop(start())
    finally:
        run_in_loop(stop())


_ONE_AT_A_TIME = threading.Lock()


def event_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, in a thread that ends with it; a process that was forked starts its own.

    One for all shards: what an engine keeps open (connections, queues) belongs to the loop it was first used in.
    """
    with _ONE_AT_A_TIME:  # a cache alone lets two threads that come first make two
        return _started_loop(os.getpid())


@functools.cache
def _started_loop(process: int) -> asyncio.AbstractEventLoop:
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
