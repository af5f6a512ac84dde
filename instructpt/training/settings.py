"""What a training run learns, and how it is computed: two records, light enough for a command's `--help`.

A learning-rate schedule is a pure function from a step to the share of the peak rate it uses:

    1.0 |   ______________            1.0 |   ___________________         1.0 |   ____________________
        |  /              \\               |  /                   \\            |  /
        | /    cosine       `-.__         | /        wsd          \\           | /      constant
    0.0 |/                       `        |/                       \\          |/
        warm-up                           warm-up   stable    decay           warm-up

A new schedule is a function here and a line in `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from instructpt.errors import RecipeError

DECAY_SHARE = 0.2
"""Share of all steps in which "wsd" decays: with a fifth it reaches what cosine reaches (arXiv 2405.18392)."""

Schedule = Callable[[float, float], float]


def cosine(progress: float, minimum: float) -> float:
    """Half a cosine wave from 1 down to `minimum` (arXiv 1608.03983). The paper's schedule."""
    return minimum + (1 - minimum) * (1 + math.cos(math.pi * progress)) / 2


def warmup_stable_decay(progress: float, minimum: float) -> float:
    """1, then straight down to `minimum` over the last fifth (arXiv 2404.06395, section 4)."""
    return 1 - (1 - minimum) * max(0.0, 1 - (1 - progress) / DECAY_SHARE)


def constant(progress: float, minimum: float) -> float:
    """1 throughout."""
    del progress, minimum
    return 1.0


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "wsd": warmup_stable_decay, "constant": constant}
"""Name -> function of progress after the warm-up, 0 to 1, and the least share."""


def multiplier(step: int, *, steps: int, schedule: str, warmup_steps: int, minimum: float) -> float:
    """The share of the peak learning rate that step `step` (1 for the first) of `steps` uses.

    It rises in equal parts to 1 at step `warmup_steps`; then the schedule goes from 1 to, at the last step, `minimum`.
    """
    assert 1 <= step <= steps
    if step < warmup_steps:
        return step / warmup_steps
    begin = max(warmup_steps, 1)
    return SCHEDULES[schedule]((step - begin) / max(1, steps - begin), minimum)


ADAPTERS = "adapters"
"""The folder beside a trained model's that holds what LoRA learned, without the base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters instead of full tuning: every linear layer but the output learns a product of two thin
    matrices that is added to its own (Hu et al., arXiv 2106.09685)."""

    rank: int
    """Width of the two thin matrices."""
    alpha: float
    """The product is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Share of a layer's inputs that its adapter does not see in a step."""
    last_layers: int | None = field(default=None, metadata={"later": True})
    """Adapters in so many of the last layers only: no gradient is taken through those before. None: in all."""

    def __post_init__(self) -> None:
        _check(self.rank >= 1, f"the rank of LoRA is {self.rank}: give at least 1, or tune without LoRA")
        _check(self.alpha > 0, f"the alpha of LoRA is {self.alpha}: give more than 0")
        _check(
            self.last_layers is None or self.last_layers >= 1,
            f"the last {self.last_layers} layers are to have adapters: give at least 1, or nothing for all layers",
        )
        _check(0 <= self.dropout < 1, f"the dropout of LoRA is {self.dropout}: give 0 or more, less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What is learned from an order: part of a run's identity."""

    steps: int
    learning_rate: float
    """The highest, reached at the end of the warm-up."""
    schedule: str = "cosine"
    """One of `instructpt.training.schedules.SCHEDULES`."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises in equal parts."""
    min_learning_rate_share: float = 0.1
    """Share of the highest learning rate that is left at the last step."""
    weight_decay: float = 0.1
    """On matrices. Norms, biases and embeddings (also where the output shares them) are not decayed: embeddings that
    shrink make the first layers' gradients grow (OLMo 2, arXiv 2501.00656)."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    """The gradient's norm is cut to this."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """"bfloat16": products in bfloat16; weights, moments, norms and the loss stay in float32."""
    attend_across_documents: bool = False
    """Whether a token sees the documents before its own in the row; positions then count along the row."""
    explode_factor: float = 3.0
    """After the warm-up a loss above this many times the recent median (or 1 nat, if that is more) ends the run."""
    export: Literal["float32", "bfloat16"] = "float32"
    """Number format of the finished model. float32 is what was trained; bfloat16 is half as large and what servers
    compute in anyway."""
    seed: int = 0
    """For dropout, where the model has any, and for new adapters."""
    lora: Lora | None = field(default=None, metadata={"later": True})
    """Train adapters and leave the model's own weights as they are; the finished model has them merged in."""

    def __post_init__(self) -> None:
        _check(self.steps >= 1, f"steps is {self.steps}: give at least 1")
        _check(self.learning_rate > 0, f"learning_rate is {self.learning_rate}: give more than 0")
        known = ", ".join(SCHEDULES)
        _check(self.schedule in SCHEDULES, f"no schedule is called {self.schedule!r}: choose one of {known}")
        _check(
            0 <= self.warmup_steps <= self.steps,
            f"warmup_steps is {self.warmup_steps} of {self.steps} steps: give 0 to {self.steps}",
        )
        share = self.min_learning_rate_share
        _check(0 <= share <= 1, f"min_learning_rate_share is {share}: give a share from 0 to 1")
        _check(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}: give 0 or more")
        _check(self.clip > 0, f"clip is {self.clip}: give more than 0")
        _check(self.explode_factor > 1, f"explode_factor is {self.explode_factor}: give more than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How it is computed: changes speed and memory, never what is learned (beyond the last bits of a float)."""

    device: str = "auto"
    """"cpu", "cuda", or "auto": a GPU if there is one."""
    micro_batch_rows: int | None = None
    """Rows a forward pass; gradients are summed over the step's rows. None: all at once."""
    compile: bool = False
    """Through torch.compile: half a minute at the start, then 10 to 20 % faster on a CPU in bfloat16."""
    checkpoint_activations: bool = False
    """Keep a layer's inputs alone for the backward pass and compute the rest again: a third more work, a fraction of
    the memory."""
    shard_size: int | None = None
    """On many processes: how many share one copy of the weights. None: all of them."""
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    """While the run lasts; a finished run keeps the model alone."""

    def __post_init__(self) -> None:
        rows = self.micro_batch_rows
        _check(rows is None or rows >= 1, f"micro_batch_rows is {rows}: give at least 1")
        size = self.shard_size
        _check(size is None or size >= 1, f"shard_size is {size}: give at least 1")
        every, keep = self.checkpoint_every_steps, self.keep_checkpoints
        _check(every >= 1, f"checkpoint_every_steps is {every}: give at least 1")
        _check(keep >= 1, f"keep_checkpoints is {keep}: give at least 1")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise RecipeError(message)
