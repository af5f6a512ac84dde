"""The training loop: rows in, a model out. One loop for pre-training, continued pre-training and every tuning.

    for each step      batch = order.batch(step)                  the next one is read while this one is computed
                       loss  = cross-entropy of its weighted targets, documents apart
                       guard   a loss or gradient that is not finite or explodes ends the run with names
                       clip, AdamW, schedule
                       a line to metrics.jsonl; now and then a checkpoint

What is learned depends on `TrainSettings`, the model and the order alone. `Execution` says how it is computed: device,
rows at a time, checkpoints. On a CPU a run that was killed and resumed has the same bytes as one that was not.

The folder that `train` works in holds `settings.json` (written first), `metrics.jsonl`, `checkpoints/` while it runs
and `model/` once it is done.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import orjson
import torch
from transformers import PreTrainedModel

from instructpt import devices
from instructpt.errors import ArtifactError, InputError, TrainingError
from instructpt.records import Batch, Step
from instructpt.seeds import digest
from instructpt.storage import Folder
from instructpt.training import adapters, attention, checkpoints, metrics
from instructpt.training.flops import utilisation
from instructpt.training.loss import weighted_cross_entropy
from instructpt.training.schedules import multiplier
from instructpt.training.settings import Execution, TrainSettings

MEDIAN_STEPS = 100
"""The guard compares a loss with the median of this many steps before it."""
_LOGIT_FIELDS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class Order(Protocol):
    """What is trained on at which step: pure functions of the step, so that resuming needs one integer."""

    def batch(self, step: int) -> Batch:
        """All rows of a step, on all processes together. step: 0 for the first (`Step.step` is one more)."""
        ...

    def documents(self, step: int) -> Sequence[str]:
        """Names of the texts in `batch(step)`, for a person who looks for the one that broke the loss."""
        ...


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
    vocabulary_folder: its tokenizer files are put beside the weights. stop: asked after every step; once it says yes,
    a checkpoint is written and the steps end early. Nothing happens until the steps are drawn.

    Raises TrainingError if the loss or gradient is not finite or explodes, StorageError if the disk refuses,
    ArtifactError if `folder` belongs to other settings, InputError if a batch cannot be learned from by this model.
    """
    execution = execution or Execution()
    _claim(folder, settings)
    if (folder / checkpoints.FINAL).is_dir():
        checkpoints.clean(folder)
        yield from metrics.read(folder)
        return

    _check_head(model)
    if settings.lora:
        adapters.wrap(model, settings.lora, seed=settings.seed)
    model.to(devices.find(execution.device))
    optimizer = _optimizer(model, settings)
    steps = _resume(folder, model, optimizer)
    yield from steps

    forward: Any = torch.compile(model.base_model) if execution.compile else model.base_model
    with attention.within_documents(model), ThreadPoolExecutor(1) as reader, metrics.Appender(folder) as appender:
        upcoming = reader.submit(order.batch, len(steps))
        for index in range(len(steps), settings.steps):
            began = time.monotonic()
            batch = upcoming.result()
            if index + 1 < settings.steps:
                upcoming = reader.submit(order.batch, index + 1)
            _check_fits(batch, model, index)

            learning_rate = _learning_rate(settings, index)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            model.train()
            # Dropout draws from torch's one stream: set by step, a resumed run draws what an undisturbed one does.
            torch.manual_seed(int.from_bytes(digest(settings.seed, "dropout", index)[:8], "little"))
            loss = _backward(batch, model, forward, settings, execution.micro_batch_rows)
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip))
            if trouble := _trouble(loss, norm, steps, settings):
                raise TrainingError(_explain(trouble, index, order, folder))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            tokens = int((batch.documents >= 0).sum())
            rate = tokens / (time.monotonic() - began)
            step = Step(
                step=index + 1,
                tokens=tokens + (steps[-1].tokens if steps else 0),
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=norm,
                tokens_per_second=rate,
                mfu=_utilisation(model, rate, batch, settings),
            )
            steps.append(step)
            appender.append(step)
            stopping = step.step < settings.steps and stop()
            if stopping or (step.step < settings.steps and step.step % execution.checkpoint_every_steps == 0):
                appender.flush_to_disk()
                checkpoints.save(
                    folder,
                    step=step.step,
                    model=model,
                    optimizer=optimizer,
                    vocabulary_folder=vocabulary_folder,
                    keep=execution.keep_checkpoints,
                )
            yield step
            if stopping:
                return
    if settings.lora:
        adapters.merge(model)
    checkpoints.export(folder, model=model, vocabulary_folder=vocabulary_folder, dtype=settings.export)


def _resume(folder: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> list[Step]:
    """Put model and optimizer where the newest checkpoint has them; the steps that led there."""
    checkpoint = checkpoints.latest(folder)
    if checkpoint is None:
        return metrics.cut(folder, num_steps=0)
    checkpoints.restore(checkpoint, model=model, optimizer=optimizer)
    return metrics.cut(folder, num_steps=checkpoints.step_of(checkpoint))


def _backward(
    batch: Batch, model: PreTrainedModel, forward: Any, settings: TrainSettings, micro_batch_rows: int | None
) -> float:
    """Leave the gradient of the step's loss in the parameters; the loss.

    Divided by the weights of all rows, not of the few at hand: rows at a time do not change the result. A step whose
    rows happen to hold no target that carries loss (a few rows, all of them context) has loss 0 and changes nothing.
    """
    if not batch.weights.any():
        return 0.0
    device, head = model.device, model.get_output_embeddings().weight
    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    total_weight = float(batch.weights.sum(dtype="float64"))
    num_rows, row_tokens = batch.inputs.shape
    total = 0.0
    for begin in range(0, num_rows, micro_batch_rows or num_rows):
        part = slice(begin, begin + (micro_batch_rows or num_rows))
        inputs_RT, targets_RT, weights_RT, positions_RT, documents_RT = (
            torch.from_numpy(array[part]).to(device)
            for array in (batch.inputs, batch.targets, batch.weights, batch.positions, batch.documents)
        )
        if settings.attend_across_documents:
            positions_RT = torch.arange(row_tokens, device=device).expand_as(inputs_RT)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            hidden_RTH = forward(
                input_ids=inputs_RT,
                position_ids=positions_RT,
                cu_seq_lens_q=attention.starts(documents_RT, across=settings.attend_across_documents),
                use_cache=False,
            ).last_hidden_state
        loss = (
            weighted_cross_entropy(
                hidden_RTH.flatten(0, 1),
                head,
                targets_N=targets_RT.flatten(),
                weights_N=weights_RT.flatten(),
                dtype=dtype,
            )
            / total_weight
        )
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


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
    recent = [step.loss for step in steps[settings.warmup_steps :][-MEDIAN_STEPS:]]
    if not recent:
        return None
    median = statistics.median(recent)
    exploded = loss > settings.explode_factor * max(1.0, median)
    return f"the loss exploded to {loss:.3f} from a median of {median:.3f}" if exploded else None


def _explain(trouble: str, index: int, order: Order, folder: Path) -> str:
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
