"""A Ray cluster: the one that RAY_ADDRESS or the option `address` names, or one of this machine's own.

    driver     what is made in one piece; it hands out shards and tells how things stand
      |
      +-- tasks     stages for workers: a shard a task, one core each, as many at once as the cluster has cores
      +-- engines   stages that ask a model: actors with the model loaded once and two shards open each, as many as
                    fit; new ones where nodes join (`ray_pool`)

Shards are written by whoever builds them, straight into the root, which every node must see at the same place: a shared
folder or an fsspec URL. When a task, an actor or a node dies, its shards are built again elsewhere. A shard's ledger
lies in `Run.scratch` on its node: an actor that dies leaves it to the next one there, but it is lost with its node, and
then all questions of the open shards are asked again, unless scratch is one that outlives nodes.

Options (`Run.executor_options`):

    address     of the cluster; without it and RAY_ADDRESS one is started on this machine, with `Run.workers` cores
    engines     actors at most; by default as many as fit, for the engine "http" one a node
    cpus, gpus  that each of them takes; 1 core, and 1 GPU if the device is "cuda", or "auto" in a cluster with GPUs

Nodes need the same packages as the driver. Ray sends no usage statistics from here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructpt.artifacts.storage import Folder
from instructpt.artifacts.tally import Progress
from instructpt.errors import InputError, RecipeError
from instructpt.executors.ray_pool import MAX_LOSSES, Pool, given_up
from instructpt.executors.ray_worker import Job, Outcome, build, seconds_of

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run
    from instructpt.artifacts.stage import Stage
    from instructpt.executors import Work

STORE_BYTES = 80 * 2**20
"""Of shared memory for a cluster of our own: only orders and counts go through it, and Ray takes no less than 75 MB."""
TASKS_PER_CORE = 2
"""Handed to Ray at once: the next are there when one is done, and a cluster that can grow sees that there is more."""

_OPTIONS = ("address", "engines", "cpus", "gpus")
_SECONDS_BETWEEN_LOOKS = 5.0


def run_shards(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards in the cluster.

    Raises RecipeError if Ray is not installed or an option is wrong, InputError if no cluster answers, RunError if a
    shard's task or engine dies again and again. What a shard raises on purpose is raised here as it is.
    """
    _check_options(run.executor_options)
    _connect(run)
    job = _job(work, stage, run)
    if stage.placement == "engine":
        yield from Pool(stage, job, run, deque(indices)).run_shards()
    else:
        yield from _run_tasks(stage, job, deque(indices))


def _check_options(options: Mapping[str, Any]) -> None:
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise RecipeError(f"the executor ray has no option {unknown[0]!r}: choose from {', '.join(_OPTIONS)}")
    for name, least in (("engines", 1), ("cpus", 0), ("gpus", 0)):
        value = options.get(name, least)
        if not isinstance(value, int | float) or value < least:
            raise RecipeError(f"the option {name} of the executor ray is {value!r}: give a number from {least} on")


def _connect(run: Run) -> None:
    """Become a driver in the cluster that is meant, unless this process is one already."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise RecipeError("the executor ray needs Ray, which is not here: pip install 'instructpt[ray]'") from error
    if ray.is_initialized():
        return
    address = run.executor_options.get("address") or os.environ.get("RAY_ADDRESS")
    own = {"num_cpus": run.workers, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    stopping = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except ConnectionError as error:
        raise InputError(f"no Ray cluster answers at {address}: see that it runs, or leave the address out") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stopping)  # Ray's own would end this process without a word
    # For each node that dies Ray prints twenty lines of its log, and has no other switch against it.
    ray._private.worker._worker_logs_enabled = False


def _job(work: Work, stage: Stage[Any], run: Run) -> Any:
    """What nodes work on, put where all of them find it."""
    import ray

    root = run.root if "://" in run.root else Folder.at(run.root).path
    code = ray.cloudpickle.dumps((work, stage, replace(run, root=root, progress=Progress(), shared=None)))
    return ray.put(Job(code, str(Path.cwd()), tuple(sys.path)))


def _run_tasks(stage: Stage[Any], job: Any, waiting: deque[int]) -> Iterator[tuple[int, float]]:
    import ray

    task = ray.remote(num_cpus=1, max_retries=MAX_LOSSES, retry_exceptions=False)(build)
    under_way: dict[Any, int] = {}
    try:
        while waiting or under_way:
            num_wanted = TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 0)))
            while waiting and len(under_way) < num_wanted:
                index = waiting.popleft()
                under_way[task.remote(job, index)] = index
            done, _ = ray.wait(list(under_way), timeout=_SECONDS_BETWEEN_LOOKS)
            for ref in done:
                index = under_way.pop(ref)
                try:
                    outcome: Outcome = ray.get(ref)
                except ray.exceptions.RayTaskError:
                    raise  # our own mistake, with its traceback
                except ray.exceptions.RayError as error:
                    raise given_up(f"the task of shard {index} of {stage.name}", error) from error
                yield index, seconds_of(outcome)
    finally:
        for ref in under_way:
            ray.cancel(ref, force=True)
