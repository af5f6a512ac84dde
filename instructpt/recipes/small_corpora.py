"""How a base goes on with a corpus: the paper's way, or one that suits a corpus of less than ten million tokens.

                            paper                    small corpus
    budget                  4,000 steps of 2**18     8 passes
    a step                  2**18 tokens             a 250th of the budget, at least 4,096 tokens
    a row                   4,096 tokens             2,048 tokens
    highest rate            by width, 1e-5 at 4,096  three times that (both ten times as high with LoRA)
    general instructions    a token for each         none
    general text again      none                     10 % of the tokens
    most passes             4                        16

Both warm the rate up over at most a tenth of the steps and let it fall to a tenth of its height by a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from instructpt.artifacts import Stage
from instructpt.corpus import readers
from instructpt.corpus.stages import Read
from instructpt.errors import RecipeError
from instructpt.recipes.budgets import TrainingBudget, budget_from_base, lora_of, rate_factor, usual_rate
from instructpt.recipes.flags import MAX_EPOCHS, Continuing, Reading, Training
from instructpt.records import Document, Text
from instructpt.templates.stages import Template
from instructpt.words import vocabulary

SMALL_CORPUS_TOKENS = 10_000_000
PASSES = 8
"""At six, questions about a corpus were answered better than before; more and fewer were not tried."""
MAX_PASSES = 16.0
STEPS = 250
MIN_BATCH_TOKENS, MAX_BATCH_TOKENS = 4096, 2**18
ROW_TOKENS = 2048
"""A chain of three passages with their pairs fits."""
RATE_FACTOR = 3
"""2.2e-4 for a base of a width of 576 (SmolLM2-135M); with 2e-4 it learned 240 paragraphs in 61 steps. Others were not
tried."""
REPLAY_SHARE = 0.1
_COUNTED_CHARACTERS = 1 << 20
"""Tokens are counted in so much text; of more, characters alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """How models go on from a base, the same for all arms of an experiment."""

    budget: TrainingBudget
    instructions_ratio: float
    """Tokens of general instructions for each of the domain's."""
    replay: Stage[Text]
    """General text, of which the base is reminded."""
    replay_share: float
    """Of all tokens."""
    max_epochs: float
    choices: tuple[tuple[str, str, str], ...] = ()
    """What was chosen where the flags say nothing: setting, value, why."""


def continuation(
    base: str,
    files: tuple[str, ...],
    *,
    reading: Reading,
    training: Training,
    continuing: Continuing,
    tokens: int | None,
    instructions_ratio: float | None,
) -> Continuation:
    """As the flags say, and where they say nothing as suits the corpus.

    Raises InputError for files that cannot be read and a base that cannot be trained, RecipeError for a share of 1.
    """
    share = continuing.replay_share
    if share is not None and not 0 <= share < 1:
        raise RecipeError(f"replay_share is {share:g}: give 0 or more, less than 1")
    size = None if continuing.corpus_size == "large" else corpus_tokens(files, base=base, reading=reading)
    if size is None and continuing.corpus_size == "small":
        size = SMALL_CORPUS_TOKENS
    lora = lora_of(continuing.lora_rank, layers=continuing.lora_layers)
    texts = Template(name="replay-texts", groups=Read(name="replay", files=continuing.replay))
    usual: dict[str, Any] = {"tokens": tokens}
    if size is not None:
        wanted = tokens or max(1, PASSES * size)
        usual = {
            "tokens": wanted,
            "row_tokens": ROW_TOKENS,
            "batch_tokens": min(MAX_BATCH_TOKENS, max(MIN_BATCH_TOKENS, 2 ** round(math.log2(wanted / STEPS)))),
            "learning_rate": float(f"{RATE_FACTOR * usual_rate(base, lora):.2g}"),
        }
    ratio, again, most = (1.0, 0.0, MAX_EPOCHS) if size is None else (0.0, REPLAY_SHARE, MAX_PASSES)
    found = Continuation(
        budget=budget_from_base(base, training, lora=lora, **usual),
        instructions_ratio=ratio if instructions_ratio is None else instructions_ratio,
        replay=texts,
        replay_share=again if share is None else share,
        max_epochs=most if training.max_epochs is None else training.max_epochs,
    )
    if size is None:
        return found
    given = {
        "budget": tokens,
        "a step": training.batch_tokens,
        "a row": training.row_tokens,
        "highest rate": training.learning_rate,
        "general text again": share,
        "general instructions": instructions_ratio,
        "most passes": training.max_epochs,
    }
    choices = tuple(choice for choice in _choices(found, size) if given.get(choice[0]) is None)
    return replace(found, choices=choices)


def _choices(found: Continuation, size: int) -> list[tuple[str, str, str]]:
    """Every setting with its value, and why it is so."""
    budget = found.budget
    settings = budget.settings(seed=0, tokens=budget.tokens)
    return [
        (
            "budget",
            f"{budget.tokens:,} tokens",
            f"{PASSES} passes over about {size:,} tokens: what is said once is hardly remembered, and passes beyond "
            "four teach less each",
        ),
        (
            "a step",
            f"{budget.batch_rows * budget.row_tokens:,} tokens",
            f"{settings.steps:,} steps: a few hundred updates, where the paper's step would leave "
            f"{budget.tokens / 2**18:,.0f}",
        ),
        (
            "a row",
            f"{budget.row_tokens:,} tokens",
            "three passages with their pairs fit, and in longer rows a small corpus is few rows",
        ),
        (
            "highest rate",
            f"{budget.learning_rate:g}",
            f"{RATE_FACTOR * rate_factor(budget.lora)} times the usual for this width, as there are few steps; warmed "
            f"up over {settings.warmup_steps:,} of them and lowered to a tenth by a cosine",
        ),
        (
            "general instructions",
            "none" if not found.instructions_ratio else f"{found.instructions_ratio:g} a token",
            "they teach how to answer, so that arms could not be told apart by it: arm mixed has them",
        ),
        ("general text again", f"{found.replay_share:.0%} of the tokens", "so that the base forgets less"),
        ("most passes", f"{found.max_epochs:g}", "more than the paper's 4, for the same reason as the budget"),
    ]


def corpus_tokens(files: Sequence[str], *, base: str, reading: Reading) -> int | None:
    """About how many tokens there are in files, None for `SMALL_CORPUS_TOKENS` or more. Reads no further than that.

    Counted in the first megabyte of text, by characters after that.
    """
    words = vocabulary.load(base)
    characters = tokens = num_counted = 0
    for text in islice(_texts(files, reading), reading.limit):
        characters += len(text)
        if num_counted < _COUNTED_CHARACTERS:
            num_counted += len(text)
            tokens += len(words.encode_arrays([text])[0])
        if characters / max(1, num_counted) * tokens >= SMALL_CORPUS_TOKENS:
            return None
    return round(characters / max(1, num_counted) * tokens)


def _texts(files: Sequence[str], reading: Reading) -> Iterator[str]:
    for shard in readers.shards(tuple(files), shard_bytes=reading.shard_bytes):
        for row in readers.read(shard, text_field=reading.text_field, id_field=reading.id_field):
            if isinstance(row, Document):
                yield row.text
