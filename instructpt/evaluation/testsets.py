"""Test sets by name: every text in the rows of an evaluation task, a file, or a data set of the Hub.

"boolq"             a task: its rows from the Hub, or from a folder that has boolq.jsonl
"general"           a suite: all its tasks
my/exam.jsonl       rows in any format that corpora are read from; hf://owner/name:split
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from instructpt.artifacts import Run, Stage
from instructpt.corpus import readers
from instructpt.corpus.testitems import WHOLE_FILE, ItemPlace, Items, file_rows, load
from instructpt.errors import InputError
from instructpt.records import Group
from instructpt.words.ngrams import index
from instructpt.words.wordforms import folded_words

HUB = "hub"
"""As `data`: the rows of tasks from the Hugging Face Hub."""
MIN_QUESTION_WORDS = 3
"""Of an exam's questions that are looked for: in full, so that few words are enough."""


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


def exam_items(exam: Stage[Group], run: Run) -> Items:
    """The questions of an exam, each as a whole; `ItemPlace.row` is a question's number in it."""
    questions = [pair.question for group in run.records(exam) for pair in group.shots[-1].pairs]
    longest = max((len(folded_words(question)) for question in questions), default=0)
    made = index(questions, length=max(longest, MIN_QUESTION_WORDS), min_words=MIN_QUESTION_WORDS)
    places = {
        item: tuple(ItemPlace(exam.name, row, "question") for row in found) for item, found in enumerate(made.places)
    }
    texts = {item: questions[found[0]] for item, found in enumerate(made.places)}
    return Items(made, texts, places, {exam.name: len(questions)})


def _hub_rows(task: str) -> Iterator[Any]:
    from instructpt.evaluation.benchmarks import load_parts

    for part in load_parts(task, data=HUB).values():
        yield from part.eval_docs
