"""Pieces of files, and the rows that are read from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one file, the least that is read at once. What `start` and `stop` count is up to the format."""

    url: str
    format: str
    """A name in `readers.FORMATS`."""
    start: int = 0
    stop: int | None = None
    """None: to the end of the file."""
    num_bytes: int = 0
    """About how many bytes of uncompressed data it has."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, not yet a document."""

    name: str
    """File name and place in the file: the id of a document that has none of its own."""
    fields: dict[str, Any]
    """JSON values."""


def balanced(total: int, *, largest: int) -> Sequence[tuple[int, int]]:
    """`total` cut into the fewest equal half-open ranges of at most `largest`."""
    num_ranges = max(1, -(-total // largest))
    bounds = [total * i // num_ranges for i in range(num_ranges + 1)]
    return list(itertools.pairwise(bounds))
