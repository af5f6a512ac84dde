"""Models to scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from instructpt import devices
from instructpt.artifacts import Run, Stage
from instructpt.corpus import files
from instructpt.records import Document, Score
from instructpt.stages.models import Model, model_folder, model_name, model_sources, quiet_loading
from instructpt.storage import read_parquet


@dataclass(frozen=True, kw_only=True)
class Evaluate(Stage[Score]):
    """Benchmarks by lm-eval, a shard a task, so that an evaluation that was killed goes on."""

    record: ClassVar[Any] = Score
    takes: ClassVar[str] = "items"
    makes: ClassVar[str] = "scores"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "lm-eval")

    model: Model
    tasks: tuple[str, ...]
    data: str | None = None
    """Folder with the tasks' rows; None for the sample that ships."""
    limit: int | None = None
    """Items a task, evenly spaced."""
    num_fewshot: int = 0

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

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of one task."""
        from instructpt.evaluation.harness import evaluate_task

        task = self.tasks[index]
        run.progress.news(self.name, {"task": task})
        yield from evaluate_task(
            run.shared,
            task=task,
            data=self._data(),
            limit=self.limit,
            num_fewshot=self.num_fewshot,
            model_name=model_name(self.model),
        )

    def _data(self) -> Path:
        from instructpt.evaluation.benchmarks import SAMPLE

        return Path(self.data) if self.data else SAMPLE


@dataclass(frozen=True, kw_only=True)
class HeldOut(Stage[Score]):
    """Bits per byte on documents that no model saw."""

    record: ClassVar[Any] = Score
    makes: ClassVar[str] = "scores"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    model: Model
    documents: Stage[Document]
    row_tokens: int

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

    record: ClassVar[Any] = Score
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

    record: ClassVar[Any] = Score
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
