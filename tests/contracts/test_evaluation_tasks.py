"""Every evaluation task: its prompts are pinned to the character, and it scores sensible rows only.

Scores move when whitespace moves, so a change here is reviewed as a diff. To renew a golden file, delete it and run.
Tasks without items in the sample are asked with three rows of our own in the layout of their data set.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lm_eval
import orjson
import pytest
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from instructpt.evaluation.aggregates import AGGREGATES
from instructpt.evaluation.benchmarks import (
    _TASK_FOLDER,
    SAMPLE,
    SAMPLED,
    SUITES,
    TASKS,
    load_parts,
    metadata,
    task_files,
)

TESTS = Path(__file__).parent.parent
GOLDEN = TESTS / "golden" / "eval_prompts"
ROWS = TESTS / "fixtures" / "eval_rows"
NEW = tuple(task for task in sorted(TASKS) if task not in SAMPLED)
"""Tasks with rows in our fixtures; their golden files say which option is right, or what should be written."""
THEIRS = {
    "arc_challenge": "arc/arc_challenge.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "winogrande": "winogrande/default.yaml",
}
"""Our general tasks, but for MMLU, as files of the harness."""


def data_of(task: str) -> Path:
    return SAMPLE if task in SAMPLED else ROWS


def right_option(part: Any, row: dict[str, Any]) -> int:
    """The place of the right option among a row's options."""
    right = part.doc_to_text(row) if part.multiple_input else part.doc_to_target(row)
    return int(right) if isinstance(right, int) else part.doc_to_choice(row).index(right)


def requests(part: Any, *, limit: int = 3) -> list[tuple[int, str, Any]]:
    """Item, prompt and what is scored, or how to write, for the first items."""
    part.build_all_requests(limit=limit)
    return [(request.doc_id, *request.args) for request in part.instances]


def prompts(task: str, *, num_fewshot: int = 0) -> str:
    """The first three items as the model gets them: what is given, then what is scored in brackets."""
    [part] = list(load_parts(task, data=data_of(task), num_fewshot=num_fewshot).values())[:1]
    rows = list(part.eval_docs)
    places: dict[int, int] = {}
    lines = []
    for item, context, asked in requests(part):
        if part.OUTPUT_TYPE == "generate_until":
            lines.append(f"---- item {item}\n{context}[ {part.doc_to_target(rows[item])}]\n")
            continue
        place = places[item] = places.get(item, -1) + 1
        mark = ", right" if task in NEW and place == right_option(part, rows[item]) else ""
        lines.append(f"---- item {item}, option {place}{mark}\n{context}[{asked}]\n")
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


@pytest.mark.parametrize("task", ["hellaswag", "openbookqa", "social_iqa"])
def test_prompts_with_shots_are_pinned(task: str) -> None:
    assert_golden(f"{task}_2_shots", prompts(task, num_fewshot=2))


@pytest.mark.parametrize("num_fewshot", [0, 2])
@pytest.mark.parametrize("task", sorted(THEIRS))
def test_prompts_of_general_tasks_are_the_harnesss_own(task: str, num_fewshot: int, tmp_path: Path) -> None:
    """With shots, too: the same examples are drawn, by a rule that depends on which splits a file names."""
    data = ROWS if task in NEW else tmp_path
    if task in SAMPLED:
        lines = [orjson.dumps(row) + b"\n" for row in load_parts(task)[task].eval_docs]
        (tmp_path / f"{task}.jsonl").write_bytes(b"".join(lines[:3]))
        (tmp_path / f"{task}_dev.jsonl").write_bytes(b"".join(lines[3:10]))
    [ours] = load_parts(task, data=data, num_fewshot=num_fewshot).values()
    theirs = in_harness(Path(THEIRS[task]), ours.dataset, num_fewshot=num_fewshot)
    assert requests(ours) == requests(theirs)
    assert [right_option(ours, row) for row in ours.eval_docs] == [
        right_option(theirs, row) for row in theirs.eval_docs
    ]


def test_prompts_of_mmlu_are_the_harnesss_own() -> None:
    parts = load_parts("mmlu", num_fewshot=5)
    for subject in ("anatomy", "high_school_european_history"):
        ours = parts[f"mmlu_{subject}"]
        theirs = in_harness(Path(f"mmlu/default/mmlu_{subject}.yaml"), ours.dataset, num_fewshot=5)
        assert requests(ours) == requests(theirs)


def in_harness(path: Path, dataset: Any, *, num_fewshot: int) -> ConfigurableTask:
    """A task of the harness's own collection, with given rows in place of those that it would fetch."""
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / path)
    examples = config.get("fewshot_split") or config["training_split"]
    items = config.get("test_split") or config["validation_split"]
    # Whatever splits the file names: theirs are drawn from and asked by their own rules.
    splits = dict.fromkeys(("train", "validation", "test", examples), dataset["dev" if num_fewshot else "test"])
    splits |= {items: dataset["test"]}
    task = ConfigurableTask(
        config={**config, "custom_dataset": partial(given, splits), "dataset_kwargs": None, "num_fewshot": num_fewshot}
    )
    task.set_fewshot_seed(1234)
    return task


def given(splits: dict[str, Any], **_: object) -> dict[str, Any]:
    return splits


@pytest.mark.parametrize("task", [task for task in sorted(TASKS) if task not in ("adaptllm_convfinqa", "adaptllm_ner")])
def test_the_right_option_is_one_of_the_options(task: str) -> None:
    [part] = load_parts(task, data=data_of(task)).values()
    rights: set[int] = set()
    for row in part.eval_docs:
        place = right_option(part, row)
        assert 0 <= place < len(part.doc_to_choice(row))
        rights.add(place)
    assert len(rights) > 1, "one and the same option would always be right"


def test_every_task_file_is_in_the_table_and_versioned() -> None:
    assert sorted(path.name for path in _TASK_FOLDER.glob("*.yaml")) == sorted(TASKS.values())
    for task in TASKS:
        [part] = load_parts(task, data=data_of(task), limit=1).values()
        assert part.VERSION >= 1


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_names_a_score_that_there_is_and_the_papers_shots(task: str) -> None:
    about = metadata(task)
    [part] = load_parts(task, data=data_of(task), limit=1).values()
    assert about["score"] in {*part.aggregation(), *AGGREGATES}
    zero = task in ("hellaswag", "medqa", "piqa", "pubmedqa", "winogrande") or task.startswith("adaptllm_")
    assert about["shots"] == (0 if zero else 5)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_harness_alone_reads_the_task_file(task: str) -> None:
    """It can be used with the harness's own command, which then takes the rows from where the file says."""
    manager = TaskManager(include_path=str(_TASK_FOLDER), include_defaults=False)
    assert manager.task_index[task].cfg["task"] == task
    config = load_yaml(_TASK_FOLDER / TASKS[task])
    if config["dataset_path"] == "json":
        assert config["dataset_kwargs"]["data_files"]["test"] == task_files(task)[1].name.removesuffix(".zst")
    else:
        assert config["dataset_path"].count("/") == 1
    assert config.get("test_split") or config.get("validation_split")
    if "process_results" in config:
        [row, *_] = next(iter(load_parts(task, data=data_of(task)).values())).eval_docs
        assert config["process_results"](row, [row["label"][0]]).keys() == {config["metadata"]["score"]}


def test_the_suites_are_the_papers() -> None:
    assert {suite: len(tasks) for suite, tasks in SUITES.items()} == {"general": 9, "biomedicine": 5, "finance": 5}
    assert all(task in TASKS for tasks in SUITES.values() for task in tasks)
