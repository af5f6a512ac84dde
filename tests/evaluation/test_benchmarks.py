"""What a user relies on when benchmarks are chosen and their rows are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from instructpt.errors import InputError, RecipeError
from instructpt.evaluation import benchmarks
from instructpt.evaluation.benchmarks import (
    PLACE,
    SAMPLED,
    SUITES,
    TASKS,
    check_tasks,
    load_parts,
    metadata,
    resolve,
    task_files,
)
from instructpt.evaluation.stages import Evaluate
from instructpt.recipes.evaluate import evaluate

ROWS = Path(__file__).parent.parent / "fixtures" / "eval_rows"
ALL_TASKS = set(TASKS)


def without_places(part: Any) -> list[dict[str, Any]]:
    return [{field: value for field, value in row.items() if field != PLACE} for row in part.eval_docs]


def prompts(part: Any) -> list[Any]:
    part.build_all_requests()
    return [request.args for request in part.instances]


def test_tasks_and_suites_are_named_alike_and_each_task_comes_once() -> None:
    assert resolve(["medqa", "finance"]) == ("medqa", *SUITES["finance"])
    assert resolve(["mmlu", "general", "mmlu"]) == ("mmlu", *(task for task in SUITES["general"] if task != "mmlu"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hellaswga", "did you mean hellaswag?"),
        ("headline", "did you mean adaptllm_headline?"),
        ("finanse", "did you mean finance"),
        ("NER", "did you mean adaptllm_ner"),
        ("xyzzy", "choose from adaptllm_chemprot, adaptllm_convfinqa"),
    ],
)
def test_an_unknown_name_brings_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(["mmlu", name])
    assert message in str(caught.value)
    assert f"no evaluation task is called {name!r}" in str(caught.value)


def test_tasks_of_the_harness_go_by_their_names() -> None:
    assert resolve(["lambada_openai,boolq"]) == ("lambada_openai", "boolq")
    with pytest.raises(InputError, match="no evaluation task is called 'lambada_open'"):
        resolve(["lambada_open"])


def test_a_suite_is_no_task() -> None:
    with pytest.raises(InputError, match="'general' is a suite, not an evaluation task: its tasks are arc_easy"):
        check_tasks(["general"])


def test_the_sample_has_what_it_is_said_to_have() -> None:
    for task in ALL_TASKS:
        if task in SAMPLED:
            assert task_files(task)[1].exists()
        else:
            with pytest.raises(InputError, match=rf"has no {task}.jsonl or .*: put rows of .* there .*--data hub"):
                task_files(task)


def test_a_missing_file_of_a_set_that_the_hub_does_not_hold_is_told_without_the_hub(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there as JSON lines$"):
        task_files("pubmedqa", data=tmp_path)


def test_the_papers_shots_are_a_tasks_own_number() -> None:
    assert metadata("openbookqa")["shots"] == 5
    assert [path.name for path in task_files("openbookqa", data=ROWS, num_fewshot=None)][1:] == [
        "openbookqa.jsonl",
        "openbookqa_dev.jsonl",
    ]
    assert len(task_files("hellaswag", data=ROWS, num_fewshot=None)) == 2
    with pytest.raises(InputError, match="5 shots asked of openbookqa, 3 examples at hand: ask for fewer"):
        load_parts("openbookqa", data=ROWS, num_fewshot=None)
    with pytest.raises(InputError, match=r"3 shots asked of social_iqa, 3 examples at hand \(one more is drawn"):
        load_parts("social_iqa", data=ROWS, num_fewshot=3)


def test_ready_prompts_take_no_more_shots() -> None:
    with pytest.raises(InputError, match="adaptllm_fpb has its examples in its prompts: ask for 0 shots, not 2"):
        load_parts("adaptllm_fpb", data=ROWS, num_fewshot=2)
    assert load_parts("adaptllm_fpb", data=ROWS, num_fewshot=None)
    with pytest.raises(InputError, match="num_fewshot is -1"):
        task_files("mmlu", num_fewshot=-1)


def test_items_know_their_row_whatever_the_limit() -> None:
    [part] = load_parts("piqa", limit=3).values()
    [whole] = load_parts("piqa").values()
    rows = list(whole.eval_docs)
    assert [row[PLACE] for row in rows] == list(range(len(rows)))
    assert [rows[row[PLACE]] for row in part.eval_docs] == list(part.eval_docs)
    assert list(part.eval_docs)[-1][PLACE] > 2


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ("hellaswag", "ctx_b"),
        ("social_iqa", "answerC"),
        ("adaptllm_headline", "class_id"),
        ("adaptllm_ner", "label"),
        ("openbookqa", "choices"),
    ],
)
def test_a_missing_field_is_named(task: str, field: str, tmp_path: Path) -> None:
    rows = [orjson.loads(line) for line in (ROWS / f"{task}.jsonl").read_bytes().splitlines()]
    del rows[1][field]
    (tmp_path / f"{task}.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    with pytest.raises(
        InputError, match=rf"{task}.jsonl: row 2 has no field '{field}', only .*; {task} takes .*{field}"
    ):
        load_parts(task, data=tmp_path)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "piqa.jsonl").write_text("[1, 2]\n")
    with pytest.raises(InputError, match="a line that is no JSON object"):
        load_parts("piqa", data=tmp_path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as a data set of the Hub, which our task files point to; the Hub's own library reads it."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository, tasks = tmp_path / "repository", tmp_path / "tasks"
    repository.mkdir()
    tasks.mkdir()
    configs = []
    for task in ("social_iqa", "adaptllm_headline", "adaptllm_ner"):
        config = yaml.safe_load((benchmarks._TASK_FOLDER / f"{task}.yaml").read_text().replace("!function ", ""))
        splits = {config.get("test_split") or config["validation_split"]: ROWS / f"{task}.jsonl"}
        if "training_split" in config:
            splits[config["training_split"]] = ROWS / f"{task}_dev.jsonl"
        files = [{"split": split, "path": f"{task}-{split}.jsonl"} for split in splits]
        for split, path in splits.items():
            (repository / f"{task}-{split}.jsonl").write_bytes(path.read_bytes())
        configs.append({"config_name": task, "data_files": files})
        config |= {"dataset_path": str(repository), "dataset_name": task, "dataset_kwargs": {}}
        (tasks / f"{task}.yaml").write_text(yaml.safe_dump(config))
    (repository / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    monkeypatch.setattr(benchmarks, "_TASK_FOLDER", tasks)
    return repository


@pytest.mark.parametrize(
    ("task", "num_fewshot"), [("social_iqa", 0), ("social_iqa", 2), ("adaptllm_headline", 0), ("adaptllm_ner", 0)]
)
def test_rows_of_the_hub_and_of_a_folder_are_the_same(hub: Path, task: str, num_fewshot: int) -> None:
    assert len(task_files(task, data="hub", num_fewshot=num_fewshot)) == 1
    [fetched] = load_parts(task, data="hub", num_fewshot=num_fewshot).values()
    [local] = load_parts(task, data=ROWS, num_fewshot=num_fewshot).values()
    assert without_places(fetched) == without_places(local)
    assert prompts(fetched) == prompts(local)


def test_rows_that_cannot_be_fetched_are_told_with_what_to_do(hub: Path) -> None:
    (hub / "README.md").unlink()
    for path in hub.glob("*.jsonl"):
        path.unlink()
    with pytest.raises(InputError, match=r"cannot fetch .*\(social_iqa\), split validation, .*give a folder"):
        load_parts("social_iqa", data="hub")


def test_a_set_that_the_hub_holds_only_as_a_script_is_refused_there() -> None:
    with pytest.raises(InputError, match="pubmedqa has no rows on the Hub that load without code"):
        load_parts("pubmedqa", data="hub")


def test_a_suite_is_asked_as_in_the_paper_and_single_tasks_without_shots() -> None:
    suite = evaluate("some/model", suite="general", data="hub").items
    assert isinstance(suite, Evaluate)
    assert (suite.tasks, suite.num_fewshot, suite.data) == (SUITES["general"], None, "hub")
    plain = evaluate("some/model").items
    assert isinstance(plain, Evaluate)
    assert (plain.tasks, plain.num_fewshot) == (SAMPLED, 0)
    mixed = evaluate("some/model", tasks=("finance", "medqa"), num_fewshot=3).items
    assert isinstance(mixed, Evaluate)
    assert (mixed.tasks, mixed.num_fewshot) == ((*SUITES["finance"], "medqa"), 3)


def test_suite_and_tasks_together_are_refused() -> None:
    with pytest.raises(RecipeError, match="both --tasks and --suite"):
        evaluate("some/model", suite="general", tasks=("medqa",))
    with pytest.raises(InputError, match="did you mean general"):
        evaluate("some/model", suite="generl")
