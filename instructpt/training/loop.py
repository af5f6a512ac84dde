"""The training loop: rows in, a model out. One loop for pre-training, continued pre-training and every tuning.

    for each step      batch = order.batch(step)                  the next one is read while this one is computed
                       loss  = cross-entropy of its weighted targets, documents apart
                       guard   a loss or gradient that is not finite or explodes ends the run with names
                       clip, AdamW, schedule
                       a line to metrics.jsonl; now and then a checkpoint

What is learned depends on `TrainSettings`, the model and the order alone. `Execution` says how it is computed: device,
rows at a time, checkpoints. On a CPU a run that was killed and resumed has the same bytes as one that was not.

Under torchrun every process runs this loop on its rows of the step (see `parallel`); the first one writes what is
written once, and all that is decided is decided by sums over all, so that they stay together.

The folder that `train` works in holds `settings.json` (written first), `metrics.jsonl`, `checkpoints/` while it runs
and `model/` once it is done; with LoRA also `adapters/`, for whoever has the base.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import orjson
import torch
from transformers import PreTrainedModel

from instructpt.artifacts.storage import Folder
from instructpt.assembly.order import Order
from instructpt.errors import ArtifactError, RecipeError
from instructpt.records import Batch, Step
from instructpt.training import adapters, attention, checkpoints, guard, metrics, parallel
from instructpt.training.keeper import Keeper
from instructpt.training.learner import Training
from instructpt.training.parallel import World
from instructpt.training.settings import ADAPTERS, Execution, TrainSettings


def train(
    settings: TrainSettings,
    *,
    model: PreTrainedModel,
    order: Order,
    vocabulary_folder: Path,
    folder: Path,
    execution: Execution | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Train `model` and leave it in `folder/model`; give every step from the first on, those of earlier tries too.

    model: float32 weights as they are before step 1, also where a checkpoint in `folder` will replace them; trained in
    place, and with LoRA given back with its adapters merged.
    vocabulary_folder: its tokenizer files are put beside the weights. stop: asked in every step; once it says yes (to
    any process), a checkpoint is written after that step and the steps end early. Nothing happens until the steps are
    drawn. Under torchrun every process calls it, with the same arguments and one folder that all see.

    Raises TrainingError if the loss or gradient is not finite or explodes, if memory runs out, or if another process is
    gone; StorageError if the disk refuses, ArtifactError if `folder` belongs to other settings, InputError if a batch
    cannot be learned from by this model.
    """
    execution = execution or Execution()
    with parallel.joined(execution.device, shard_size=execution.shard_size) as world:
        if world.is_first:
            _claim(folder, settings)
        if world.sum([world.is_first and (folder / checkpoints.FINAL).is_dir()])[0]:
            if world.is_first:
                checkpoints.clean(folder)
            steps = metrics.read(folder)
            world.wait()  # from here on the first process may move the folder
            yield from steps
            return
        guard.check_head(model)
        if settings.lora:
            if world.size > 1:
                raise RecipeError("LoRA trains in one process: leave torchrun out, or tune all weights")
            adapters.wrap(model, settings.lora, seed=settings.seed)
        yield from _steps(settings, model, order, vocabulary_folder, folder, execution, stop, world)


def _steps(
    settings: TrainSettings,
    model: PreTrainedModel,
    order: Order,
    vocabulary_folder: Path,
    folder: Path,
    execution: Execution,
    stop: Callable[[], bool],
    world: World,
) -> Iterator[Step]:
    training = Training.of(model, settings, world, execution)
    keeper = Keeper(folder, world, execution, vocabulary_folder=vocabulary_folder)
    steps = keeper.resume(model, training.optimizer)
    yield from steps

    with (
        attention.within_documents(model),
        keeper,
        closing(_read_ahead(order, range(len(steps), settings.steps), world)) as batches,
        metrics.Appender(folder if world.is_first else None) as appender,
    ):
        for index, began, batch in batches:
            is_last = index + 1 == settings.steps
            guard.check_fits(batch, model, index)
            weight, tokens = world.sum([batch.weights.sum(dtype="float64"), (batch.documents >= 0).sum()])
            own_loss = training.backward(batch, index, weight)
            # One exchange for all that is decided together.
            loss, num_stopping, num_ready = world.sum([own_loss, not is_last and stop(), keeper.is_ready])
            norm = training.clip()
            if trouble := guard.trouble(loss, norm, steps, settings):
                # All processes know it: one says it.
                raise (
                    guard.explained(trouble, index, order.documents(index), folder) if world.is_first else SystemExit(1)
                )
            learning_rate = training.learning_rate(index)
            training.update(learning_rate)
            rate = tokens / (time.monotonic() - began)
            step = Step(
                step=index + 1,
                tokens=int(tokens) + (steps[-1].tokens if steps else 0),
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=norm,
                tokens_per_second=rate,
                mfu=training.utilisation(rate, row_tokens=batch.inputs.shape[1]),
            )
            steps.append(step)
            appender.append(step)
            if num_ready == world.size:
                keeper.publish()
            if num_stopping or (not is_last and step.step % execution.checkpoint_every_steps == 0):
                appender.flush_to_disk()
                keeper.save(step.step, model=model, optimizer=training.optimizer)
            yield step
            if num_stopping:
                return
    if settings.lora:
        adapters.save(model, folder / ADAPTERS)
        adapters.merge(model)
    _export(folder, model, settings, world, vocabulary_folder=vocabulary_folder)


def _read_ahead(order: Order, indices: range, world: World) -> Generator[tuple[int, float, Batch], None, None]:
    """This process's rows of each step, with when it was asked for; the next ones are read meanwhile."""
    read = functools.partial(order.batch, rank=world.rank, world_size=world.size) if world.size > 1 else order.batch
    with ThreadPoolExecutor(1) as reader:
        upcoming = [reader.submit(read, index) for index in indices[:1]]
        for index in indices:
            began = time.monotonic()
            batch = upcoming.pop().result()
            if index + 1 in indices:
                upcoming.append(reader.submit(read, index + 1))
            yield index, began, batch


def _export(
    folder: Path, model: PreTrainedModel, settings: TrainSettings, world: World, *, vocabulary_folder: Path
) -> None:
    """Write the finished model; spread weights are gathered one after the other to the first process."""
    weights = None
    if world.size > 1:
        dtype = getattr(torch, settings.export)
        with torch.no_grad(), parallel.lost_processes_named(world):
            pieces = ((name, parallel.whole(value)) for name, value in model.named_parameters())
            weights = {name: value.to("cpu", dtype) for name, value in pieces if world.is_first}
    if world.is_first:
        checkpoints.export(
            folder, model=model, vocabulary_folder=vocabulary_folder, dtype=settings.export, weights=weights
        )
    world.wait()


def _claim(folder: Path, settings: TrainSettings) -> None:
    """Make `folder` belong to `settings`, or raise ArtifactError if it belongs to others."""
    path = folder / "settings.json"
    mine = orjson.loads(orjson.dumps(dataclasses.asdict(settings)))
    if not path.exists():
        Folder.at(str(folder)).write(path.name, orjson.dumps(mine, option=orjson.OPT_INDENT_2))
        return
    theirs = orjson.loads(path.read_bytes())
    changed = [f"{name}: {theirs.get(name)} -> {mine.get(name)}" for name in mine if theirs.get(name) != mine[name]]
    if changed:
        raise ArtifactError(
            f"{folder} was trained with other settings ({'; '.join(changed)}): use another folder or remove this one"
        )
