"""Passages to groups by a model: it writes pairs in chains of several shots."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.engines.models import Model, Speech, model_sources, speaks
from instructpt.errors import RecipeError
from instructpt.records import Document, Group
from instructpt.synthesis.opening import Opened, begun, opened
from instructpt.verification.checks import MODEL_CHECKS

if TYPE_CHECKING:
    from instructpt.synthesis.dialects import Dialect
    from instructpt.synthesis.mix import Mix

AUTO = "auto"
"""The dialect that the model's own folder names; `tags` where it names none."""


def default_checks(speech: Speech | None) -> tuple[str, ...]:
    """The checks that pairs of a model pass: `grounded` too, where it says in which categories answers are spans.

    Of a model that does not say, short answers would be taken for spans: 23 % of the annotated answers about tables
    are counts, and would be lost.
    """
    return (*MODEL_CHECKS, "grounded") if speech and speech.categories else MODEL_CHECKS


@dataclass(frozen=True, slots=True)
class Talk:
    """How a model is asked for pairs."""

    dialect: Dialect
    mix: Mix | None
    """What to ask for; None leaves the choice to the model."""


def spoken(dialect: str, speech: Speech | None) -> str:
    """The dialect by name, where `AUTO` leaves it to the model."""
    return dialect if dialect != AUTO else speech.dialect if speech else "tags"


def talk_sources(model: Model, run: Run, *, dialect: str) -> Mapping[str, str]:
    """What the prompts depend on besides settings and stages: a model that no stage makes, a dialect's wording."""
    from instructpt.synthesis.dialects import dialect_sources

    if dialect == AUTO and not isinstance(model, str):
        return {}  # what a model is to speak that is not there yet hangs on the stage that makes it
    name = spoken(dialect, speaks(model, run) if dialect == AUTO else None)
    return {**model_sources(model, run), **dialect_sources(name)}


def talk(*, dialect: str, categories: str, pairs: int, speech: Speech | None) -> Talk:
    """What the settings and the model's own word come to.

    speech: None for a model that does not say how it is talked with. Raises RecipeError for an unknown dialect, for
    categories that the model does not know, and for any if the dialect cannot ask for them; also if pairs < 1.
    """
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.synthesis.mix import parse_mix

    name = spoken(dialect, speech)
    chosen = open_dialect(name)
    if pairs < 1:
        raise RecipeError(f"{pairs} pairs a passage: give at least 1")
    if not categories:
        return Talk(chosen, None)
    if not chosen.can_steer:
        raise RecipeError(
            f"the dialect {name} cannot ask for categories (asked: {categories}): leave them out, or use a model that "
            "was tuned on one that can, such as steered"
        )
    mix = parse_mix(categories, known=speech.categories if speech and speech.categories else None)
    chosen.prompt([], "", categories=[name for name, _ in mix.shares])  # refuses a name that it cannot write
    return Talk(chosen, mix)


@dataclass(frozen=True, kw_only=True)
class Synthesize(Stage[Group]):
    """Pairs for every passage, written by a model in chains of several shots (paper, section 2)."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"
    placement = "engine"
    version = 2
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    passages: Stage[Document]
    model: Model
    dialect: str = AUTO
    """How the model is talked with; "auto" asks the model's own folder (`synthesizer.json`)."""
    categories: str = ""
    """What to ask for, as "name=weight,name=weight"; empty leaves the choice to the model."""
    pairs: int = 5
    """A passage, where categories are asked for."""
    shots: int = 2
    """M, passages a chain. The paper has 2 from scratch and 3 for continual pre-training."""
    checks: tuple[str, ...] = MODEL_CHECKS
    window_tokens: int = 4096
    """Prompt and answer together; the model's context, where that is less."""
    max_new_tokens: int = 400
    temperature: float = 0.0
    guided: bool = True
    """Whether answers are held to the dialect's form, by engines that can."""
    seed: int = 0

    def sources(self, run: Run) -> Mapping[str, str]:
        """The model, if no stage makes it, and the dialect's wording."""
        return talk_sources(self.model, run, dialect=self.dialect)

    def opened(self, run: Run) -> AbstractContextManager[Opened]:
        """The engine with the model loaded, for all shards. Raises RecipeError, before that, as `talk` does."""
        self._talk(run)
        return opened(self.model, run, name=self.name)

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain; what the open shard's ledger holds is not asked again."""
        from instructpt.engines import Sampling
        from instructpt.synthesis.chains import chains
        from instructpt.synthesis.mix import draw
        from instructpt.synthesis.scheduler import run_chains

        chosen, speech, watch = self._talk(run), speaks(self.model, run), run.shared.watch
        watch.begin(index, total=run.num_made(self.passages, index))

        def asked(number: int) -> tuple[str, ...]:
            assert chosen.mix is not None
            return draw(chosen.mix, num_pairs=self.pairs, seed=self.seed, place=(index, number))

        with begun(
            self,
            index,
            run,
            model=self.model,
            window_tokens=self.window_tokens,
            guided=self.guided,
            sampling=Sampling(self.max_new_tokens, self.temperature, self.seed),
            dialect=chosen.dialect,
            checks=self.checks,
            categories=asked if chosen.mix else None,
            speech=speech,
        ) as synthesis:
            passages = chains(run.take(self.passages, index), shots=self.shots)
            tell = functools.partial(watch.tell, index)
            groups = run_chains(passages, synthesis=synthesis, id_prefix=f"{index:05d}-", on_progress=tell)
            for group in groups:
                yield count_pairs(group, run.tally)

    def _talk(self, run: Run) -> Talk:
        speech = speaks(self.model, run)
        return talk(dialect=self.dialect, categories=self.categories, pairs=self.pairs, speech=speech)
