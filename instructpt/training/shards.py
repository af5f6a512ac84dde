"""Checkpoints of a run on many processes: each writes its own rows of everything, any number of processes reads them.

    checkpoints/step-00000200/   shard-00000-of-00004.safetensors   rows 0 ... of every weight and of both its moments
                                 shard-00001-of-00004.safetensors   the next rows
                                 config.json, tokenizer.json ...    what the model is
                                 state.json                         step, and the size of every file: written last

A file says in its header which rows of which tensor it holds, so that a run goes on with more, fewer or one process:
each reads the rows that are its own now, from whichever files hold them. torch's own distributed checkpoints are not
used, since they keep their index in a pickle, which is not opened here.

Writing does not stop the training: `Writer.begin` copies the rows to host memory, a thread writes and flushes them.
When all processes say that theirs is on disk (they talk once a step anyway), the first one gives the folder its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.errors import InputError
from instructpt.training import checkpoints
from instructpt.training.parallel import World

PATTERN = "shard-*.safetensors"
_ROWS = "rows"
"""Of a file's header: JSON, tensor name -> [first row, rows of the whole tensor]."""


@dataclass(frozen=True, slots=True)
class LocalRows:
    """This process's rows of a tensor."""

    rows: torch.Tensor
    first: int
    num_rows: int
    """Of the whole tensor."""


