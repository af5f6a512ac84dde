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
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson
import torch
from transformers import PreTrainedModel

from instructpt.artifacts.storage import Folder
from instructpt.errors import ArtifactError, InputError, RecipeError, TrainingError
from instructpt.records import Batch, Step
from instructpt.seeds import digest
from instructpt.training import adapters, attention, checkpoints, metrics, parallel
from instructpt.training.flops import utilisation
from instructpt.training.keeper import Keeper
from instructpt.training.learner import Learner
from instructpt.training.parallel import World
from instructpt.training.schedules import multiplier
from instructpt.training.settings import ADAPTERS, Execution, TrainSettings

MEDIAN_STEPS = 100
"""The guard compares a loss with the median of this many steps before it."""
_NO_HOST_MEMORY = "can't allocate memory"
"""What torch says, in a plain RuntimeError, where it is the host's memory that runs out."""
_LOGIT_FIELDS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class BatchOrder(Protocol):
    """What is trained on at which step: pure functions of the step, so that resuming needs one integer."""

    def batch(self, step: int, *, rank: int = 0, world_size: int = 1) -> Batch:
        """The rows of a step that belong to a process. step: 0 for the first (`Step.step` is one more)."""
        ...

    def documents(self, step: int) -> Sequence[str]:
        """Names of the texts in all rows of a step, for a person who looks for the one that broke the loss."""
        ...


