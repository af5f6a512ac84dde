"""A model's scores on benchmarks."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.stages.results import Evaluate


def evaluate(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    tasks: tuple[str, ...] = ("arc_easy", "arc_challenge", "boolq", "piqa", "winogrande", "mmlu", "pubmedqa", "medqa"),
    data: str | None = None,
    limit: int | None = None,
    num_fewshot: int = 0,
) -> Evaluate:
    """Score a Hugging Face model folder on benchmarks, with standard errors.

    A synthesizer is measured by the pairs that it writes: instructpt evaluate --synthesizer --help.

    Args:
        model: Folder or Hub id of a causal language model.
        tasks: Names of task files in instructpt/evaluation/tasks.
        data: Folder with the tasks' rows, such as arc_easy.jsonl; the small sample that ships, without it.
        limit: Only so many items a task, evenly spaced.
        num_fewshot: Examples before each item, from <task>_dev.jsonl.
    """
    return Evaluate(name="scores", model=model, tasks=tasks, data=data, limit=limit, num_fewshot=num_fewshot)