class Writer:
    """Writes checkpoints in the background, one at a time. Every process has one; all call the same methods."""

    def __init__(self, folder: Path, world: World, *, vocabulary_folder: Path, keep: int) -> None:
        self._folder, self._world, self._keep = folder / checkpoints.FOLDER, world, keep
        self._vocabulary_folder = vocabulary_folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._step = 0
        self._writing: Future[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether this process's part is on disk. Raises StorageError if the disk refused."""
        if self._writing is None or not self._writing.done():
            return False
        self._writing.result()
        return True

    def begin(self, step: int, *, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        """Copy what this process holds and begin to write it; the one before must be published."""
        assert self._writing is None, f"the checkpoint of step {self._step} is not published yet"
        self._step = step
        unfinished = self._unfinished()
        if self._world.is_first:
            with refusals_named(unfinished):
                for left in self._folder.glob(".*.writing"):
                    shutil.rmtree(left)
                unfinished.mkdir(parents=True)
            checkpoints.write_description(model, unfinished, vocabulary_folder=self._vocabulary_folder)
        self._world.wait()
        parts = {name: part for name, part in parts_of(model, optimizer).items() if _is_ours(part, self._world)}
        copies = {name: LocalRows(p.rows.detach().cpu().clone(), p.first, p.num_rows) for name, p in parts.items()}
        self._writing = self._thread.submit(self._write, unfinished, copies)

    def publish(self) -> None:
        """Give the folder its name; every process's part is on disk."""
        assert self.is_ready
        self._writing = None
        if not self._world.is_first:
            return
        unfinished = self._unfinished()
        name = unfinished.name.removeprefix(".").removesuffix(".writing")
        checkpoints.write_state(unfinished, step=self._step)
        Folder.at(str(self._folder)).publish(unfinished, name)
        checkpoints.prune(self._folder, keep=self._keep)

    def finish(self) -> None:
        """Wait until what was begun is on disk in all processes, and publish it."""
        if self._writing is not None:
            self._writing.result()
            self._world.wait()
            self.publish()
        self._world.wait()

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()

    def _unfinished(self) -> Path:
        return self._folder / f".{checkpoints.name_of(self._step)}.writing"

    def _write(self, unfinished: Path, parts: Mapping[str, LocalRows]) -> None:
        path = unfinished / f"shard-{self._world.rank:05d}-of-{self._world.size:05d}.safetensors"
        rows = {name: [part.first, part.num_rows] for name, part in parts.items()}
        with refusals_named(path), checkpoints.refused_tensors_named(path):
            save_file({name: part.rows for name, part in parts.items()}, path, metadata={_ROWS: _dumps(rows)})
            with path.open("rb") as file:  # by the machine that wrote it: another one's flush would not reach it
                os.fsync(file.fileno())


def parts_of(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> dict[str, LocalRows]:
    """Everything that training goes on from, as far as this process holds it: weights, moments, counts of steps."""
    found = {}
    for name, parameter in model.named_parameters():
        found[f"weight/{name}"] = _part(parameter)
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{key}/{name}"] = _part(value)
    return found


def is_sharded(checkpoint: Path) -> bool:
    """Whether a checkpoint was written by many processes."""
    return any(checkpoint.glob(PATTERN))


def restore(checkpoint: Path, *, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint of many processes into this process's part of `model` and `optimizer`, bit for bit."""
    saved = _Saved(sorted(checkpoint.glob(PATTERN)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            part = _part(parameter)
            part.rows.copy_(saved.read(f"weight/{name}", part.first, len(part.rows)))
            if f"step/{name}" not in saved.names:
                continue  # it never had a gradient
            moments: dict[str, torch.Tensor] = {"step": saved.read(f"step/{name}", 0, 1).reshape(())}
            for key in ("exp_avg", "exp_avg_sq"):
                value = torch.zeros_like(parameter)
                _part(value).rows.copy_(saved.read(f"{key}/{name}", part.first, len(part.rows)))
                moments[key] = value
            optimizer.state[parameter] = moments


def restore_one(checkpoint: Path, *, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint of one process into this process's part of a spread `model` and `optimizer`, bit for bit."""
    saved = dict(checkpoints.saved_model(checkpoint, like=model).named_parameters())
    with torch.no_grad(), safe_open(checkpoint / checkpoints.OPTIMIZER, framework="pt") as moments:
        names = set(moments.keys())
        for name, parameter in model.named_parameters():
            part = _part(parameter)
            place = slice(part.first, part.first + len(part.rows))
            part.rows.copy_(saved[name][place])
            if f"{name}/step" not in names:
                continue
            state: dict[str, torch.Tensor] = {"step": moments.get_tensor(f"{name}/step")}
            for key in ("exp_avg", "exp_avg_sq"):
                value = torch.zeros_like(parameter)
                _part(value).rows.copy_(moments.get_slice(f"{name}/{key}")[place])
                state[key] = value
            optimizer.state[parameter] = state


class _Saved:
    """The tensors in the files of a checkpoint, read by rows."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places: dict[str, list[tuple[int, Any]]] = {}
        for path in files:
            opened: Any = safe_open(path, framework="pt")
            for name, (first, _) in orjson.loads(opened.metadata()[_ROWS]).items():
                self._places.setdefault(name, []).append((first, opened))
        self.names = self._places.keys()

    def read(self, name: str, first: int, num_rows: int) -> torch.Tensor:
        """`num_rows` rows from `first` on. Raises InputError if no file holds them."""
        pieces = []
        for begin, opened in sorted(self._places.get(name, []), key=lambda place: place[0]):
            piece = opened.get_slice(name)
            length = piece.get_shape()[0]
            start, stop = max(first, begin), min(first + num_rows, begin + length)
            if start < stop:
                pieces.append(piece[start - begin : stop - begin])
        found = torch.cat(pieces) if pieces else torch.zeros(0)
        if len(found) != num_rows:
            raise InputError(f"the checkpoint holds {len(found)} of {num_rows} rows of {name}: take an earlier one")
        return found


def _part(tensor: torch.Tensor) -> LocalRows:
    """This process's rows of a tensor; a number counts as one row, which every process has."""
    from torch.distributed.tensor import DTensor, Shard

    if not isinstance(tensor, DTensor):
        rows = tensor.detach().reshape(1) if tensor.ndim == 0 else tensor.detach()
        return LocalRows(rows, 0, len(rows))
    rows = tensor.to_local().detach()
    first = 0
    for axis, placement in enumerate(tensor.placements):
        if isinstance(placement, Shard):
            assert placement.dim == 0, f"weights are spread by rows, not by {placement}"
            size, place = tensor.device_mesh.size(axis), tensor.device_mesh.get_local_rank(axis)
            first = min(tensor.shape[0], place * -(-tensor.shape[0] // size))
    return LocalRows(rows, first, tensor.shape[0])


def _is_ours(part: LocalRows, world: World) -> bool:
    """Whether this process writes the part: of copies that several hold, one is written."""
    if len(part.rows) == part.num_rows and world.size > 1 and not (part.first == 0 and world.is_first):
        return False
    is_copy = world.mesh is not None and world.mesh.ndim == 2 and world.mesh.get_local_rank("replicate") > 0
    return len(part.rows) > 0 and not is_copy


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
