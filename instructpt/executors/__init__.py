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
"""Runs `work(stage, index, run)` for every index, in any order, and yields (index, seconds) as each is sealed."""

EXECUTORS = {
    "driver": "instructpt.executors.driver:run_shards",
    "local": "instructpt.executors.local:run_shards",
}


def open_executor(name: str) -> Executor:
    """The executor called `name`. Raises RecipeError for an unknown name."""
    if name not in EXECUTORS:
        raise RecipeError(f"no executor is called {name!r}: choose one of {', '.join(sorted(EXECUTORS))}")
    module, _, attribute = EXECUTORS[name].partition(":")
    executor: Executor = getattr(import_module(module), attribute)
    return executor
