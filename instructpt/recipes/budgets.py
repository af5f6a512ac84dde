"""How long, in which steps and at which rate a model is trained: what fits its shape, unless it is said otherwise.

shape     tokens            a step       a row     from
500m      100,000,000,000     524,288    2,048     the paper (section 4)
1.3b      100,000,000,000   1,048,576    2,048     the paper
others    20 a parameter    by tokens      512     Hoffmann et al. (arXiv 2203.15556), Li et al. (arXiv 2503.04715)

15m       310,000,000          32,768      512
1m         26,000,000           8,192      512
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from instructpt import devices
from instructpt.errors import InputError, RecipeError
from instructpt.models.folders import is_local, local_folder
from instructpt.models.inspection import context_tokens, hidden_size, inspect
from instructpt.recipes.flags import Precision, Training
from instructpt.training.settings import Lora, TrainSettings
from instructpt.training.shapes import RATE_TIMES_WIDTH, shape_named
from instructpt.training.stages import steps_for
from instructpt.words import vocabulary

TOKENS_A_PARAMETER = 20
"""What trains a model of a size best for its computation (Hoffmann et al., arXiv 2203.15556)."""
PAPER_TOKENS = 100_000_000_000
PAPER_BATCH_TOKENS = {"500m": 2**19, "1.3b": 2**20}
"""The paper's 0.5 M and 1 M, as powers of two: rows then divide among processes."""
PAPER_ROW_TOKENS = 2048
SMALL_ROW_TOKENS = 512
"""Rows of 1,024 train small models at 0.6 times the speed (docs/log.md)."""
CONTINUED_ROW_TOKENS = 4096
CONTINUED_BATCH_TOKENS = 2**18
"""The paper's 0.25 M."""
CONTINUED_TOKENS = 4000 * CONTINUED_BATCH_TOKENS
"""The paper's 4,000 steps."""
LORA_ALPHA_FACTOR = 2
"""alpha / rank; the rate that is best then hardly depends on the rank."""
LORA_RATE_FACTOR = 10
"""Adapters learn best at about ten times the rate of full tuning (Schulman et al., "LoRA Without Regret", 2025)."""
MOST_STEPS = 10_000_000
"""Where `Train.epochs` ends a run."""
TUNING_RATE_SHARE = 0.09
"""Of a shape's highest rate, for a model that is trained already. At a width of 4,096 this gives the paper's 1e-5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """In which steps a model learns, and how fast."""

    row_tokens: int
    batch_rows: int
    learning_rate: float
    warmup_steps: int
    precision: Literal["float32", "bfloat16"] = "float32"
    attend_across_documents: bool = False
    lora: Lora | None = None
    """Adapters that are trained instead of all weights."""

    def settings(self, *, seed: int, tokens: int | None = None) -> TrainSettings:
        """For a run over so many tokens; without a number, `Train.epochs` ends it. Raises RecipeError if it has no
        step."""
        steps = MOST_STEPS
        if tokens is not None:
            steps = steps_for(tokens, row_tokens=self.row_tokens, batch_rows=self.batch_rows)
        return TrainSettings(
            steps=steps,
            learning_rate=self.learning_rate,
            warmup_steps=min(self.warmup_steps, steps // 10),
            precision=self.precision,
            attend_across_documents=self.attend_across_documents,
            seed=seed,
            lora=self.lora,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBudget(Pace):
    """How much a model is trained, in which steps, how fast."""

    tokens: int


def budget_from_scratch(shape: str, training: Training, *, tokens: int | None) -> TrainingBudget:
    """The budget of a model of a shape from random weights. tokens: None for what fits it.

    Raises RecipeError for an unknown shape, and for a budget of less than a step.
    """
    chosen, is_papers = shape_named(shape), shape in PAPER_BATCH_TOKENS
    if tokens is None:
        tokens = PAPER_TOKENS if is_papers else TOKENS_A_PARAMETER * chosen.num_parameters()
    return _budget(
        training,
        tokens=tokens,
        row_tokens=training.row_tokens or (PAPER_ROW_TOKENS if is_papers else SMALL_ROW_TOKENS),
        batch_tokens=PAPER_BATCH_TOKENS.get(shape) or usual_batch_tokens(tokens),
        learning_rate=chosen.learning_rate,
    )


def budget_from_base(
    base: str,
    training: Training,
    *,
    tokens: int | None,
    row_tokens: int = CONTINUED_ROW_TOKENS,
    batch_tokens: int = CONTINUED_BATCH_TOKENS,
    learning_rate: float | None = None,
    lora: Lora | None = None,
) -> TrainingBudget:
    """The budget of a run that goes on from a base model. tokens: None for the paper's.

    row_tokens, batch_tokens, learning_rate: where the flags say nothing; without a rate, the usual for the width, ten
        times that with LoRA.

    Raises InputError for a base that cannot be trained, RecipeError for rows that it cannot read.
    """
    return _budget(
        training,
        tokens=CONTINUED_TOKENS if tokens is None else tokens,
        row_tokens=fitting_row_tokens(base, training.row_tokens, usual=row_tokens),
        batch_tokens=batch_tokens,
        learning_rate=training.learning_rate or learning_rate or usual_rate(base, lora),
        lora=lora,
    )


def _budget(
    training: Training,
    *,
    tokens: int,
    row_tokens: int,
    batch_tokens: int,
    learning_rate: float,
    lora: Lora | None = None,
) -> TrainingBudget:
    """With these numbers where the flags say nothing. Raises RecipeError for a budget of less than a step."""
    budget = TrainingBudget(
        tokens=tokens,
        row_tokens=row_tokens,
        batch_rows=max(1, (training.batch_tokens or batch_tokens) // row_tokens),
        learning_rate=training.learning_rate or learning_rate,
        warmup_steps=training.warmup_steps,
        precision=fast_precision(training.precision),
        attend_across_documents=training.attend_across_documents,
        lora=lora,
    )
    budget.settings(seed=0, tokens=tokens)
    return budget


def fitting_row_tokens(base: str, wanted: int | None, *, usual: int) -> int:
    """The length of rows: what is wanted, else the usual length or what the model reads, if that is less.

    Raises InputError for a model that cannot be trained, RecipeError for rows longer than it reads.
    """
    longest = context_of_base(base)
    row = wanted or min(usual, longest or usual)
    if longest is not None and row > longest:
        raise RecipeError(f"row_tokens is {row}, {base} reads {longest} tokens: give at most that")
    return row


def fast_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """What "auto" comes to on this machine; anything else as it is."""
    return devices.fast_precision(devices.find("auto")) if precision == "auto" else precision


def usual_batch_tokens(tokens: int) -> int:
    """Tokens a step for a budget of `tokens`: 0.58 tokens^0.571 (Li et al., "Step Law", arXiv 2503.04715), to the
    nearest power of two: 1,024 for half a million, 32,768 for 300 million, 1,048,576 for the paper's 100 billion."""
    return int(2 ** round(math.log2(0.58 * tokens**0.571)))


