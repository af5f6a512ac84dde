"""This process, or several on this machine.

Processes are started fresh (never forked: threads of a tokenizer or of torch do not survive a fork) and end with the
main process, however that ends, so that no orphan writes into a folder that a new run works in.

Shards that ask one engine share this process (`run_together`): a thread a shard, and the next shard in good time.

    shard 0   ################-----.                  # chains are started, - the last ones end
    shard 1             ......#####################-----.
    shard 2                         .................####      . open, and waits for what the one before leaves

A shard that is read to its end makes room for another one to be opened, so that there is always one that takes what
the tails of those before it leave; small shards are open in greater number. The engine itself decides what goes first
(`synthesis.capacity`): shards are worked on in order, and nothing is shared but what the stage opened.

What a stage opens for this executor is told who waits (`when_read`) and can end the work of all threads (`cancel`).
The first error, or Ctrl-C, does that; threads are gone when `run_together` is left.
"""

from __future__ import annotations

import ctypes
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from instructpt.artifacts.tally import Progress
from instructpt.errors import BudgetError, RunError

if TYPE_CHECKING:
    from instructpt.artifacts import Run, Stage
    from instructpt.executors import Work

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def run_here(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards in the main process, one after the other."""
    for index in indices:
        yield index, work(stage, index, run)


def run_shards(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards in `run.workers` processes. Raises RunError if one of them is killed from outside."""
    num_workers = min(run.workers, len(indices))
    if num_workers <= 1:
        yield from run_here(work, stage, indices, run)
        return
    quiet = dataclasses.replace(run, progress=Progress(), shared=None)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=_become_worker, initargs=(os.getpid(), num_workers))
    try:
        futures = {pool.submit(work, stage, index, quiet): index for index in indices}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise RunError(
            f"a worker process of {stage.name} was killed (out of memory?): "
            "run the same command again, with fewer --workers if it happens again"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()


def _become_worker(parent: int, num_workers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = max(1, (os.cpu_count() or 1) // num_workers)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizer's threads: share the cores, do not fight
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


MAX_OPEN = 32
"""Shards; each has a ledger and a reader open, seven files or so."""
_MAX_UNREAD = 2
"""Open shards that still have work to start: the one that is read, and the one that is to follow."""


def run_together(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards in threads, in order, as many at once as keep the engine busy.

    The first error ends all others; after a BudgetError they are waited for, since they end by themselves and what they
    have under way is paid for.
    """
    shared: Any = run.shared
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
