"""Things in batches of a size, so that memory is bounded and a call does enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], *, size: Callable[[T], int], enough: int) -> Iterator[list[T]]:
    """Neighbouring items, together `enough` or, by the last one, more; of the rest, less. Streams."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= enough:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
