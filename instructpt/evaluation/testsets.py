"""Test sets by name: every text in the rows of an evaluation task, a file, or a data set of the Hub.

"boolq"             a task: its rows from the Hub, or from a folder that has boolq.jsonl
"general"           a suite: all its tasks
my/exam.jsonl       rows in any format that corpora are read from; hf://owner/name:split
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from instructpt.corpus import readers
from instructpt.corpus.testitems import WHOLE_FILE, Items, file_rows, load
from instructpt.errors import InputError

HUB = "hub"
"""As `data`: the rows of tasks from the Hugging Face Hub."""


def sets_named(names: Sequence[str], *, data: str) -> dict[str, tuple[str, ...] | None]:
    """Test set -> its files; None for a task whose rows come from the Hub.

    Raises InputError for a name that is neither a task, a suite nor a file.
    """
    from instructpt.evaluation.benchmarks import SUITES, TASKS, resolve, task_files

    found: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        if name in TASKS or name in SUITES:
            for task in resolve((name,)):
                found[task] = None if data == HUB else (str(task_files(task, data=data)[1]),)
            continue
        try:
            readers.shards((name,), shard_bytes=WHOLE_FILE)
        except InputError as error:
            raise InputError(f"{name!r} is no test set: {error}; tasks are {', '.join(TASKS)}") from error
        found[name] = (name,)
    return found


@lru_cache(maxsize=1)
def load_items(against: tuple[str, ...], *, data: str, fields: tuple[str, ...], length: int, fingerprint: str) -> Items:
    """The items of test sets, read and indexed once a process and `fingerprint`, that of the stage that asks.

    Raises InputError for a set without any.
    """
    del fingerprint
    sets = {
        task: _hub_rows(task) if urls is None else file_rows(urls)
        for task, urls in sets_named(against, data=data).items()
    }
    return load(sets, fields=fields, length=length)


def _hub_rows(task: str) -> Iterator[Any]:
    from instructpt.evaluation.benchmarks import load_parts

    for part in load_parts(task, data=HUB).values():
        yield from part.eval_docs
