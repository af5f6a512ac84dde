"""Questions to items: what a model that was not tuned to answer makes of them, zero-shot.

annotated contexts --> Answering --> items: how likely right answers are, with the context in the prompt
an exam            --> Examine ----> items: the same without it and with it, and what the model writes
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from instructpt import devices
from instructpt.artifacts import Run, Stage
from instructpt.engines.models import Model, check_model, model_folder, model_sources, quiet_loading
from instructpt.records import Group, Item

PASSAGES_A_SHARD = 32
"""Of an exam: what is lost at most when a run is killed, a minute or two of a model of 135 M on a CPU."""


class OfModel:
    """What stages have in common that load a model to measure it."""

    model: Model

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole."""
        check_model(self.model)

    def sources(self, run: Run) -> dict[str, str]:
        """The model, if no stage makes it."""
        return dict(model_sources(self.model, run))


@dataclass(frozen=True, kw_only=True)
class Questioned(OfModel, Stage[Item]):
    """A model that is asked: what the stages below have in common."""

    takes: ClassVar[str] = "questions"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    exam: Stage[Group]
    """Annotated contexts, such as a `Draw` makes: the last shot of each group is asked about."""
    model: Model

    @contextmanager
    def opened(self, run: Run) -> Iterator[Any]:
        """The model."""
        from instructpt.evaluation.answers import load_reader

        quiet_loading()
        yield load_reader(model_folder(self.model, run), device=str(devices.find(run.device)))


@dataclass(frozen=True, kw_only=True)
class Answering(Questioned):
    """How likely a model that was not tuned to answer finds the answers to questions on annotated contexts."""

    task: str = "unseen"
    """What scores are called: items of the set quoref belong to "unseen/quoref"."""
    max_questions: int = 8
    """A context, evenly spaced."""

    def shard(self, index: int, run: Run) -> Iterator[Item]:
        """An item a question, in the exam's order; places count the contexts of a set."""
        from instructpt.evaluation.answers import answer
        from instructpt.evaluation.drawing import spread

        places: dict[str, int] = {}
        for number, group in enumerate(run.records(self.exam, index)):
            shot = group.shots[-1]
            chosen = tuple(shot.pairs[place] for place in spread(len(shot.pairs), number=self.max_questions))
            name = shot.document.source
            place = places[name] = places.get(name, -1) + 1
            found = answer(run.shared, replace(shot, pairs=chosen), task=f"{self.task}/{name}", place=place)
            run.tally.take(len(shot.pairs))
            run.tally.keep(len(found.items))
            for pair in found.too_long:
                run.tally.drop("longer_than_the_model", pair.question)
            for _ in range(len(shot.pairs) - len(chosen)):
                run.tally.drop("not_drawn")
            run.tally.count("contexts_cut", found.is_cut)
            run.progress.news(self.name, {"contexts": f"{number + 1:,}"})
            yield from found.items


@dataclass(frozen=True, kw_only=True)
class Examine(Questioned):
    """What a model answers to an exam's questions without their passage and, as the ceiling, with it."""

    has_open_book: bool = True
    max_new_tokens: int = 32
    """The longest written answer."""

    def num_shards(self, run: Run) -> int:
        """One for some passages, so that an exam that was broken off goes on."""
        return -(-sum(run.num_made(self.exam, index) for index in range(run.num_shards(self.exam))) // PASSAGES_A_SHARD)

    def shard(self, index: int, run: Run) -> Iterator[Item]:
        """An item for each question and book. `place` counts the passages of the exam, `part` its questions."""
        from instructpt.evaluation.exam import ask, is_control

        start = index * PASSAGES_A_SHARD
        groups = list(run.records(self.exam))
        first = sum(len(group.shots[-1].pairs) for group in groups[:start])
        chosen = groups[start : start + PASSAGES_A_SHARD]
        shots = [(start + number, group.shots[-1], is_control(group)) for number, group in enumerate(chosen)]
        run.progress.news(self.name, {"passages": f"{start:,} of {len(groups):,}"})
        asked = ask(run.shared, shots, max_new_tokens=self.max_new_tokens, has_open_book=self.has_open_book)
        for (_, shot, _), found in zip(shots, asked, strict=True):
            run.tally.take(len(shot.pairs))
            run.tally.keep(len(shot.pairs) - len(found.too_long))
            for pair in found.too_long:
                run.tally.drop("longer_than_the_model", pair.question)
            run.tally.count("passages_cut", found.is_cut)
            yield from (replace(item, part=str(first + int(item.part))) for item in found.items)
            first += len(shot.pairs)
