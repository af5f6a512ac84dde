"""Rows to a model: a mixture of row sources, a budget, and the one training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt import devices
from instructpt.artifacts import Product, Run, Stage, Table
from instructpt.assembly.stages import Pack, token_files
from instructpt.engines.models import (
    Model,
    check_model,
    description_folder,
    model_folder,
    model_name,
    model_sources,
    quiet_loading,
)
from instructpt.errors import BudgetError, InputError, RecipeError
from instructpt.interrupts import Stopped, deferred
from instructpt.progress.view import duration
from instructpt.training.settings import Execution, TrainSettings
from instructpt.training.trackers import Subject, tracking
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from instructpt.assembly.order import Order
    from instructpt.assembly.rows import Rows
    from instructpt.records import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows that take part in a mixture."""

    rows: Pack
    share: float = 1.0
    """Of the tokens trained on, in proportion to the other sources' shares."""


@dataclass(frozen=True, kw_only=True)
class Train(Stage[Any]):
    """A model trained on a mixture of rows for a budget of tokens: from random weights, or going on from a base."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "steps"
    makes: ClassVar[str] = "steps"
    placement = "driver"
    is_collective = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    is_single = True

    mixture: tuple[Source, ...]
    settings: TrainSettings
    """What is learned: steps, learning rate, schedule... Its seed also draws the mixture and new weights."""
    batch_rows: int
    """Rows a step."""
    vocabulary: Model
    """The rows' own; its tokenizer goes into the model's folder."""
    shape: str | None = None
    """A name in `training.shapes.SHAPES`: from random weights."""
    base: Model | None = None
    """A model to go on from, instead of a shape."""
    max_positions: int | None = None
    """Longest text a new model is made for; None for the rows' length."""
    max_epochs: float = 4.0
    """How often a source may be repeated; asking for more is refused. Four passes are nearly as good as fresh text
    (arXiv 2305.16264)."""
    epochs: float | None = field(default=None, metadata={"later": True})
    """The budget as passes over the first source of the mixture: `settings.steps` is then the most steps there may be,
    and warm-up takes at most a tenth of those there are."""
    choices: tuple[tuple[str, str, str], ...] = field(default=(), compare=False, metadata={"note": True})
    """Settings that a recipe chose, for the plan: which, their value, why."""

    def __post_init__(self) -> None:
        """Raises RecipeError unless there is either a shape or a base, and a mixture."""
        if (self.shape is None) == (self.base is None):
            raise RecipeError(f"{self.name} has shape {self.shape!r} and base {self.base!r}: give exactly one of them")
        if not self.mixture:
            raise RecipeError(f"{self.name} has an empty mixture: give at least one source of rows")

    def sources(self, run: Run) -> Mapping[str, str]:
        """Base model and vocabulary, if no stage makes them."""
        base = {} if self.base is None else model_sources(self.base, run)
        return {**{f"base/{k}": v for k, v in base.items()}, **model_sources(self.vocabulary, run)}

    def check(self, run: Run) -> None:
        """Raises InputError for a base that is not whole."""
        check_model(self.base)

    def outline(self, run: Run) -> Table | None:
        """What the recipe chose, and why."""
        return (
            Table("Chosen where the flags say nothing", ("setting", "value", "why"), self.choices)
            if self.choices
            else None
        )

    def build(self, index: int, run: Run, path: Path) -> None:
        """A folder with the model and metrics.jsonl."""
        from instructpt.training import checkpoints
        from instructpt.training.loop import train

        order = self.order(run)
        for part in order.mixture.parts:
            run.tally.count(f"rows/{part.name}", part.rows)
        path.mkdir(exist_ok=True)
        is_first = devices.rank() == 0
        seconds, tokens, num_steps = 0.0, 0, 0
        subject = Subject(
            project="instructpt",
            name=self.name,
            folder=Path(run.root) if run.folder(self).is_local else path,
            settings=asdict(self.settings),
            first_step=(checkpoints.step_of(latest) if (latest := checkpoints.latest(path)) else 0) + 1,
        )
        with deferred() as stop, tracking(run.trackers if is_first else (), subject) as track:
            steps = train(
                self._settings(order.num_steps),
                model=self._model(run),
                order=order,
                vocabulary_folder=description_folder(self.vocabulary, run),
                folder=path,
                execution=self._execution(run),
                stop=lambda: stop() or (is_first and run.budget.time_is_over() is not None),
            )
            for step in steps:
                # From the steps' own times, since those of earlier tries come at once.
                seconds, tokens = seconds + (step.tokens - tokens) / step.tokens_per_second, step.tokens
                num_steps = step.step
                track(step)
                self._tell(step, order.num_steps, seconds / step.step, run)
        if num_steps < order.num_steps:
            if is_first and (reason := run.budget.time_is_over()):
                raise BudgetError(reason)
            raise Stopped  # another process was told to stop, and so all did
        run.tally.count("steps", num_steps)
        run.tally.count("tokens", tokens)

    def order(self, run: Run) -> Order:
        """What every step trains on.

        Raises RecipeError for a budget that the rows do not allow, InputError for rows of another vocabulary.
        """
        from instructpt.assembly import mixture
        from instructpt.assembly.order import Order
        from instructpt.assembly.rows import check_vocabulary, open_rows

        words = vocabulary.load(description_folder(self.vocabulary, run))
        sources = {}
        for source in self.mixture:
            rows = open_rows(
                run.product(source.rows, "joined"), shards=token_files(source.rows, run.num_shards(source.rows), run)
            )
            try:
                check_vocabulary(rows, words)
            except InputError as error:
                raise InputError(
                    f"{source.rows.name} was packed with the vocabulary of {model_name(source.rows.vocabulary)}, "
                    f"{self.name} has that of {model_name(self.vocabulary)}: pack the texts with the model's own"
                ) from error
            if not run.manifest(source.rows)["tally"]["counts"].get("loss_tokens"):
                raise RecipeError(f"{source.rows.name} holds no token that carries loss: check the spans of its texts")
            sources[source.rows.name] = rows
        mixed = mixture.plan(
            sources,
            weights={source.rows.name: source.share for source in self.mixture},
            num_rows=self._num_steps(sources) * self.batch_rows,
            seed=self.settings.seed,
            max_epochs=self.max_epochs,
        )
        return Order(mixed, sources, self.batch_rows)

    def _num_steps(self, sources: Mapping[str, Rows]) -> int:
        """Of the run: as the settings say, or until the first source has been seen `epochs` times."""
        if self.epochs is None:
            return self.settings.steps
        rows = {s.rows.name: s.share * len(r) / r.num_tokens for s in self.mixture for r in [sources[s.rows.name]]}
        first = self.mixture[0].rows.name
        num_rows = self.epochs * len(sources[first]) * sum(rows.values()) / rows[first]
        return min(self.settings.steps, max(1, round(num_rows / self.batch_rows)))

    def _settings(self, num_steps: int) -> TrainSettings:
        if self.epochs is None:
            return self.settings
        return replace(self.settings, steps=num_steps, warmup_steps=min(self.settings.warmup_steps, num_steps // 10))

    def _execution(self, run: Run) -> Execution:
        unknown = sorted(run.training_options.keys() - {f.name for f in fields(Execution)})
        if unknown:
            names = ", ".join(f.name for f in fields(Execution))
            raise RecipeError(f"no training option is called {unknown[0]!r}: choose from {names}")
        return Execution(**{"device": run.device, **run.training_options})

    def _model(self, run: Run) -> PreTrainedModel:
        from instructpt.training.shapes import load_model, new_model, shape_named

        quiet_loading()
        words = vocabulary.load(description_folder(self.vocabulary, run))
        if self.base is not None:
            folder = model_folder(self.base, run)
            if vocabulary.load(folder).fingerprint != words.fingerprint:
                raise InputError(
                    f"{self.name} goes on from {model_name(self.base)}, which has another vocabulary than its rows: "
                    "pack the rows with the base model's vocabulary"
                )
            return load_model(folder)
        assert self.shape is not None
        return new_model(
            shape_named(self.shape),
            vocabulary_size=words.size,
            bos=words.bos,
            eos=words.eos,
            max_positions=self.max_positions or self.mixture[0].rows.row_tokens,
            seed=self.settings.seed,
        )

    def _tell(self, step: Step, num_steps: int, step_seconds: float, run: Run) -> None:
        news: dict[str, object] = {"step": f"{step.step}/{num_steps}", "loss": step.loss}
        news["tok/s"] = step.tokens_per_second
        if step.mfu is not None:
            news["mfu"] = step.mfu
        run.progress.news(self.name, {**news, "left": duration((num_steps - step.step) * step_seconds)})


def steps_for(budget_tokens: int, *, row_tokens: int, batch_rows: int) -> int:
    """Whole steps in a budget of tokens. Raises RecipeError if there is none."""
    step_tokens = batch_rows * row_tokens
    if budget_tokens < step_tokens:
        raise RecipeError(
            f"a budget of {budget_tokens:,} tokens is less than a step of {step_tokens:,}: raise it or lower the batch"
        )
    return budget_tokens // step_tokens
