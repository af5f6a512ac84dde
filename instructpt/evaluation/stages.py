"""Models to scores, and scores side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import orjson

from instructpt import devices, files
from instructpt.artifacts import Product, Run, Stage
from instructpt.engines.models import Model, model_folder, model_name, quiet_loading
from instructpt.errors import InputError
from instructpt.evaluation.questioning import Answering, Examine, OfModel
from instructpt.records import Document, Item, Match, Score


@dataclass(frozen=True, kw_only=True)
class Evaluate(OfModel, Stage[Item]):
    """Benchmarks by lm-eval, answer by answer; a shard a task, so that an evaluation that was killed goes on."""

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

    def sources(self, run: Run) -> dict[str, str]:
        """The model, if no stage makes it, and the rows."""
        from instructpt.evaluation.benchmarks import task_files

        paths = [
            path for task in self.tasks for path in task_files(task, data=self._data(), num_fewshot=self.num_fewshot)
        ]
        digests = {f"tasks/{path.name}": files.content_digest(files.find(str(path))[0]) for path in paths}
        return {**super().sources(run), **digests}

    def num_shards(self, run: Run) -> int:
        """One a task."""
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
class Rate(Stage[Score]):
    """The scores of answered items, task by task; also without the items that stand in the training text."""

    takes: ClassVar[str] = "items"
    is_summary = True
    is_single = True

    items: Evaluate | Answering | Examine
    average: str = ""
    """What the mean over tasks is called; "" for none."""
    overlaps: tuple[Stage[Match], ...] = field(default=(), metadata={"later": True})
    """Where test items stand in the training texts; scores then come again without those items and of those alone, as
    `acc/clean` and `acc/overlapping`."""
    named_by: tuple[tuple[str, Stage[Match]], ...] = field(default=(), metadata={"later": True})
    """Of an exam: which questions an arm's pairs name (`naming`), by the arm. Scores of the closed book come again for
    the questions that they name and for the others, as `f1/named_by_instruct` and `f1/unnamed_by_instruct`."""
    seed: int = 0
    model_name: str = field(default="", metadata={"later": True})
    """What the scores call the model; its own name, without it."""
    against: Rate | None = field(default=None, metadata={"later": True})
    """The scores of another model that sat the same exam: differences from it are scores, too."""

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of each task, then their average."""
        from instructpt.evaluation.benchmarks import TASKS, metadata
        from instructpt.evaluation.exam import CLOSED_BOOK
        from instructpt.evaluation.rating import NAMED, UNNAMED, average, rate, rate_apart, rate_differences

        by_task: dict[str, list[Item]] = {}
        for item in run.take(self.items):
            run.tally.keep()
            by_task.setdefault(item.task, []).append(item)
        overlapping = self._inside(self.overlaps, run)
        named = {arm: self._inside((stage,), run) for arm, stage in self.named_by}
        found: list[Score] = []
        for task, items in by_task.items():
            settings: dict[str, Any] = {
                "task": task,
                "model_name": self._called,
                "score": metadata(task)["score"] if task in TASKS else None,
                "draws_places": isinstance(self.items, Examine),
                "seed": self.seed,
            }
            found += rate(items, **settings)
            if self.overlaps:
                run.tally.count(f"overlapping/{task}", sum(map(overlapping, items)))
                found += rate_apart(items, overlapping, **settings)
            for arm, is_named in named.items() if task.startswith(CLOSED_BOOK) else ():
                num_named = sum(map(is_named, items))
                run.tally.count(f"named_by_{arm}/{task}", num_named)
                if 0 < num_named < len(items):
                    found += rate_apart(items, is_named, ends=(UNNAMED + arm, NAMED + arm), **settings)
            if self.against is not None:
                found += rate_differences(
                    items,
                    list(run.records(self.against.items)),
                    task=task,
                    model_name=self._called,
                    other_name=self.against._called,
                    seed=self.seed,
                )
        yield from found
        if self.average:
            yield from average(found, task=self.average)

    @property
    def _called(self) -> str:
        return self.model_name or model_name(self.items.model)

    def _inside(self, matches: Sequence[Stage[Match]], run: Run) -> Callable[[Item], bool]:
        """Whether there is a match of an item: of its row of the task's file, or of its number in an exam."""
        found: dict[str, set[int]] = {}
        for stage in matches:
            for match in run.records(stage):
                found.setdefault(match.task, set()).update(match.places)
        if isinstance(self.items, Examine):
            numbers = found.get(self.items.exam.name, set())
            return lambda item: int(item.part) in numbers
        return lambda item: item.place in found.get(item.task, ())


@dataclass(frozen=True, kw_only=True)
class HeldOut(OfModel, Stage[Score]):
    """Bits per byte on documents that no model saw."""

    takes: ClassVar[str] = "documents"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    is_single = True  # a mean over all documents

    model: Model
    documents: Stage[Document]
    row_tokens: int

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """Bits per byte, overall and by domain."""
        from instructpt.evaluation.perplexity import perplexity

        quiet_loading()
        documents = list(run.take(self.documents))
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

    is_summary = True
    is_single = True

    results: tuple[Stage[Score], ...]
    beside: tuple[Stage[Any], ...] = field(default=(), metadata={"later": True})
    """What is made with them, to be looked at."""

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """All scores, in the order of the results."""
        for stage in self.results:
            yield from run.take(stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run of an experiment, and what was measured of it."""

    arm: str
    seed: int
    tokens: int
    """The budget."""
    phase: str = ""
    """What was done after pre-training: "tuned", or "" for nothing."""
    model: Model
    """A base that nothing was done to by its name."""
    results: tuple[Stage[Score], ...]


@dataclass(frozen=True, kw_only=True)
class Compare(Stage[Any]):
    """Means over seeds with intervals, differences from the first arm, tokens to reach its score (docs/formats.md)."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "scores"
    makes: ClassVar[str] = "comparisons"
    is_summary = True
    is_single = True

    measured_on: tuple[Stage[Any], ...] = field(default=(), metadata={"later": True})
    """What the models are measured on, made before any is trained: that there is too little of it is told first."""
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Raises InputError without scipy: better now than after all the training."""
        if find_spec("scipy") is None:
            raise InputError("comparisons need scipy: pip install 'instructpt[eval]'")

    def build(self, index: int, run: Run, path: Path) -> None:
        """A folder with comparison.json."""
        from instructpt.evaluation.comparison import Result, compare

        results = []
        for cell in self.cells:
            for stage in cell.results:
                for score in run.take(stage):
                    run.tally.keep()
                    results.append(
                        Result(cell.arm, cell.seed, cell.tokens, cell.phase, score.task, score.metric, score.value)
                    )
        arms = tuple(dict.fromkeys(cell.arm for cell in self.cells))
        found = compare(results, arms=arms)
        run.tally.made = 1
        run.tally.count("cells", len(self.cells))
        path.mkdir(exist_ok=True)
        (path / "comparison.json").write_bytes(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
