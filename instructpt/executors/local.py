"""This process, or several on this machine.

Processes are started fresh (never forked: threads of a tokenizer or of torch do not survive a fork) and end with the
main process, however that ends, so that no orphan writes into a folder that a new run works in.
"""

from __future__ import annotations

import ctypes
import dataclasses
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from instructpt.artifacts.news import Progress
from instructpt.errors import RunError

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
