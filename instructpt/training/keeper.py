"""When a run keeps what it has, and where it goes on: the one place that knows both kinds of checkpoint.

    one process      a Hugging Face folder, written between two steps         (`checkpoints`)
    many processes   a file each, written while the next steps are computed   (`shards`)

Either kind can be resumed by either kind of run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from instructpt.errors import ArtifactError
from instructpt.records import Step
from instructpt.training import checkpoints, metrics, shards
from instructpt.training.parallel import World
from instructpt.training.settings import Execution


class Keeper:
    """Keeps checkpoints of one run. As a context manager it waits for what it began to write."""

    def __init__(self, folder: Path, world: World, execution: Execution, *, vocabulary_folder: Path) -> None:
        self._folder, self._world, self._keep = folder, world, execution.keep_checkpoints
        self._vocabulary_folder = vocabulary_folder
        self._writer: shards.Writer | None = None
        if world.size > 1:
            self._writer = shards.Writer(folder, world, vocabulary_folder=vocabulary_folder, keep=self._keep)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            if error is None:
                self._writer.finish()
            self._writer.close()

    @property
    def is_ready(self) -> bool:
        """Whether this process's part of a checkpoint is on disk and waits for its name."""
        return self._writer is not None and self._writer.is_ready

    def publish(self) -> None:
        """Give the checkpoint its name; the parts of all processes are on disk."""
        if self._writer:
            self._writer.publish()

    def save(self, step: int, *, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Keep the run as it is after `step` steps. Raises StorageError if the disk refuses."""
        if self._writer:
            self._writer.finish()  # as a rule it is done: the disk is slower than the steps between two checkpoints
            self._writer.begin(step, model=model, optimizer=optimizer)
        else:
            checkpoints.save(
                self._folder,
                step=step,
                model=model,
                optimizer=optimizer,
                vocabulary_folder=self._vocabulary_folder,
                keep=self._keep,
            )

    def resume(self, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> list[Step]:
        """Put model and optimizer where the newest checkpoint has them; the steps that led there."""
        found = checkpoints.latest(self._folder) if self._world.is_first else None
        num_steps = int(self._world.sum([checkpoints.step_of(found) if found else 0])[0])
        if num_steps:
            path = self._folder / checkpoints.FOLDER / checkpoints.name_of(num_steps)
            if not path.is_dir():
                raise ArtifactError(f"process {self._world.rank} does not see {path}: all need one shared folder")
            with _damage_named(path):
                if shards.is_sharded(path):
                    shards.restore(path, model=model, optimizer=optimizer)
                elif self._writer:
                    shards.restore_one(path, model=model, optimizer=optimizer)
                else:
                    checkpoints.restore(path, model=model, optimizer=optimizer)
        if self._world.is_first:
            metrics.cut(self._folder, num_steps=num_steps)
        self._world.wait()
        return metrics.read(self._folder)[:num_steps]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """A checkpoint whose files have their sizes and yet cannot be read, as one line that says how to go on."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path} is damaged ({' '.join(str(error).split())[:160]}): remove it, and the same command goes on from "
            "the checkpoint before it, or from the start"
        ) from error
