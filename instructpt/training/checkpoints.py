"""Checkpoints: Hugging Face model folders that training can also go on from.

    checkpoints/step-00000200/   config.json, model.safetensors, tokenizer.json ...  a model like any other
                                 optimizer.safetensors    both moments and the step count of every parameter
                                 state.json               step, versions, and the size of every file beside it
                .step-00000300.writing/                   a kill came here: ignored, then removed
    model/                       the finished model, without optimizer

With LoRA a checkpoint holds the adapters instead of the model, in the layout of peft (see `adapters`); the finished
model is whole there too.

A folder is written under a temporary name, flushed and renamed, so what bears a checkpoint's name is whole; if a disk
or a copy lost part of it all the same, sizes tell, and the one before it counts. No pickle anywhere.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils import logging

from instructpt.errors import StorageError
from instructpt.storage import Folder, refusals_named
from instructpt.training import adapters

FOLDER = "checkpoints"
FINAL = "model"
_STATE, _OPTIMIZER = "state.json", "optimizer.safetensors"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


def save(
    folder: Path,
    *,
    step: int,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    vocabulary_folder: Path,
    keep: int,
) -> Path:
    """Write the checkpoint of `step` under `folder` and remove all but the newest `keep`; its path.

    Raises StorageError if the disk refuses; the earlier checkpoints are all there then.
    """
    parent = folder / FOLDER
    name = f"step-{step:08d}"
    with _prepared(parent, name) as unfinished:
        if adapters.is_wrapped(model):
            adapters.save(model, unfinished)
            _copy_tokenizer(vocabulary_folder, unfinished)
        else:
            write_model(model, unfinished, vocabulary_folder=vocabulary_folder)
        save_file(_optimizer_tensors(model, optimizer), unfinished / _OPTIMIZER)
        sizes = {path.name: path.stat().st_size for path in sorted(unfinished.iterdir())}
        state = {"step": step, "torch": torch.__version__, "files": sizes}
        (unfinished / _STATE).write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))
    for path in _named(parent)[:-keep]:
        shutil.rmtree(path)
    return parent / name


def export(
    folder: Path, *, model: PreTrainedModel, vocabulary_folder: Path, dtype: Literal["float32", "bfloat16"]
) -> None:
    """Write the finished model to `folder/model` and remove the checkpoints that led to it."""
    with _prepared(folder, FINAL) as unfinished:
        write_model(_in(model, dtype), unfinished, vocabulary_folder=vocabulary_folder)
    clean(folder)


def clean(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    if (folder / FOLDER).exists():
        shutil.rmtree(folder / FOLDER)


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint under `folder`; None if there is none."""
    return next((path for path in reversed(_named(folder / FOLDER)) if _is_whole(path)), None)


def step_of(checkpoint: Path) -> int:
    """Optimizer steps behind a checkpoint."""
    return int(orjson.loads((checkpoint / _STATE).read_bytes())["step"])


def restore(checkpoint: Path, *, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put the weights and the optimizer's state of a checkpoint into `model` and `optimizer`, bit for bit."""
    if adapters.is_wrapped(model):
        adapters.load(model, checkpoint)
    else:
        with _no_progress_bars():
            saved = type(model).from_pretrained(checkpoint, dtype=model.dtype, use_safetensors=True)
        model.load_state_dict(saved.state_dict())
    moments: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load_file(checkpoint / _OPTIMIZER).items():
        parameter_name, _, key = name.rpartition("/")
        moments.setdefault(parameter_name, {})[key] = value
    names = {parameter: name for name, parameter in model.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {i: moments[names[p]] for i, p in enumerate(parameters) if names[p] in moments}
    optimizer.load_state_dict(state)


def _optimizer_tensors(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()  # none for one that never had a gradient
    }


def write_model(model: PreTrainedModel, folder: Path, *, vocabulary_folder: Path) -> None:
    """Write weights, configuration and tokenizer files to `folder`, as every Hugging Face model has them."""
    with _no_progress_bars():
        model.save_pretrained(folder)
    _copy_tokenizer(vocabulary_folder, folder)


def _in(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    """The model in another number format; the one given stays as it is."""
    wanted = getattr(torch, dtype)
    return model if model.dtype == wanted else copy.deepcopy(model).to(wanted)


def _copy_tokenizer(vocabulary_folder: Path, folder: Path) -> None:
    for name in _TOKENIZER_FILES:
        if (vocabulary_folder / name).exists():
            shutil.copyfile(vocabulary_folder / name, folder / name)


@contextmanager
def _prepared(parent: Path, name: str) -> Iterator[Path]:
    """A folder to fill that becomes `parent/name` when it is complete, and leaves nothing behind if it fails."""
    unfinished = parent / f".{name}.writing"
    try:
        with refusals_named(parent / name):
            parent.mkdir(parents=True, exist_ok=True)
            for left in parent.glob(".*.writing"):
                if left.is_dir():
                    shutil.rmtree(left)
            unfinished.mkdir()
            try:
                yield unfinished
            except SafetensorError as error:  # its own error type hides the system's error number
                raise StorageError(
                    f"cannot write {parent / name}: {error}; make room and run the same command again, "
                    "earlier checkpoints are kept"
                ) from error
            Folder.at(str(parent)).publish(unfinished, name)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)


def _named(parent: Path) -> list[Path]:
    return sorted(parent.glob("step-*")) if parent.is_dir() else []


def _is_whole(checkpoint: Path) -> bool:
    state = checkpoint / _STATE
    if not state.exists():
        return False
    sizes: dict[str, Any] = orjson.loads(state.read_bytes())["files"]
    here = {entry.name: entry.stat().st_size for entry in os.scandir(checkpoint)}
    return all(here.get(name) == size for name, size in sizes.items())


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """transformers draws a bar for every file it writes or reads, across the run's own display."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
