"""Settings for tuning a synthesizer: three ways, each with values that go together.

The paper tunes a base of 7 billion parameters, a few passes at a low rate; a base of some hundred million learns at a
higher one, and what has only just been made from random weights at the highest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from instructpt.artifacts import Stage
from instructpt.assembly.stages import Pack
from instructpt.engines.models import Model
from instructpt.errors import InputError, RecipeError
from instructpt.models.folders import is_local, local_folder
from instructpt.models.inspection import context_tokens, hidden_size, inspect
from instructpt.recipes.flags import TaskTuning
from instructpt.records import Text
from instructpt.training.settings import Lora, TrainSettings
from instructpt.training.stages import Source, Train, steps_for
from instructpt.words import vocabulary

LORA_ALPHA_FACTOR = 2
"""alpha / rank; the rate that is best then hardly depends on the rank."""
MAX_EPOCHS = 8.0
"""Of tuning data, where a budget in tokens is given."""
MOST_STEPS = 10_000_000
"""Where `Train.epochs` ends a run."""
LORA_RATE_FACTOR = 10
"""Adapters learn best at about ten times the rate of full tuning (Schulman et al., "LoRA Without Regret", 2025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Tuning settings that go together; a flag that is not given takes its value from here."""

    row_tokens: int
    batch_tokens: int
    learning_rate: float
    """Of full tuning."""
    warmup_steps: int
    epochs: float
    passage_tokens: int
    """The longest context; half a row where rows are made shorter."""
    max_new_tokens: int = 400
    """The longest answer (paper, section 2)."""
    field_characters: int | None = None
    """Where loops of the synthesizer are to end (`Dialect.form`)."""
    tokens: int | None = None
    """The budget; without it so many epochs."""
    rank: int = 0
    """Of adapters; 0 tunes all weights."""
    layers: int | None = None
    """How many of the last ones have adapters; None: all."""
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def batch_rows(self) -> int:
        """Rows a step."""
        return max(1, self.batch_tokens // self.row_tokens)


PAPER = Way(row_tokens=4096, batch_tokens=16_384, learning_rate=5e-6, warmup_steps=1000, epochs=5, passage_tokens=2048)
"""A base model: the paper's settings as its readers report them (arXiv 2406.14491; of these the 5 epochs are the least
certain). The others, cosine, Adam (0.9, 0.95), weight decay 0.1 and clip 1.0, are defaults of `TrainSettings`. The
passage is ours: half a row, so that pairs and a second shot fit."""
SMALL = Way(
    row_tokens=1024,
    batch_tokens=4096,
    learning_rate=1e-3,
    warmup_steps=100,
    epochs=5,
    passage_tokens=384,
    field_characters=400,
)
"""From random weights: a model of some million parameters, which loops in one answer of twenty if nothing ends it."""
OPEN = Way(
    row_tokens=1024,
    batch_tokens=8192,
    learning_rate=1e-4,
    warmup_steps=50,
    epochs=2,
    passage_tokens=448,
    field_characters=400,
)
"""A small open base (SmolLM2-135M): rows as long as a passage and its pairs need, steps of eight rows, so that a
few million tokens are some hundred steps. With adapters the rate is 1e-3, at which its makers tuned it in full (arXiv
2502.02737)."""
OPEN_HIDDEN = 1024
"""Bases narrower than this count as small: SmolLM2-360M has 960, Qwen3-0.6B 1,024."""
OPEN_LORA_RANK = 32
"""Of adapters on a small base: 9.8 million numbers beside SmolLM2-135M, 20 MB in bfloat16."""


def way_for(base: str | None, flags: TaskTuning, *, usual_rank: int) -> Way:
    """The settings of the way that is gone, and in their place those that were given. usual_rank: of adapters.

    Raises InputError, before anything is made, for a base that cannot be tuned; RecipeError for rows longer than it
    reads, and for lengths that leave no room.
    """
    from instructpt.recipes.budgets import fast_precision  # there, what a base says of itself is asked from here

    longest = None if base is None else context_of_base(base)
    width = None if base is None else _width(base)
    way = SMALL if base is None else OPEN if width is not None and width < OPEN_HIDDEN else PAPER
    length = flags.row_tokens or min(way.row_tokens, longest or way.row_tokens)
    if longest is not None and length > longest:
        raise RecipeError(f"row_tokens is {length}, {base} reads {longest} tokens: give at most that")
    passage = flags.passage_tokens or min(way.passage_tokens, length // 2)
    if not 0 < passage < length:
        raise RecipeError(f"a passage of {passage} tokens and its pairs do not fit a row of {length}: give less")
    rank = usual_rank if flags.lora_rank is None else flags.lora_rank
    return replace(
        way,
        row_tokens=length,
        batch_tokens=flags.batch_tokens or way.batch_tokens,
        learning_rate=flags.learning_rate or way.learning_rate * (LORA_RATE_FACTOR if rank > 0 else 1),
        epochs=flags.epochs or way.epochs,
        passage_tokens=passage,
        max_new_tokens=min(way.max_new_tokens, length - passage),
        tokens=flags.tuning_tokens,
        rank=rank,
        layers=flags.lora_layers,
        precision=fast_precision(flags.precision),
    )


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
    width = _width(base)
    if width is None:
        raise InputError(f"{base} names no hidden_size in config.json: give --learning-rate")
    return width


def _width(base: str) -> int | None:
    return hidden_size(local_folder(base, files=("config.json",)))


def tuned(mixture: tuple[Source, ...], *, words: Model, base: Model, way: Way, seed: int) -> Train:
    """A base tuned on the tokens or the epochs of the way, of a mixture."""
    steps = MOST_STEPS
    if way.tokens is not None:
        steps = steps_for(way.tokens, row_tokens=way.row_tokens, batch_rows=way.batch_rows)
    settings = TrainSettings(
        steps=steps,
        learning_rate=way.learning_rate,
        warmup_steps=min(way.warmup_steps, steps // 10),
        precision=way.precision,
        seed=seed,
        lora=lora_of(way.rank, layers=way.layers),
    )
    return Train(
        name="tuned",
        mixture=mixture,
        settings=settings,
        batch_rows=way.batch_rows,
        vocabulary=words,
        base=base,
        epochs=way.epochs if way.tokens is None else None,
        max_epochs=max(MAX_EPOCHS, way.epochs),
    )


def lora_of(rank: int, *, layers: int | None = None) -> Lora | None:
    """Adapters of a rank, in so many of the last layers or in all; none of rank 0."""
    return Lora(rank=rank, alpha=LORA_ALPHA_FACTOR * rank, last_layers=layers) if rank else None


def rows_of(name: str, texts: Stage[Text], words: Model, row_tokens: int) -> Pack:
    """The texts in rows of so many tokens."""
    return Pack(name=name, texts=texts, vocabulary=words, row_tokens=row_tokens)
