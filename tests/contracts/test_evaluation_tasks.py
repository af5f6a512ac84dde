"""Every evaluation task: its prompts are pinned to the character, and it scores sensible rows only.

Scores move when whitespace moves, so a change here is reviewed as a diff. To renew a golden file, delete it and run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from instructpt.evaluation.benchmarks import _TASK_FOLDER, TASKS, load_parts, task_files

GOLDEN = Path(__file__).parent.parent / "golden" / "eval_prompts"


def prompts(task: str, *, num_fewshot: int = 0) -> str:
    """The first three items of the sample as the model gets them: what is given, then what is scored in brackets."""
    [part] = list(load_parts(task, num_fewshot=num_fewshot).values())[:1]
    part.build_all_requests(limit=3)
    items: dict[int, list[str]] = {}
    for request in part.instances:
        context, answer = request.args
        items.setdefault(request.doc_id, []).append(f"{context}[{answer}]")
    lines = [f"---- item {i}, option {j}\n{text}\n" for i, texts in items.items() for j, text in enumerate(texts)]
    return "".join(lines)


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if not path.exists():
        path.write_text(text, "utf-8")
        pytest.fail(f"{path.name} was missing and is written now: read it, then run again")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("task", sorted(TASKS))
def test_prompts_are_pinned(task: str) -> None:
    assert_golden(task, prompts(task))


def test_shots_come_from_the_same_subject_in_their_own_order() -> None:
    assert_golden("mmlu_2_shots", prompts("mmlu", num_fewshot=2))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_right_option_is_one_of_the_options(task: str) -> None:
    [part] = load_parts(task).values()
    rights: set[int] = set()
    for row in part.eval_docs:
        right = part.doc_to_text(row) if part.multiple_input else part.doc_to_target(row)
        options = part.doc_to_choice(row)
        place = right if isinstance(right, int) else options.index(right)
        assert 0 <= place < len(options)
        rights.add(place)
    assert len(rights) > 1, "one and the same option would always be right"


def test_every_task_file_is_in_the_table_and_versioned() -> None:
    assert sorted(path.name for path in _TASK_FOLDER.glob("*.yaml")) == sorted(TASKS.values())
    for task in TASKS:
        [part] = load_parts(task, limit=1).values()
        assert part.VERSION >= 1


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_harness_alone_would_read_the_same_file(task: str) -> None:
    """A task file can be used with the harness's own command inside a folder of unpacked files."""
    path, items = task_files(task)
    assert f"{{test: {items.name.removesuffix('.zst')}}}" in path.read_text("utf-8")
