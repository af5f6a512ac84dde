"""Checkpoints: Hugging Face model folders that training can also go on from.

    checkpoints/step-00000200/   config.json, model.safetensors, tokenizer.json ...  a model like any other
                                 optimizer.safetensors    both moments and the step count of every parameter
                                 state.json               step, versions, and the size of every file beside it
                .step-00000300.writing/                   a kill came here: ignored, then removed
    model/                       the finished model, without optimizer

A run on many processes writes other files, in which every process has its part: see `shards`.

With LoRA a checkpoint holds the adapters instead of the model, in the layout of peft (see `adapters`); the finished
model is whole there too.

A folder is written under a temporary name, flushed and renamed, so what bears a checkpoint's name is whole; if a disk
or a copy lost part of it all the same, sizes tell, and the one before it counts. No pickle anywhere.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils import logging

from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.errors import StorageError
from instructpt.training import adapters

FOLDER = "checkpoints"
FINAL = "model"
OPTIMIZER = "optimizer.safetensors"
_STATE = "state.json"
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
    parent, name = folder / FOLDER, name_of(step)
    with _prepared(parent, name) as unfinished:
        if adapters.is_wrapped(model):
            adapters.save(model, unfinished)
            copy_tokenizer(vocabulary_folder, unfinished)
        else:
            write_model(model, unfinished, vocabulary_folder=vocabulary_folder)
        save_file(_optimizer_tensors(model, optimizer), unfinished / OPTIMIZER)
        write_state(unfinished, step=step)
    prune(parent, keep=keep)
    return parent / name


def name_of(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


def write_state(folder: Path, *, step: int) -> None:
    """Write which step a checkpoint is of, and what it consists of: its last file."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    state = {"step": step, "torch": torch.__version__, "files": sizes}
    (folder / _STATE).write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))


def prune(parent: Path, *, keep: int) -> None:
    """Remove all checkpoints but the newest `keep`."""
    for path in _named(parent)[:-keep]:
        shutil.rmtree(path)


def export(
    folder: Path,
    *,
    model: PreTrainedModel,
    vocabulary_folder: Path,
    dtype: Literal["float32", "bfloat16"],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write the finished model to `folder/model` and remove the checkpoints that led to it.

    weights: those to write instead of the model's own, by name; in `dtype` already.
    """
    with _prepared(folder, FINAL) as unfinished:
        if weights is None:
            write_model(_in(model, dtype), unfinished, vocabulary_folder=vocabulary_folder)
        else:
            with _no_progress_bars():
                model.save_pretrained(unfinished, state_dict=dict(weights))
            copy_tokenizer(vocabulary_folder, unfinished)
            _name_number_format(unfinished / "config.json", dtype)
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
        model.load_state_dict(saved_model(checkpoint, like=model).state_dict())
    moments: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load_file(checkpoint / OPTIMIZER).items():
        parameter_name, _, key = name.rpartition("/")
        moments.setdefault(parameter_name, {})[key] = value
    names = {parameter: name for name, parameter in model.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {i: moments[names[p]] for i, p in enumerate(parameters) if names[p] in moments}
    optimizer.load_state_dict(state)


def saved_model(checkpoint: Path, *, like: PreTrainedModel) -> PreTrainedModel:
    """The model of a checkpoint, of the class and number format of another one."""
    with _no_progress_bars():
        saved: PreTrainedModel = type(like).from_pretrained(checkpoint, dtype=like.dtype, use_safetensors=True)
    return saved


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
    copy_tokenizer(vocabulary_folder, folder)


def write_description(model: PreTrainedModel, folder: Path, *, vocabulary_folder: Path) -> None:
    """Write all of a model's folder but its weights."""
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    copy_tokenizer(vocabulary_folder, folder)


def _name_number_format(config: Path, dtype: str) -> None:
    described = orjson.loads(config.read_bytes())
    config.write_bytes(orjson.dumps({**described, "dtype": dtype}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def _in(model: PreTrainedModel, dtype: str) -> PreTrainedModel:
    """The model in another number format; the one given stays as it is."""
    wanted = getattr(torch, dtype)
    return model if model.dtype == wanted else copy.deepcopy(model).to(wanted)


def copy_tokenizer(vocabulary_folder: Path, folder: Path) -> None:
    """Copy the files that say how text becomes ids."""
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
            with refused_tensors_named(parent / name):
                yield unfinished
            Folder.at(str(parent)).publish(unfinished, name)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)


@contextmanager
def refused_tensors_named(path: Path) -> Iterator[None]:
    """What safetensors says of a disk that refuses, as an error that names the path: its own hides the number."""
    try:
        yield
    except SafetensorError as error:
        raise StorageError(
            f"cannot write {path}: {error}; make room and run the same command again, earlier checkpoints are kept"
        ) from error


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
