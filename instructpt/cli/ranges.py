"""The range of every numeric flag of every recipe and command, by its name: the one place that states them.

A number outside is refused by name before any work. Zero is a number, never a word for "the default": where it makes no
sense it is refused. `tests/cli/test_ranges.py` fails for a new numeric flag without a line here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructpt.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `least` to `most`; open: without `least` itself."""

    least: float
    most: float = math.inf
    open: bool = False

    def holds(self, number: float) -> bool:
        """Whether the number lies inside; NaN and infinity lie in none."""
        return (
            math.isfinite(number)
            and (number > self.least if self.open else number >= self.least)
            and (number <= self.most)
        )

    def words(self) -> str:
        """What to give: "at least 1", "more than 0 and at most 1"."""
        low = f"{'more than' if self.open else 'at least'} {self.least:,g}"
        return low if self.most == math.inf else f"{low} and at most {self.most:,g}"


ANY = Range(-math.inf)
COUNT, COUNT_OR_NONE = Range(1), Range(0)
TOKENS = Range(1, 2**40)
POSITIVE, AMOUNT = Range(0, open=True), Range(0)
SHARE, SOME_SHARE = Range(0, 1), Range(0, 1, open=True)
MANY = Range(1, 10_000)

RANGES = {
    "answer_tokens": TOKENS,
    "augmented_share": SOME_SHARE,
    "balance": SHARE,
    "batch_tokens": TOKENS,
    "budget_shares": SOME_SHARE,
    "cache_gib": COUNT,
    "control_share": SHARE,
    "chains_in_flight": COUNT,
    "context_tokens": TOKENS,
    "documents": COUNT,
    "epochs": POSITIVE,
    "evaluation_items": COUNT,
    "examples": COUNT_OR_NONE,
    "field_characters": COUNT,
    "guess_tokens": COUNT_OR_NONE,
    "held_back_pairs": COUNT_OR_NONE,
    "held_out_documents": COUNT_OR_NONE,
    "held_out_share": SHARE,
    "instructions_ratio": AMOUNT,
    "judge_pairs": COUNT,
    "learning_rate": Range(0, 10, open=True),
    "limit": COUNT,
    "lora_rank": COUNT_OR_NONE,
    "lora_layers": COUNT,
    "many_pairs_weight": AMOUNT,
    "max_bytes": COUNT,
    "max_contexts": COUNT,
    "max_cost": POSITIVE,
    "max_epochs": POSITIVE,
    "max_hours": POSITIVE,
    "max_new_tokens": TOKENS,
    "max_questions": COUNT,
    "measure": COUNT_OR_NONE,
    "memory_share": SOME_SHARE,
    "min_agreement": SHARE,
    "min_f1": SHARE,
    "min_score": Range(0, 5),
    "min_share": SHARE,
    "mined_documents": COUNT,
    "mined_share": SHARE,
    "near_duplicates": SOME_SHARE,
    "num_fewshot": Range(0, 1_000),
    "num_passages": COUNT,
    "number": COUNT_OR_NONE,
    "pairs": MANY,
    "passage_tokens": TOKENS,
    "per_passage": COUNT,
    "port": Range(0, 65_535),
    "pretraining_batch_tokens": TOKENS,
    "pretraining_learning_rate": Range(0, 10, open=True),
    "pretraining_row_tokens": TOKENS,
    "pretraining_tokens": TOKENS,
    "price_per_hour": AMOUNT,
    "price_per_million_output_tokens": AMOUNT,
    "price_per_million_prompt_tokens": AMOUNT,
    "questions": Range(1, 4),
    "raw_share": SHARE,
    "replay_share": SHARE,
    "requests": COUNT,
    "rounds": MANY,
    "row_tokens": Range(2, 2**24),
    "sample_documents": COUNT,
    "seed": ANY,
    "seeds": MANY,
    "shard_bytes": Range(4_096),
    "shots": MANY,
    "speed": POSITIVE,
    "start_seconds": POSITIVE,
    "swapped_share": SHARE,
    "task_copies": MANY,
    "task_share": SHARE,
    "tensor_parallel": COUNT,
    "training_tokens": TOKENS,
    "tuning_epochs": POSITIVE,
    "tuning_tokens": TOKENS,
    "unanswerable_share": SHARE,
    "unseen_contexts": COUNT,
    "variants": MANY,
    "vocabulary_size": Range(257, 2**24),
    "warmup_steps": COUNT_OR_NONE,
    "window_tokens": TOKENS,
    "wished_hours": POSITIVE,
    "words": COUNT,
    "workers": Range(1, 4_096),
}


def check(values: Mapping[str, Any]) -> None:
    """Raise RecipeError for the first number that lies outside its range, also in groups of flags and in tuples."""
    for name, value in values.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
        for number in value if isinstance(value, tuple | list) else (value,):
            if name not in RANGES or isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not RANGES[name].holds(number):
                flag = name.replace("_", "-")
                raise RecipeError(f"--{flag} is {number}: give {RANGES[name].words()}")