def tuning_rate(width: int) -> float:
    """The highest rate for a trained model of a width, to two digits."""
    return float(f"{TUNING_RATE_SHARE * RATE_TIMES_WIDTH / width:.2g}")


def usual_rate(base: str, lora: Lora | None) -> float:
    """The highest rate for a model that is trained already. Raises InputError if it does not say how wide it is."""
    return tuning_rate(width_of_base(base)) * rate_factor(lora)


def rate_factor(lora: Lora | None) -> int:
    """How much faster adapters learn than all weights."""
    return LORA_RATE_FACTOR if lora else 1


def lora_of(rank: int, *, layers: int | None = None) -> Lora | None:
    """Adapters of a rank, in so many of the last layers or in all; none of rank 0."""
    return Lora(rank=rank, alpha=LORA_ALPHA_FACTOR * rank, last_layers=layers) if rank else None


def context_of_base(base: str) -> int | None:
    """What the base reads at most; None where it does not say.

    Raises InputError for a base without an end of text, a fast tokenizer or safe weights. One without a begin of text
    is fine: its texts then begin with their first word.
    """
    vocabulary.load(base)
    if is_local(base):
        inspect(local_folder(base))
    return context_tokens(local_folder(base, files=("config.json",)))


def width_of_base(base: str) -> int:
    """The size of a model's hidden states. Raises InputError if its configuration does not say."""
    width = hidden_size(local_folder(base, files=("config.json",)))
    if width is None:
        raise InputError(f"{base} names no hidden_size in config.json: give --learning-rate")
    return width
