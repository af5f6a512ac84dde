"""The range of every numeric flag of every recipe and command, by its name: the one place that states them.

A number outside is refused by name before any work. Zero is a number, never a word for "the default": where it makes no
sense it is refused. `tests/cli/test_ranges.py` fails for a new numeric flag that does not stand here.
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


_FLAGS = {
    Range(-math.inf): "seed",
    Range(0): (
        "examples guess_tokens held_back_pairs held_out_documents instructions_ratio lora_rank "
        "many_pairs_weight measure number price_per_hour price_per_million_output_tokens "
        "price_per_million_prompt_tokens warmup_steps"
    ),
    Range(1): (
        "cache_gib chains_in_flight documents evaluation_items field_characters judge_pairs limit lora_layers "
        "max_bytes max_contexts max_questions mined_documents num_passages per_passage requests "
        "sample_documents tensor_parallel unseen_contexts words"
    ),
    Range(1, 10_000): "pairs rounds seeds shots task_copies variants",
    Range(1, 2**40): (
        "answer_tokens batch_tokens context_tokens max_new_tokens passage_tokens pretraining_batch_tokens "
        "pretraining_row_tokens pretraining_tokens training_tokens tuning_tokens window_tokens"
    ),
    Range(0, open=True): "epochs max_cost max_epochs max_hours speed start_seconds tuning_epochs wished_hours",
    Range(0, 1): (
        "balance control_share held_out_share min_agreement min_f1 min_share mined_share raw_share "
        "replay_share swapped_share task_share unanswerable_share"
    ),
    Range(0, 1, open=True): "augmented_share budget_shares memory_share near_duplicates",
    Range(0, 10, open=True): "learning_rate pretraining_learning_rate",
    Range(0, 5): "min_score",
    Range(0, 1_000): "num_fewshot",
    Range(0, 65_535): "port",
    Range(1, 4): "questions",
    Range(2, 2**24): "row_tokens",
    Range(4_096): "shard_bytes",
    Range(257, 2**24): "vocabulary_size",
    Range(1, 4_096): "workers",
}
"""Range -> the flags, whole numbers and shares alike, whose numbers lie in it."""
RANGES = {name: allowed for allowed, names in _FLAGS.items() for name in names.split()}


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
