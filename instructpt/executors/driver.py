"""The main process itself, a shard after the other: for stages that hold a model, and for a single worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instructpt.artifacts import Run, Stage
    from instructpt.executors import Work


def run_shards(work: Work, stage: Stage[Any], indices: Sequence[int], run: Run) -> Iterator[tuple[int, float]]:
    """Run the shards here, in order."""
    for index in indices:
        yield index, work(stage, index, run)
