"""What ends a training, in one line that says why and what to do: a model or batch that does not fit, a loss that is
not finite or explodes, memory that runs out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel

from instructpt.errors import InputError, TrainingError
from instructpt.records import Batch, Step
from instructpt.training import checkpoints
from instructpt.training.settings import Execution, TrainSettings

MEDIAN_STEPS = 100
"""The guard compares a loss with the median of this many steps before it."""
_NO_HOST_MEMORY = "can't allocate memory"
"""What torch says, in a plain RuntimeError, where it is the host's memory that runs out."""
_LOGIT_FIELDS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def check_head(model: PreTrainedModel) -> None:
    """The loss multiplies by the output matrix itself: refuse models that do more to their logits than that."""
    extras = [name for name in _LOGIT_FIELDS if getattr(model.config, name, None) not in (None, 1.0)]
    if model.get_output_embeddings().bias is not None:
        extras.append("a bias of its output")
    if extras:
        raise InputError(f"{model.config.model_type} sets {', '.join(extras)}, unknown here: take another base model")


def check_fits(batch: Batch, model: PreTrainedModel, index: int) -> None:
    """Raises InputError for ids or rows that the model does not know. index: of the step."""
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


def trouble(loss: float, norm: float, steps: Sequence[Step], settings: TrainSettings) -> str | None:
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


def explained(trouble: str, index: int, documents: Sequence[str], folder: Path) -> TrainingError:
    """The error for a step. documents: in its batch; a text in several rows is named once."""
    names = list(dict.fromkeys(documents))
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    last = checkpoints.latest(folder)
    return TrainingError(
        f"step {index + 1}: {trouble}; in its batch: {shown}; the last good checkpoint is {last or 'not written yet'}; "
        "look at these texts, or lower learning_rate or raise warmup_steps"
    )


@contextmanager
def memory_named(execution: Execution, *, num_rows: int | None = None) -> Iterator[None]:
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
