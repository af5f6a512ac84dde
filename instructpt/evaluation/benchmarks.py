"""Benchmarks by name: prompt, options and metrics from a task file of ours, items from a user's own files.

    tasks/arc_easy.yaml      prompt, options, metrics, in the harness's own format; names its file, arc_easy.jsonl
    data/arc_easy.jsonl      the items (or arc_easy_test.jsonl); packed (.jsonl.gz, .jsonl.zst) is as good
    data/arc_easy_dev.jsonl  examples for few-shot prompts; only needed when shots are asked for

The prompts are those of the harness's well-known tasks, so that numbers compare; `tests/golden/eval_prompts` pins them,
since scores move when whitespace moves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from instructpt import streams
from instructpt.errors import InputError

TASKS = {
    "arc_challenge": "arc_challenge.yaml",
    "arc_easy": "arc_easy.yaml",
    "boolq": "boolq.yaml",
    "medqa": "medqa.yaml",
    "mmlu": "mmlu.yaml",
    "piqa": "piqa.yaml",
    "pubmedqa": "pubmedqa.yaml",
    "winogrande": "winogrande.yaml",
}
"""Task -> its file in `tasks/`. A new task is a file and a line here; a changed prompt raises `metadata.version`."""

SAMPLE = Path(__file__).parent.parent / "sample" / "eval"
"""Some items of every task, which ship with the package. Enough to see that all works, too few to publish a number."""

_TASK_FOLDER = Path(__file__).parent / "tasks"
_SUFFIXES = ("", ".gz", ".zst")
_SHOTS_SEED = 1234
"""The harness's default for drawing examples, so that its few-shot prompts can be repeated."""


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise InputError for a task that is not in the table, naming those that are."""
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"no evaluation task is called {task!r}: choose from {', '.join(sorted(TASKS))}")


def task_files(task: str, *, data: Path = SAMPLE, num_fewshot: int = 0) -> tuple[Path, ...]:
    """All that decides what is asked: the task file, the items and, if shots are asked for, the examples.

    Raises InputError for an unknown task or a missing file. Needs no lm-eval.
    """
    check_tasks([task])
    names = [(f"{task}.jsonl", f"{task}_test.jsonl")] + ([(f"{task}_dev.jsonl",)] if num_fewshot else [])
    found = [_TASK_FOLDER / TASKS[task]]
    for choices in names:
        paths = [data / f"{name}{suffix}" for name in choices for suffix in _SUFFIXES]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            wanted = " or ".join(choices)
            raise InputError(f"{data} has no {wanted} (nor .gz, .zst): put the task's rows there as JSON lines")
        found.append(path)
    return tuple(found)


def load_parts(task: str, *, data: Path = SAMPLE, limit: int | None = None, num_fewshot: int = 0) -> dict[str, Any]:
    """The harness's task objects that make up a task, by name: one, or one a subject where shots are the subject's own.

    Raises as `evaluate_task`.
    """
    check_tasks([task])
    with quiet_harness():
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=str(_TASK_FOLDER), include_defaults=False)
        config = dict(manager.task_index[task].cfg)
        _, items_file, *shots_file = task_files(task, data=data, num_fewshot=num_fewshot)
        items = _spaced(_read(items_file), limit)
        shots = _read(shots_file[0]) if num_fewshot else []
        config |= {"num_fewshot": num_fewshot, "fewshot_split": "dev" if num_fewshot else None, "dataset_kwargs": None}
        field = config["metadata"].get("shots_by") if num_fewshot else None
        parts = {}
        for value in dict.fromkeys(row[field] for row in items) if field else [None]:
            rows = {"test": items, "dev": shots}
            if field is not None:
                rows = {split: [row for row in members if row[field] == value] for split, members in rows.items()}
            if len(rows["dev"]) < num_fewshot:
                what = task if value is None else f"{task}, {value}"
                raise InputError(
                    f"{num_fewshot} shots asked of {what}, {len(rows['dev'])} examples at hand: ask for fewer"
                )
            name = task if value is None else f"{task}_{value}"
            part = ConfigurableTask(config={**config, "task": name, "custom_dataset": partial(_dataset, rows)})
            part.set_fewshot_seed(_SHOTS_SEED)
            parts[name] = part
        return parts


def _dataset(rows: dict[str, list[dict[str, Any]]], **_: object) -> dict[str, Any]:
    """In memory: the harness would otherwise copy the files into a cache outside our folders."""
    from datasets import Dataset

    return {split: Dataset.from_list(members) for split, members in rows.items() if members}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [orjson.loads(line) for line in streams.lines(str(path))]
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} holds a line that is not JSON ({error}): mend or fetch the file again") from error
    if not rows:
        raise InputError(f"{path} is empty: put the task's rows there as JSON lines")
    return rows


def _spaced(rows: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    if limit is None or limit >= len(rows):
        return rows
    if limit < 1:
        raise InputError(f"limit is {limit}: give at least 1, or none for all items")
    return [rows[i * len(rows) // limit] for i in range(limit)]


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Hold back the harness's notes and bars; turn its absence into a message."""
    try:
        import lm_eval.api.task as task_module
    except ImportError as error:
        raise InputError("benchmarks need lm-eval: pip install 'instructpt[eval]'") from error
    logger, bar = logging.getLogger("lm_eval"), task_module.tqdm
    level = logger.level
    logger.setLevel(logging.ERROR)
    task_module.tqdm = partial(bar, disable=True)  # it has no switch for the bar over prompts
    try:
        yield
    finally:
        task_module.tqdm = bar
        logger.setLevel(level)
