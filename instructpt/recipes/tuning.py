"""Settings for tuning a synthesizer: three ways, each with values that go together.

The paper tunes a base of 7 billion parameters, a few passes at a low rate; a base of some hundred million learns at a
higher one, and what has only just been made from random weights at the highest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from instructpt.artifacts import Stage
from instructpt.assembly.stages import Pack
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.models.folders import local_folder
from instructpt.models.inspection import hidden_size
from instructpt.recipes.budgets import Pace, fast_precision, fitting_row_tokens, lora_of, rate_factor
from instructpt.recipes.flags import TaskTuning
from instructpt.records import Text
from instructpt.training.stages import Source, Train

MAX_EPOCHS = 8.0
"""Of tuning data, where a budget in tokens is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Pace):
    """Tuning settings that go together; a flag that is not given takes its value from here."""

    epochs: float
    tokens: int | None = None
    """The budget; without it so many epochs."""
    passage_tokens: int
    """The longest context; half a row where rows are made shorter."""
    max_new_tokens: int = 400
    """The longest answer (paper, section 2)."""
    field_characters: int | None = None
    """Where loops of the synthesizer are to end (`Dialect.form`)."""


PAPER = Way(row_tokens=4096, batch_rows=4, learning_rate=5e-6, warmup_steps=1000, epochs=5, passage_tokens=2048)
"""A base model: the paper's settings as its readers report them (arXiv 2406.14491; of these the 5 epochs are the least
certain). The others, cosine, Adam (0.9, 0.95), weight decay 0.1 and clip 1.0, are defaults of `TrainSettings`. The
passage is ours: half a row, so that pairs and a second shot fit."""
SMALL = Way(
    row_tokens=1024,
    batch_rows=4,
    learning_rate=1e-3,
    warmup_steps=100,
    epochs=5,
    passage_tokens=384,
    field_characters=400,
)
"""From random weights: a model of some million parameters, which loops in one answer of twenty if nothing ends it."""
OPEN = Way(
    row_tokens=1024,
    batch_rows=8,
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
    way = SMALL
    length = flags.row_tokens or way.row_tokens
    if base is not None:
        width = hidden_size(local_folder(base, files=("config.json",)))
        way = OPEN if width is not None and width < OPEN_HIDDEN else PAPER
        length = fitting_row_tokens(base, flags.row_tokens, usual=way.row_tokens)
    passage = flags.passage_tokens or min(way.passage_tokens, length // 2)
    if not 0 < passage < length:
        raise RecipeError(f"a passage of {passage} tokens and its pairs do not fit a row of {length}: give less")
    lora = lora_of(usual_rank if flags.lora_rank is None else flags.lora_rank, layers=flags.lora_layers)
    return replace(
        way,
        row_tokens=length,
        batch_rows=max(1, (flags.batch_tokens or way.batch_rows * way.row_tokens) // length),
        learning_rate=flags.learning_rate or way.learning_rate * rate_factor(lora),
        epochs=flags.epochs or way.epochs,
        tokens=flags.tuning_tokens,
        passage_tokens=passage,
        max_new_tokens=min(way.max_new_tokens, length - passage),
        precision=fast_precision(flags.precision),
        lora=lora,
    )


def tuned(mixture: tuple[Source, ...], *, words: Model, base: Model, way: Way, seed: int) -> Train:
    """A base tuned on the tokens or the epochs of the way, of a mixture."""
    return Train(
        name="tuned",
        mixture=mixture,
        settings=way.settings(seed=seed, tokens=way.tokens),
        batch_rows=way.batch_rows,
        vocabulary=words,
        base=base,
        epochs=way.epochs if way.tokens is None else None,
        max_epochs=max(MAX_EPOCHS, way.epochs),
    )


def rows_of(name: str, texts: Stage[Text], words: Model, row_tokens: int) -> Pack:
    """The texts in rows of so many tokens."""
    return Pack(name=name, texts=texts, vocabulary=words, row_tokens=row_tokens)
