"""A model's scores on benchmarks."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.errors import RecipeError
from instructpt.evaluation.benchmarks import SAMPLE, SAMPLED, resolve
from instructpt.evaluation.stages import Evaluate, Rate


def evaluate(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    tasks: tuple[str, ...] = SAMPLED,
    suite: str | None = None,
    data: str | None = None,
    limit: int | None = None,
    num_fewshot: int | None = None,
    trained_on: tuple[str, ...] = (),
) -> Rate:
    """Score a Hugging Face model folder on benchmarks, with standard errors.

    A synthesizer is measured by the pairs that it writes: instructpt run quality --help.

    Args:
        model: Folder or Hub id of a causal language model.
        tasks: Names of tasks (files in instructpt/evaluation/tasks, or any lm-eval task, which fetches its own rows),
            names of suites, or your own task files (.yaml) or a folder of them.
        suite: Run the paper's tasks instead: general (nine), biomedicine (five) or finance (five).
        data: Folder with the tasks' rows, such as arc_easy.jsonl; hub fetches them from the Hugging Face Hub. By
            default the small sample of eight tasks in this package.
        limit: Use only this many items per task, evenly spaced.
        num_fewshot: Examples before each item, from <task>_dev.jsonl or the Hub. By default none for --tasks, and the
            paper's number for each task of a --suite.
        trained_on: What the model was trained on: files, folders, globs or URLs. Items that share 13 words in a row
            with it are counted, and every score is also given without them.
    """
    if suite is not None and tasks != SAMPLED:
        raise RecipeError(
            "both --tasks and --suite are given: name the suite among the tasks, or leave one of them out"
        )
    if num_fewshot is None and suite is None:
        num_fewshot = 0
    chosen = resolve(tasks if suite is None else (suite,))
    items = Evaluate(name="items", model=model, tasks=chosen, data=data, limit=limit, num_fewshot=num_fewshot)
    if not trained_on:
        return Rate(name="scores", items=items)
    from instructpt.corpus.stages import Read
    from instructpt.evaluation.overlap import Overlap

    texts = Read(name="trained-on", files=trained_on)
    matches = Overlap(name="matches", texts=texts, against=chosen, data=data or str(SAMPLE))
    return Rate(name="scores", items=items, overlaps=(matches,))
