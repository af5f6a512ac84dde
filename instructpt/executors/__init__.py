"""Executors: where the shards of a stage run. One contract, a file each, a table line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from instructpt.errors import RecipeError

if TYPE_CHECKING:
    from instructpt.artifacts import Run, Stage

Work = Callable[["Stage[Any]", int, "Run"], float]
Executor = Callable[[Work, "Stage[Any]", Sequence[int], "Run"], Iterator[tuple[int, float]]]
"""Runs `work(stage, index, run)` for every index, in any order, and yields (index, seconds) as each is sealed. What a
shard raises on purpose is raised as it is. `tests/contracts/test_executors.py` runs over every entry of `EXECUTORS`."""

EXECUTORS = {
    "driver": "instructpt.executors.local:run_here",
    "engine": "instructpt.executors.local:run_together",
    "local": "instructpt.executors.local:run_shards",
    "ray": "instructpt.executors.ray:run_shards",
}
"""Name -> module:function."""

CHOICES = ("local", "ray")
"""Those that a user may choose. The others are where the placement of a stage asks for the main process."""

_ELSEWHERE = ("ray",)
"""Those with machines of their own, where they open what a stage's shards share."""


def check_choice(name: str) -> None:
    """Raise RecipeError for an executor that is not to be chosen."""
    if name not in CHOICES:
        raise RecipeError(f"no executor is called {name!r}: choose one of {', '.join(CHOICES)}")


def executor_of(placement: str, *, wanted: str) -> str:
    """The name of the executor for a stage's shards. placement: of `Stage`; wanted: what the user chose."""
    if placement == "workers" or (placement == "engine" and wanted in _ELSEWHERE):
        return wanted
    return placement


def is_in_this_process(name: str) -> bool:
    """Whether shards find what they share (`Run.shared`) opened for them; elsewhere the executor opens it."""
    return name not in _ELSEWHERE


def open_executor(name: str) -> Executor:
    """The executor of this line of the table."""
    module, _, attribute = EXECUTORS[name].partition(":")
    executor: Executor = getattr(import_module(module), attribute)
    return executor
