"""What runs on the nodes of a Ray cluster: a shard as a task, or the actor that holds a stage's engine.

Errors that we raise on purpose are returned, not raised: Ray would wrap them in a hundred lines about itself.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructpt.artifacts.locking import alone
from instructpt.artifacts.tally import Progress
from instructpt.errors import ArtifactError, InstructptError, RunError

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run
    from instructpt.artifacts.stage import Stage
    from instructpt.executors import Work

Outcome = float | InstructptError
"""The seconds that a shard took, or why it was not made."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a node is to work on, and where it finds the code and the files that the driver sees."""

    code: bytes
    """Work, stage and run, by Ray's own pickle: opened only once the paths are set."""
    folder: str
    """The driver's working folder: paths in a recipe may be relative to it."""
    paths: tuple[str, ...]
    """Where the driver finds modules: a recipe may lie in a file of the user's."""


def seconds_of(outcome: Outcome) -> float:
    """The seconds; raises the error if it is one."""
    if isinstance(outcome, InstructptError):
        raise outcome
    return outcome


def build(job: Job, index: int) -> Outcome:
    """Build a shard, in a task of its own."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # the tokenizer's threads: a task has one core
    try:
        work, stage, run = _opened(job)
        return _build_once(work, stage, index, run)
    except InstructptError as error:
        return error


class EngineActor:
    """A stage's engine, opened once, and the shards that ask it: each in a thread of Ray's."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stack = ExitStack()
        self._latest = Latest()

    def open(self) -> Outcome:
        """Load what the stage's shards share; 0, or why that cannot be done."""
        try:
            self._work, self._stage, run = _opened(self._job)
            run = replace(run, progress=self._latest)
            self._run = replace(run, shared=self._stack.enter_context(self._stage.opened(run)))
        except InstructptError as error:
            return error
        return 0.0

    def build(self, index: int) -> Outcome:
        """Build a shard with the engine, beside others."""
        try:
            return _build_once(self._work, self._stage, index, self._run)
        except InstructptError as error:
            return error
        except asyncio.CancelledError:
            return RunError(f"shard {index} of {self._stage.name} was left, as another one failed: run again")

    def news(self) -> Mapping[str, object]:
        """How its open shards stand."""
        return self._latest.counts

    def cancel(self) -> None:
        """End what its shards are at."""
        self._run.shared.cancel()

    def close(self) -> None:
        """Let go of the engine."""
        self._stack.close()


class Latest(Progress):
    """Keeps the latest news for whoever asks."""

    def __init__(self) -> None:
        self.counts: Mapping[str, object] = {}

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How an open shard stands."""
        self.counts = dict(counts)


def _opened(job: Job) -> tuple[Work, Stage[Any], Run]:
    """Raises RunError if this node lacks modules, ArtifactError if it does not see the output folder."""
    from ray import cloudpickle

    if Path(job.folder).is_dir():
        os.chdir(job.folder)
    sys.path.extend(path for path in job.paths if path not in sys.path)
    try:
        work, stage, run = cloudpickle.loads(job.code)
    except ImportError as error:
        raise RunError(
            f"the node {platform.node()} lacks what the driver has ({error}): install the same packages on every node"
        ) from error
    if not run.folder(stage).exists("recipe.json"):
        raise ArtifactError(
            f"the node {platform.node()} does not see {run.folder(stage).path}: give an output folder that all nodes "
            "share, or a URL"
        )
    return work, stage, run


def _build_once(work: Work, stage: Stage[Any], index: int, run: Run) -> float:
    """Build a shard unless it is there already.

    A node that is taken for dead may live on a while, and so may a task of a driver that was killed; where it is on the
    same machine, the two must not write the same open shard.
    """
    workspace = run.workspace(stage, index)
    with alone(workspace):
        if run.folder(stage).exists(f"{index:05d}.json"):
            shutil.rmtree(workspace, ignore_errors=True)
            return 0.0
        return work(stage, index, run)
