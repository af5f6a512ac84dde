"""Models to scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from instructpt import devices, files
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.storage import read_parquet
from instructpt.engines.models import Model, check_model, model_folder, model_name, model_sources, quiet_loading
from instructpt.records import Document, Group, Item, Match, Score


@dataclass(frozen=True, kw_only=True)
class Evaluate(Stage[Item]):
    """Benchmarks by lm-eval, answer by answer; a shard a task, so that an evaluation that was killed goes on."""

    takes: ClassVar[str] = "items"
    makes: ClassVar[str] = "items"
    placement = "driver"
    version = 2
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "lm-eval")

    model: Model
    tasks: tuple[str, ...]
    data: str | None = None
    """Folder with the tasks' rows, or "hub"; None for the sample that ships."""
    limit: int | None = None
    """Items a task, evenly spaced."""
    num_fewshot: int | None = 0
    """Examples before each item; None for the paper's number."""

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole."""
        del run
        check_model(self.model)

    def sources(self, run: Run) -> dict[str, str]:
        """The model, if no stage makes it, and the rows."""
        from instructpt.evaluation.benchmarks import task_files

        paths = [
            path for task in self.tasks for path in task_files(task, data=self._data(), num_fewshot=self.num_fewshot)
        ]
        digests = {f"tasks/{path.name}": files.content_digest(files.find(str(path))[0]) for path in paths}
        return {**model_sources(self.model, run), **digests}

    def num_shards(self, run: Run) -> int:
        """One a task."""
        del run
        return len(self.tasks)

    @contextmanager
    def opened(self, run: Run) -> Iterator[Any]:
        """The model, loaded once for all tasks."""
        from instructpt.evaluation.benchmarks import check_tasks
        from instructpt.evaluation.harness import load_model

        check_tasks(self.tasks)
        quiet_loading()
        yield load_model(model_folder(self.model, run), device=str(devices.find(run.device)))

    def shard(self, index: int, run: Run) -> Iterator[Item]:
        """The items of one task."""
        from instructpt.evaluation.harness import answer_task

        task = self.tasks[index]
        run.progress.news(self.name, {"task": task})
        for item in answer_task(
            run.shared, task=task, data=self._data(), limit=self.limit, num_fewshot=self.num_fewshot
        ):
            run.tally.take()
            yield item

    def _data(self) -> str | Path:
        from instructpt.evaluation.benchmarks import SAMPLE

        return self.data or SAMPLE


@dataclass(frozen=True, kw_only=True)
class Answering(Stage[Item]):
    """How likely a model that was not tuned to answer finds the answers to an exam's questions, zero-shot."""

    takes: ClassVar[str] = "questions"
    makes: ClassVar[str] = "items"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    model: Model
    exam: Stage[Group]
    """Annotated contexts, such as a `Draw` makes: the last shot of each group is asked about."""
    task: str = "unseen"
    """What scores are called: items of the set quoref belong to "unseen/quoref"."""
    max_questions: int = 8
    """A context, evenly spaced."""

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole."""
        del run
        check_model(self.model)

    def sources(self, run: Run) -> dict[str, str]:
        """The model, if no stage makes it."""
        return dict(model_sources(self.model, run))

    @contextmanager
    def opened(self, run: Run) -> Iterator[Any]:
        """The model."""
        from instructpt.evaluation.answers import load_reader

        quiet_loading()
        yield load_reader(model_folder(self.model, run), device=str(devices.find(run.device)))

    def shard(self, index: int, run: Run) -> Iterator[Item]:
        """An item a question, in the exam's order; places count the contexts of a set."""
        from instructpt.evaluation.answers import answer
        from instructpt.evaluation.exam import spread
        from instructpt.words.sentences import sentence_starts

        places: dict[str, int] = {}
        for number, group in enumerate(run.records(self.exam, index)):
            shot = group.shots[-1]
            chosen = tuple(shot.pairs[place] for place in spread(len(shot.pairs), number=self.max_questions))
            name = shot.document.source
            place = places[name] = places.get(name, -1) + 1
            found = answer(
                run.shared,
                replace(shot, pairs=chosen),
                task=f"{self.task}/{name}",
                place=place,
                sentence_starts=sentence_starts,
            )
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
class Rate(Stage[Score]):
    """The scores of answered items, task by task; also without the items that stand in the training text."""

    takes: ClassVar[str] = "items"
    makes: ClassVar[str] = "scores"
    is_summary = True

    items: Evaluate | Answering
    average: str = ""
    """What the mean over tasks is called; "" for none."""
    overlap: Stage[Match] | None = field(default=None, metadata={"later": True})
    """Where test items stand in the training text; scores then come again without those items and of those alone, as
    `acc/clean` and `acc/overlapping`."""
    seed: int = 0

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of each task, then their average."""
        del index
        from instructpt.evaluation.benchmarks import TASKS, metadata
        from instructpt.evaluation.rating import average, rate, rate_apart

        by_task: dict[str, list[Item]] = {}
        for place in range(run.num_shards(self.items)):
            for item in run.take(self.items, place):
                run.tally.keep()
                by_task.setdefault(item.task, []).append(item)
        overlapping = self._overlapping(run)
        found: list[Score] = []
        for task, items in by_task.items():
            name, score = model_name(self.items.model), metadata(task)["score"] if task in TASKS else None
            if overlapping is None:
                found += rate(items, task=task, model_name=name, score=score, seed=self.seed)
            else:
                places = overlapping.get(task, set())
                run.tally.count(f"overlapping/{task}", sum(item.place in places for item in items))
                found += rate_apart(items, places, task=task, model_name=name, score=score, seed=self.seed)
        yield from found
        if self.average:
            yield from average(found, task=self.average)

    def _overlapping(self, run: Run) -> dict[str, set[int]] | None:
        """Task -> the rows of its file that stand in the training text; None if that was not looked for."""
        if self.overlap is None:
            return None
        found: dict[str, set[int]] = {}
        for index in range(run.num_shards(self.overlap)):
            for match in run.records(self.overlap, index):
                found.setdefault(match.task, set()).update(match.places)
        return found


@dataclass(frozen=True, kw_only=True)
class HeldOut(Stage[Score]):
    """Bits per byte on documents that no model saw."""

    makes: ClassVar[str] = "scores"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    model: Model
    documents: Stage[Document]
    row_tokens: int

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole."""
        del run
        check_model(self.model)

    def sources(self, run: Run) -> dict[str, str]:
        """The model, if no stage makes it."""
        return dict(model_sources(self.model, run))

    def num_shards(self, run: Run) -> int:
        """One: a mean over all documents."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """Bits per byte, overall and by domain."""
        del index
        from instructpt.evaluation.perplexity import perplexity

        quiet_loading()
        documents = [d for i in range(run.num_shards(self.documents)) for d in run.take(self.documents, i)]
        run.tally.keep(len(documents))
        yield from perplexity(
            model_folder(self.model, run),
            documents,
            row_tokens=self.row_tokens,
            device=str(devices.find(run.device)),
            model_name=model_name(self.model),
        )


@dataclass(frozen=True, kw_only=True)
class Collect(Stage[Score]):
    """The scores of several models in one place: where a comparison of models ends."""

    takes: ClassVar[str] = "scores"
    makes: ClassVar[str] = "scores"
    is_summary = True

    results: tuple[Stage[Score], ...]

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """All scores, in the order of the results."""
        del index
        for stage in self.results:
            for i in range(run.num_shards(stage)):
                yield from run.take(stage, i)


@dataclass(frozen=True, kw_only=True)
class Recorded(Stage[Score]):
    """Scores that another run made and left in a folder."""

    takes: ClassVar[str] = "scores"
    makes: ClassVar[str] = "scores"

    folder: str
    """A finished artifact of scores, such as runs/quality/quality."""

    def sources(self, run: Run) -> dict[str, str]:
        """The files by content."""
        del run
        found = files.find(f"{self.folder}/*.parquet")
        return {Path(file.url).name: files.content_digest(file) for file in found}

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """All scores, in order."""
        del index
        for file in files.find(f"{self.folder}/*.parquet"):
            with Path(file.url).open("rb") as opened:
                for score in read_parquet(opened, Score):
                    run.tally.take()
                    run.tally.keep()
                    yield score
