"""What the shards of a stage that asks a model share, and what each has for itself.

opened    engine, capacity, vocabulary, what is spent    once a stage
begun     those, and a ledger and a place in line        once a shard
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.budget import Purse, watching
from instructpt.artifacts.storage import Folder
from instructpt.engines.models import (
    AUTO,
    Model,
    Prompting,
    description_folder,
    longest_text,
    model_identity,
    model_sources,
    opened_engine,
    prompting_of,
)
from instructpt.records import Document, Group, Shot
from instructpt.synthesis.mix import mix_of
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.engines import Engine, Sampling
    from instructpt.synthesis.asking import Progress, Session, Synthesis
    from instructpt.synthesis.capacity import Capacity
    from instructpt.synthesis.idleness import Idleness
    from instructpt.words.vocabulary import Vocabulary


@dataclass(slots=True)
class Opened:
    """What the shards of a stage share while they ask one engine, and how far they are.

    What it tells are the numbers of `progress`, of all shards that were begun since it was opened.
    """

    name: str
    run: Run
    engine: Engine
    capacity: Capacity
    vocabulary: Vocabulary
    purse: Purse
    idleness: Idleness
    totals: dict[int, int] = field(default_factory=dict)
    """Units of each shard."""
    shards: dict[int, Progress] = field(default_factory=dict)

    def when_read(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called, from any thread, with the index of each shard that has nothing left to start."""
        self.capacity.when_read(tell)

    def cancel(self) -> None:
        """From any thread: end what all shards are at. `Stage.shard` raises an error then."""
        from instructpt.synthesis.scheduler import cancel

        cancel(self.capacity)

    def begin(self, index: int, *, total: int) -> None:
        """A shard of `total` units is begun."""
        self.totals[index] = total

    def tell(self, index: int, progress: Progress) -> None:
        """A shard is so far; called in the event loop's thread alone."""
        self.shards[index] = progress
        news: dict[str, object] = {
            name: self._sum(name) for name in ("passages", "pairs", "rejects", "replayed", "failed")
        }
        if num_writings := self._sum("writings"):
            news["writings"] = num_writings
        news |= {"total": sum(self.totals.values()), "shards": len(self.totals)}
        news |= {"capacity": self.capacity.limit, "under_way": self.capacity.num_taken}
        reasons: Counter[str] = Counter()
        for shard in self.shards.values():
            reasons.update(shard.reasons)
        news |= {f"rejects/{reason}": count for reason, count in reasons.items()}
        news |= spending_news(self.purse) | engine_news(self.engine, self.idleness)
        self.run.progress.news(self.name, news)

    def _sum(self, name: str) -> int:
        return sum(getattr(progress, name) for progress in self.shards.values())


def spending_news(purse: Purse) -> dict[str, object]:
    """Tokens that were paid for in this command, and what a budget with limits or prices has to say."""
    budget, spent = purse.budget, purse.spent
    news: dict[str, object] = {"prompt_tokens": spent.prompt_tokens, "output_tokens": spent.output_tokens}
    if budget.has_prices:
        news["cost"] = purse.total_cost
    if budget.max_cost is not None:
        news["max_cost"] = budget.max_cost
    if budget.max_hours is not None:
        news |= {"hours": purse.hours, "max_hours": budget.max_hours}
    return news


def engine_news(engine: Engine, idleness: Idleness) -> dict[str, object]:
    """What an engine tells of itself: what its prefix cache saved, how its endpoints are and for what they wait."""
    state = engine.state()
    news: dict[str, object] = {"engine_prompt_tokens": state.num_prompt_tokens}
    if state.num_cached_tokens is not None:
        news["cached_tokens"] = state.num_cached_tokens
    if state.endpoints:
        news["endpoints"] = tuple(replace(one, idle=idleness.shares(one)) for one in state.endpoints)
    return news | idleness.news()


def prompt_sources(model: Model, run: Run, *, dialect: str) -> Mapping[str, str]:
    """What the prompts depend on besides settings and stages: a model that no stage makes, a dialect's wording."""
    from instructpt.synthesis.dialects import dialect_sources

    if dialect == AUTO and not isinstance(model, str):
        return {}  # what dialect a model has that is not there yet hangs on the stage that makes it
    wished = prompting_of(model, run).wished(dialect=dialect)
    return {**model_sources(model, run), **dialect_sources(wished.dialect)}


