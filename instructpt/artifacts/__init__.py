"""The only framework: a `stage` says what it does, its `identity` what it is, a `run` where and how it is made, once.

    <root>/<name>/recipe.json       written first: what this folder is (settings, inputs' fingerprints, stage version)
                  00000.open/       a shard being worked on: its unfinished files, its ledger; gone when it is sealed
                  00000.parquet     a shard of records: appears whole or not at all (a folder 00000/ for other products)
                  00000.json        its seal: the tally, written after the shard is in place
                  joined/           what is made from all shards together, where a stage does that
                  manifest.json     written last: the sum of the tallies, fingerprint, versions of what made it
                  timing.jsonl      seconds a shard took; apart from the rest, which is the same bytes every time

Run twice, the second does nothing. Killed at any moment, sealed shards stay and the open one goes on from its folder.
Other settings under the same name are refused, naming the fields that changed; only a summary, a cheap table of what
its inputs say, is made anew then, once all that it sums up is there, and so is what a run came to nothing with.
Everything that went in must have come out or be counted under a reason: a shard whose tally does not add up is not
sealed. Partitions of a run build shards of their own and wait for those of others (`partitions`).
"""

from __future__ import annotations

from instructpt.artifacts.run import Run, read_manifest, read_tally
from instructpt.artifacts.stage import (
    Product,
    Stage,
    Table,
    changes,
    describe,
    differences,
    fingerprint,
    inputs,
    is_finished,
    may_be_replaced,
    num_units,
    tree,
)

__all__ = [
    "Product",
    "Run",
    "Stage",
    "Table",
    "changes",
    "describe",
    "differences",
    "fingerprint",
    "inputs",
    "is_finished",
    "may_be_replaced",
    "num_units",
    "read_manifest",
    "read_tally",
    "tree",
]
