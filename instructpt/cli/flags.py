"""The flags of a command: a recipe's come from its signature, where and how it runs from `Where`.

    words --parse--> (stage, Where) --run_of--> Run

Nothing heavy is imported before it is needed.

The range of every numeric flag of every recipe and command stands here by its name, and nowhere else.

A number outside is refused by name before any work. Zero is a number, never a word for "the default": where it makes no
sense it is refused. `tests/cli/test_ranges.py` fails for a new numeric flag that does not stand here.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from instructpt.artifacts.budget import Budget
from instructpt.errors import RecipeError

if TYPE_CHECKING:
    from instructpt.artifacts import Run, Stage
    from instructpt.artifacts.tally import Progress
    from instructpt.recipes import Recipe

NOWHERE = "memory://plan"
"""An output folder in which nothing is, for plans."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where and how to run. None of these flags changes what is made."""

    out: str
    """Output folder or URL. To continue an interrupted run, give the same command again."""
    workers: int = os.cpu_count() or 1
    """Processes for stages that need no model."""
    device: str = "auto"
    """auto, cpu or cuda."""
    executor: str = "local"
    """Where shards run: local (processes on this machine), or ray (the Ray cluster at RAY_ADDRESS, or a new one)."""
    executor_options: tuple[str, ...] = ()
    """Settings of the executor, as name=value. For ray: address, engines, cpus, gpus."""
    scratch: str = "~/.cache/instructpt"
    """A folder on a local disk, for unfinished shards when several machines work on one output folder."""
    partition: str = "1/1"
    """Make only this part of the shards, such as 3/64. For many machines with one output folder."""
    engine: str = "transformers"
    """What runs the model: transformers (in this process), http (servers at --endpoints), vllm (starts a server), or
    your own class, as module:Class."""
    endpoints: tuple[str, ...] = ()
    """Addresses of OpenAI-compatible servers, such as http://gpu1:8000/v1. Implies --engine http."""
    engine_options: tuple[str, ...] = ()
    """Settings of the engine, as name=value, such as max_batch=32."""
    chains_in_flight: int = 1024
    """The most requests in flight at once. The best number is found during the run."""
    training_options: tuple[str, ...] = ()
    """Settings of training, as name=value: micro_batch_rows, compile, checkpoint_activations, shard_size,
    checkpoint_every_steps, keep_checkpoints. To train in several processes, start the command with torchrun."""
    track: tuple[str, ...] = ()
    """Where to log training besides metrics.jsonl: tensorboard, wandb, trackio."""
    budget: Annotated[Budget, tyro.conf.arg(name="")] = field(default_factory=Budget)
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Planned(Where):
    """Where and how it would run."""

    out: str = NOWHERE
    """The output folder of the run; artifacts that are there already are not planned again."""


def parse(recipe: Recipe, words: list[str], *, prog: str) -> tuple[Stage[Any], Where]:
    """The recipe's stage and where to run it, from the words of the command line."""
    parsed = parse_words(recipe, words, prog=prog, where=Where)
    return parsed.make(), parsed.where


def parse_words(recipe: Recipe, words: list[str], *, prog: str, **groups: type[Any]) -> Any:
    """What the words say: `make`, which calls the recipe, and each of the `groups` by its name.

    Prints what is wrong, or the help, and raises SystemExit, as a parser does.
    """

    @functools.wraps(recipe)
    def later(*args: Any, **options: Any) -> Callable[[], Stage[Any]]:
        # The recipe is called after parsing: its errors are ours to print, not the parser's.
        return functools.partial(recipe, *args, **options)

    recipes = Annotated[Any, tyro.conf.arg(name="", constructor=later)]
    parts: list[tuple[str, Any]] = [("make", recipes), *groups.items()]
    description = (recipe.__doc__ or "").split("Args:")[0].strip()
    command = make_dataclass("Command", parts)
    parsed: Any = tyro.cli(command, args=words, prog=prog, description=description, config=(tyro.conf.OmitArgPrefixes,))
    where = getattr(parsed, "where", None)
    if where is not None and not where.out.strip():
        raise RecipeError("--out is empty (is a variable of the shell not set?): name a folder for what is made")
    check({name: getattr(parsed, name) for name in groups})
    if recipe.__module__.partition(".")[0] == "instructpt":  # what a user's own flags mean is theirs to say
        check(inspect.signature(recipe).bind(*parsed.make.args, **parsed.make.keywords).arguments)
    return parsed


def run_of(where: Where, progress: Progress) -> Run:
    """Where and how to run, as stages are told it. Raises RecipeError for flags that contradict or say nothing."""
    from instructpt.artifacts import Run
    from instructpt.artifacts.locking import parse_partition

    options = _options(where.engine_options, flag="--engine-options")
    if where.endpoints:
        if where.engine not in ("transformers", "http"):
            raise RecipeError(f"--endpoints are for --engine http, not for {where.engine}: leave one of the two out")
        options["endpoints"] = where.endpoints
    return Run(
        root=where.out,
        workers=where.workers,
        executor=where.executor,
        executor_options=_options(where.executor_options, flag="--executor-options"),
        scratch=where.scratch,
        partition=parse_partition(where.partition),
        device=where.device,
        engine="http" if where.endpoints else where.engine,
        engine_options=options,
        training_options=_options(where.training_options, flag="--training-options"),
        trackers=where.track,
        chains_in_flight=where.chains_in_flight,
        budget=where.budget,
        progress=progress,
    )


def _options(words: Sequence[str], *, flag: str) -> dict[str, Any]:
    options = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise RecipeError(f"{flag} got {word!r}: give name=value, for example max_batch=32")
        options[name] = _value(value)
    return options


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
        "many_pairs_weight number price_per_hour price_per_million_output_tokens "
        "price_per_million_prompt_tokens sample warmup_steps"
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
        "balance control_share held_out_share min_agreement min_f1 min_likelihood min_share mined_share raw_share "
        "replay_share swapped_share task_share unanswerable_share"
    ),
    Range(0, 1, open=True): "augmented_share budget_shares memory_share near_duplicates",
    Range(0, 10, open=True): "learning_rate pretraining_learning_rate",
    Range(0, 5): "min_score",
    Range(0, 1_000): "num_fewshot query_templates",
    Range(0, 1_000_000): "steps_apart",
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
