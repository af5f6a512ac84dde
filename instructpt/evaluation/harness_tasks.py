"""Tasks beyond the paper's own: any of lm-eval's by its name, and YAML files of the user's.

    lambada_openai            of lm-eval; it fetches the rows itself, once there is a network
    my_task.yaml              a task file in the harness's format; data files beside it are found
    my_tasks/                 every task file in a folder

They are asked as lm-eval asks them. What is published of a task is then each metric's mean over its items.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from instructpt.errors import InputError

SUFFIXES = (".yaml", ".yml")


def found(name: str) -> tuple[str, ...]:
    """The tasks that a path, or a name of lm-eval's, stands for; none for a name that is neither.

    Raises InputError for a path without a task in it. A name needs lm-eval; where it is missing none is known.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith("_"))
        if not files:
            raise InputError(f"{name} holds no .yaml file with an evaluation task: give its folder or the file itself")
        return tuple(map(str, files))
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise InputError(f"no evaluation task at {name}: there is no such file")
        return (name,)
    return (name,) if name in _names() else ()


def is_file(task: str) -> bool:
    """Whether a task is a YAML file of the user's."""
    return Path(task).suffix in SUFFIXES


def task_files(task: str) -> tuple[Path, ...]:
    """The user's files that decide what is asked: the task file and the data files that it names. None by name."""
    if not is_file(task):
        return ()
    path = Path(task).expanduser()
    return (path, *map(Path, _data_files(_config(path))))


def load(task: str) -> dict[str, Any]:
    """The harness's task objects by name: several for a group.

    Raises InputError for a file that is no task, and for rows that cannot be had.
    """
    from lm_eval.tasks import TaskManager

    manager = _manager() if not is_file(task) else TaskManager(include_defaults=False)
    spec: Any = task
    if is_file(task):
        path = Path(task).expanduser()
        config = _config(path)
        for name in _data_files(config):
            _refuse_broken_rows(Path(name))
        spec = config if "dataset_path" in config or "custom_dataset" in config else str(path)
    try:
        parts: dict[str, Any] = manager.load(spec)["tasks"]
        for part in parts.values():
            part.eval_docs  # noqa: B018  (fetched now, so that what is wrong is told here)
    except Exception as error:  # tasks run code of their own, and their rows come from anywhere
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"the evaluation task {task} cannot be loaded ({reason}): check the file, or the connection that its rows "
            "are fetched with"
        ) from error
    return parts


def _config(path: Path) -> dict[str, Any]:
    """A task file as the harness reads it, with the data files beside it found from any folder."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config: dict[str, Any]
    try:
        config = load_yaml(path)
    except Exception as error:  # YAML may name functions, whose modules may do anything
        raise InputError(f"{path} is no task file ({' '.join(str(error).split())}): see lm-eval's guide") from error
    if not isinstance(config.get("task"), str) and "group" not in config:
        raise InputError(f"{path} is no task file: it names no task")
    kwargs = config.get("dataset_kwargs")
    if isinstance(kwargs, dict) and "data_files" in kwargs:
        config["dataset_kwargs"] = {**kwargs, "data_files": _beside(path.parent, kwargs["data_files"])}
    return config


def _beside(folder: Path, files: Any) -> Any:
    if isinstance(files, str):
        return files if Path(files).exists() or not (folder / files).exists() else str((folder / files).resolve())
    if isinstance(files, list):
        return [_beside(folder, file) for file in files]
    return {split: _beside(folder, file) for split, file in files.items()} if isinstance(files, dict) else files


def _data_files(config: dict[str, Any]) -> list[str]:
    def flat(files: Any) -> list[str]:
        if isinstance(files, str):
            return [files] if Path(files).is_file() else []
        members = files.values() if isinstance(files, dict) else files if isinstance(files, list) else ()
        return [name for member in members for name in flat(member)]

    return flat((config.get("dataset_kwargs") or {}).get("data_files"))


def _refuse_broken_rows(path: Path) -> None:
    """Raises InputError for a file of rows that is no JSON: the library that reads it ends the process on some."""
    if path.suffix not in (".json", ".jsonl"):
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start:,}): convert it") from error
    rows: list[Any] = []
    with suppress(ValueError):
        whole = json.loads(text)
        rows = whole if isinstance(whole, list) else [whole]
    for number, line in enumerate([] if rows else text.split("\n"), start=1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise InputError(f"{path}, line {number}, is no JSON ({error}): mend it") from error
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise InputError(f"{path} holds no rows: give JSON objects, one a line or in an array")


@cache
def _manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _names() -> frozenset[str]:
    try:
        return frozenset(_manager().all_tasks)
    except ImportError:
        return frozenset()
