"""Partitions: one recipe on many machines, with one output folder and nobody in charge.

    machine 1   --partition 1/3    passages 0 3 6 ------> groups 0 3 6 ----------> texts 0 3 6    exit 0
    machine 2   --partition 2/3    passages 1 4 7 -> ...  groups 1 4 7 -> joins -> texts 1 4 7    exit 0
    machine 3   --partition 3/3    passages 2 5 ---> ...  groups 2 5 ---> ...----> texts 2 5      exit 0, all is there

Partition k of n builds the shards whose index is k - 1 modulo n, of every stage that has several. What is made in one
piece (a model, what is joined from all shards) is made by whichever partition comes first, once. A partition that needs
what others have not finished waits for it (...), looking every few seconds; only the end of the last stage is not
waited for. They may be started in any order and killed at any moment; started again they go on, and a plain run over
the same folder finishes whatever is missing. What comes out is the same bytes as without partitions.

The open shard of a partition lies in `Run.scratch` on the machine's own disk and not in the output folder, since a
ledger cannot be kept on a network file system. So a partition that is killed goes on from its ledger on the machine
where it ran; elsewhere it asks the open shard's questions again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from instructpt.errors import RecipeError

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
"""Between two looks at what others have done: a file listing, of many machines at one file system."""


def parse_partition(text: str) -> tuple[int, int]:
    """ "3/64" as (2, 64): the place, counted from 0, and how many there are. Raises RecipeError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not 1 <= (place := int(found[1])) <= (count := int(found[2])):
        raise RecipeError(f"the partition is {text!r}: give a number and how many there are, from 1/64 to 64/64")
    return place - 1, count


def own_shards(num_shards: int, partition: tuple[int, int]) -> range:
    """The shards of a partition, (place counted from 0, count)."""
    index, count = partition
    return range(index, num_shards, count)


def pauses() -> Iterator[float]:
    """Seconds to wait between one look and the next, without end: soon at first, then every few seconds."""
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _LONGEST_PAUSE_SECONDS)