def _purse(engine: Engine, run: Run) -> Purse:
    """Counts an accelerator, or as many as a model is spread over, for each endpoint; else those that Ray gave."""
    num_servers = len(engine.state().endpoints)
    each = run.engine_options.get("tensor_parallel", 1) if num_servers else run.executor_options.get("gpus", 1)
    return Purse(run.budget, Folder.at(run.root), num_accelerators=max(1, num_servers) * max(1, math.ceil(each)))


@contextmanager
def opened(model: Model, run: Run, *, name: str) -> Iterator[Opened]:
    """The run's engine with a model loaded, and what goes with it, for all shards of the stage `name`."""
    from instructpt.synthesis.capacity import Capacity
    from instructpt.synthesis.idleness import Idleness

    with opened_engine(model, run) as engine:
        capacity, purse = Capacity(engine, most=run.chains_in_flight), _purse(engine, run)
        try:
            words = vocabulary.load(description_folder(model, run))
            with Idleness(engine, capacity) as idleness:
                yield Opened(name, run, engine, capacity, words, purse, idleness)
        finally:
            purse.close()


@dataclass(frozen=True, kw_only=True)
class ModelStage(Stage[Group]):
    """A stage that asks a model about passages, the same way in all its shards."""

    placement = "engine"
    version = 2
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    if TYPE_CHECKING:
        model: Model  # each declares it behind what it is asked about, whose shards are the stage's own
    dialect: str = AUTO
    """How the model is talked with; "auto" asks the model's own folder (`synthesizer.json`)."""
    window_tokens: int = 4096
    """Prompt and answer together; the model's context, where that is less."""
    max_new_tokens: int = 400
    guided: bool = True
    """Whether answers are held to the dialect's form, by engines that can."""

    def prompting(self, run: Run) -> Prompting:
        """How the model is asked: as it says itself, with these settings in their place."""
        return prompting_of(self.model, run).wished(dialect=self.dialect, mix="")

    def sources(self, run: Run) -> Mapping[str, str]:
        """The model, if no stage makes it, and the dialect's wording."""
        return prompt_sources(self.model, run, dialect=self.dialect)

    def opened(self, run: Run) -> AbstractContextManager[Opened]:
        """The engine with the model loaded, for all shards. Raises RecipeError, before that, as `mix_of` does."""
        mix_of(self.prompting(run))
        return opened(self.model, run, name=self.name)

    @contextmanager
    def begun(
        self,
        index: int,
        run: Run,
        *,
        sampling: Sampling | None = None,
        checks: Sequence[str] = (),
        categories: Callable[[int, str], Sequence[str]] | None = None,
        write: Callable[[Session, Document, Sequence[Shot], int], Awaitable[Shot]] | None = None,
    ) -> Iterator[Synthesis]:
        """A shard's way to ask the model, its ledger open. sampling: by default the likeliest token each time.

        What it asked is counted in the end: "requests", "prompt_tokens", "output_tokens".

        write: as in `Synthesis`.
        """
        from instructpt.engines import Sampling
        from instructpt.synthesis.asking import Synthesis
        from instructpt.synthesis.dialects import open_dialect
        from instructpt.synthesis.ledger import Ledger

        shared: Opened = run.shared
        prompting = self.prompting(run)
        context = longest_text(self.model, run)  # of a remote model nobody knows: the server refuses what is too long
        with Ledger(run.workspace(self, index) / "ledger.sqlite") as ledger:
            synthesis = Synthesis(
                engine=shared.engine,
                capacity=shared.capacity,
                dialect=open_dialect(prompting.dialect),
                vocabulary=shared.vocabulary,
                ledger=ledger,
                checks=checks,
                sampling=sampling or Sampling(self.max_new_tokens),
                model_identity=model_identity(self.model, run),
                window_tokens=min(self.window_tokens, context or self.window_tokens),
                rank=index,
                guided=self.guided,
                categories=categories,
                write=write,
                answers=prompting.answers,
                field_characters=prompting.field_characters,
                context_tokens=prompting.context_tokens,
                stop=watching(run.budget, shared.purse),
                pay=shared.purse.pay,
            )
            yield synthesis
            for name, number in synthesis.used.items():
                run.tally.count(name, number)