def train(
    settings: TrainSettings,
    *,
    model: PreTrainedModel,
    order: BatchOrder,
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
        _check_head(model)
        if settings.lora:
            if world.size > 1:
                raise RecipeError("LoRA trains in one process: leave torchrun out, or tune all weights")
            adapters.wrap(model, settings.lora, seed=settings.seed)
        yield from _steps(settings, model, order, vocabulary_folder, folder, execution, stop, world)


def _steps(
    settings: TrainSettings,
    model: PreTrainedModel,
    order: BatchOrder,
    vocabulary_folder: Path,
    folder: Path,
    execution: Execution,
    stop: Callable[[], bool],
    world: World,
) -> Iterator[Step]:
    learner = Learner(model, settings, execution)
    with _memory_named(execution):
        if world.size > 1:
            parallel.spread(learner, model, world, dtype=learner.dtype)
        model.to(world.device)
    optimizer = _optimizer(model, settings)
    keeper = Keeper(folder, world, execution, vocabulary_folder=vocabulary_folder)
    steps = keeper.resume(model, optimizer)
    yield from steps

    read = functools.partial(order.batch, rank=world.rank, world_size=world.size) if world.size > 1 else order.batch
    with (
        attention.within_documents(model),
        keeper,
        ThreadPoolExecutor(1) as reader,
        metrics.appending(folder if world.is_first else None) as appender,
    ):
        upcoming = reader.submit(read, len(steps))
        for index in range(len(steps), settings.steps):
            began = time.monotonic()
            batch = upcoming.result()
            if index + 1 < settings.steps:
                upcoming = reader.submit(read, index + 1)
            _check_fits(batch, model, index)
            weight, tokens = world.sum([batch.weights.sum(dtype="float64"), (batch.documents >= 0).sum()])

            learning_rate = _learning_rate(settings, index)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            model.train()
            # Dropout draws from torch's one stream: set by step, a resumed run draws what an undisturbed one does.
            torch.manual_seed(_dropout_seed(settings, index, world))
            own_loss = _backward(batch, learner, weight, world, execution)
            is_last = index + 1 == settings.steps
            # One exchange for all that is decided together.
            loss, num_stopping, num_ready = world.sum([own_loss, not is_last and stop(), keeper.is_ready])
            norm = _clip(model, settings.clip, world)
            if trouble := _trouble(loss, norm, steps, settings):
                # All processes know it: one says it.
                raise TrainingError(_explain(trouble, index, order, folder)) if world.is_first else SystemExit(1)
            with parallel.lost_processes_named(world), _memory_named(execution):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            rate = tokens / (time.monotonic() - began)
            step = Step(
                step=index + 1,
                tokens=int(tokens) + (steps[-1].tokens if steps else 0),
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=norm,
                tokens_per_second=rate,
                mfu=_utilisation(model, rate / world.size, batch, settings),
            )
            steps.append(step)
            appender.append(step)
            if num_ready == world.size:
                keeper.publish()
            if num_stopping or (not is_last and step.step % execution.checkpoint_every_steps == 0):
                appender.flush_to_disk()
                keeper.save(step.step, model=model, optimizer=optimizer)
            yield step
            if num_stopping:
                return
    if settings.lora:
        adapters.save(model, folder / ADAPTERS)
        adapters.merge(model)
    _export(folder, model, settings, world, vocabulary_folder=vocabulary_folder)


def _backward(batch: Batch, learner: Learner, weight: float, world: World, execution: Execution) -> float:
    """Leave the gradient of the step's loss in the parameters; this process's part of the loss.

    weight: of all rows of the step in all processes, by which all parts are divided: neither rows at a time nor the
    number of processes changes the result. A step whose rows happen to hold no target that carries loss (a few rows,
    all of them context) has loss 0 and changes nothing.
    """
    if not weight:
        return 0.0
    device = world.device
    num_rows = len(batch.inputs)
    part_rows = execution.micro_batch_rows or num_rows
    total = 0.0
    for begin in range(0, num_rows, part_rows):
        part = slice(begin, begin + part_rows)
        parts = [
            torch.from_numpy(array[part]).to(device)
            for array in (batch.inputs, batch.targets, batch.weights, batch.positions, batch.documents)
        ]
        if world.size > 1:
            spread: Any = learner
            spread.set_requires_gradient_sync(begin + part_rows >= num_rows)
        with parallel.lost_processes_named(world), _memory_named(execution, num_rows=len(parts[0])):
            loss = learner(*parts) / weight
            # Gradients are averaged over the processes; what is wanted is their sum.
            (loss * world.size if world.size > 1 else loss).backward()
        total += float(loss.detach())
    return total


def _clip(model: PreTrainedModel, most: float, world: World) -> float:
    """Cut the gradient to a norm; the norm that it had."""
    with parallel.lost_processes_named(world):
        return float(parallel.whole(torch.nn.utils.clip_grad_norm_(model.parameters(), most)))


def _dropout_seed(settings: TrainSettings, index: int, world: World) -> int:
    own = (world.rank,) if world.rank else ()
    return int.from_bytes(digest(settings.seed, "dropout", index, *own)[:8], "little")


@contextmanager
def _memory_named(execution: Execution, *, num_rows: int | None = None) -> Iterator[None]:
    """Memory that runs out, as one line that says what to lower and by how much.

    num_rows: of those that are computed at once; None where weights and their moments take the memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _NO_HOST_MEMORY not in str(error):
            raise
        ways = []
        if num_rows is not None and num_rows > 1:
            ways.append(f"--training-options micro_batch_rows={num_rows // 2}")
        if num_rows is not None and not execution.checkpoint_activations:
            ways.append("--training-options checkpoint_activations=true (a third more work)")
        if not ways:
            ways.append("more processes (torchrun), which share weights and moments")
            ways.append("a smaller model" if num_rows is None else "shorter rows")
        what = "for weights and moments" if num_rows is None else f"with {num_rows} rows at a time"
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(
            f"memory ran out {what} ({reason}): try {', or '.join(ways)}; "
            "the same command goes on from the last checkpoint"
        ) from error


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


def _optimizer(model: PreTrainedModel, settings: TrainSettings) -> torch.optim.AdamW:
    embeddings = {id(model.get_input_embeddings().weight)}
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in trained if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def _utilisation(model: PreTrainedModel, rate: float, batch: Batch, settings: TrainSettings) -> float | None:
    if settings.lora:
        return None  # the count of operations is that of full tuning: frozen weights need a third less
    return utilisation(model, tokens_per_second=rate, row_tokens=batch.inputs.shape[1])


def _learning_rate(settings: TrainSettings, index: int) -> float:
    return settings.learning_rate * multiplier(
        index + 1,
        steps=settings.steps,
        schedule=settings.schedule,
        warmup_steps=settings.warmup_steps,
        minimum=settings.min_learning_rate_share,
    )


def _trouble(loss: float, norm: float, steps: Sequence[Step], settings: TrainSettings) -> str | None:
    """What is wrong with a step's loss and gradient, or None. steps: those before."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(norm):
        return f"the gradient's norm is {norm} (loss {loss:.3f})"
    # A batch without a token that carries loss has a loss of 0, which measures nothing.
    recent = [step.loss for step in steps[settings.warmup_steps :][-MEDIAN_STEPS:] if step.loss]
    if not recent:
        return None
    median = statistics.median(recent)
    exploded = loss > settings.explode_factor * max(1.0, median)
    return f"the loss exploded to {loss:.3f} from a median of {median:.3f}" if exploded else None


def _explain(trouble: str, index: int, order: BatchOrder, folder: Path) -> str:
    names = list(dict.fromkeys(order.documents(index)))  # a text in several rows is named once
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    last = checkpoints.latest(folder)
    return (
        f"step {index + 1}: {trouble}; in its batch: {shown}; the last good checkpoint is {last or 'not written yet'}; "
        "look at these texts, or lower learning_rate or raise warmup_steps"
    )


def _check_head(model: PreTrainedModel) -> None:
    """The loss multiplies by the output matrix itself: refuse models that do more to their logits than that."""
    extras = [name for name in _LOGIT_FIELDS if getattr(model.config, name, None) not in (None, 1.0)]
    if model.get_output_embeddings().bias is not None:
        extras.append("a bias of its output")
    if extras:
        raise InputError(f"{model.config.model_type} sets {', '.join(extras)}, unknown here: take another base model")


def _check_fits(batch: Batch, model: PreTrainedModel, index: int) -> None:
    row_tokens, largest = batch.inputs.shape[1], int(batch.inputs.max())
    if largest >= model.config.vocab_size:
        raise InputError(
            f"step {index + 1} holds token id {largest}, the model knows {model.config.vocab_size} ids: "
            "pack the rows with the model's own vocabulary"
        )
    longest = getattr(model.config, "max_position_embeddings", row_tokens)
    if row_tokens > longest:
        raise InputError(
            f"rows hold {row_tokens} tokens, the model reads at most {longest}: pack shorter rows or take another model"
        )


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
