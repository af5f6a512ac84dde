"""What a user relies on when benchmarks are run."""

from __future__ import annotations

import logging
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.errors import InputError
from instructpt.evaluation.benchmarks import SAMPLE, TASKS, check_tasks, load_parts, task_files
from instructpt.evaluation.harness import evaluate_task, load_model


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_model(tiny_model, batch_size=4)


def test_every_task_gives_scores_without_a_network(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    scores = [score for task in TASKS for score in evaluate_task(model, task=task, limit=4, model_name="tiny")]
    assert {score.task for score in scores} == set(TASKS)
    assert {score.metric for score in scores if score.task == "arc_easy"} == {"acc", "acc_norm"}
    for score in scores:
        assert score.model == "tiny"
        assert score.count == 4
        assert score.value in (0, 0.25, 0.5, 0.75, 1)


def test_nothing_is_printed(model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    evaluate_task(model, task="piqa", limit=2, model_name="m")
    assert capfd.readouterr() == ("", "")


def test_scores_do_not_depend_on_the_batch_size(tiny_model: Path, model: Any) -> None:
    alone = load_model(tiny_model, batch_size=1)
    for task in ("boolq", "winogrande"):
        assert evaluate_task(model, task=task, limit=6, model_name="m") == evaluate_task(
            alone, task=task, limit=6, model_name="m"
        )


def test_value_and_error_are_those_of_the_harness_itself(model: Any) -> None:
    from lm_eval.evaluator import evaluate as run

    [ours] = evaluate_task(model, task="boolq", limit=12, model_name="m")
    theirs = run(model, task_dict={"tasks": load_parts("boolq", limit=12)})["results"]["boolq"]
    assert ours.value == pytest.approx(theirs["acc,none"])
    assert ours.stderr == pytest.approx(theirs["acc_stderr,none"])


def test_a_prompt_begins_with_exactly_one_bos(model: Any, tiny_model: Path) -> None:
    from instructpt import vocabulary

    words = vocabulary.load(tiny_model)
    [part] = load_parts("arc_easy", limit=4).values()
    part.build_all_requests()
    for request in part.instances:
        context, answer = model._encode_pair(*request.args)
        assert context == words.sequence([request.args[0]])
        assert context.count(words.bos) == 1
        assert words.bos not in answer


def test_shots_are_put_before_the_item_and_subjects_are_added_up(model: Any) -> None:
    [score] = evaluate_task(model, task="mmlu", limit=6, num_fewshot=1, model_name="m")
    assert score.count == 6
    assert len(load_parts("mmlu", limit=6, num_fewshot=1)) == 6


def test_a_limit_takes_items_from_the_whole_file() -> None:
    [part] = load_parts("mmlu", limit=57).values()
    assert len({row["subject"] for row in part.eval_docs}) == 57


def test_rows_may_be_packed_or_plain(tmp_path: Path) -> None:
    import gzip

    rows = [dict(row) for row in load_parts("piqa")["piqa"].eval_docs]
    data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    for name, content in (("piqa_test.jsonl.gz", gzip.compress(data)), ("piqa.jsonl", data)):
        (tmp_path / name).write_bytes(content)
        assert task_files("piqa", data=tmp_path)[1].name == name
        assert [dict(row) for row in load_parts("piqa", data=tmp_path)["piqa"].eval_docs] == rows


def test_prompts_that_are_cut_are_reported(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        evaluate_task(model, task="pubmedqa", limit=2, model_name="m")
    assert "6 of 6 prompts are longer than the model's 256 tokens" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "hellaswag"}, "no evaluation task is called 'hellaswag': choose from arc_challenge, arc_easy"),
        ({"task": "boolq", "num_fewshot": 1}, "has no boolq_dev.jsonl"),
        ({"task": "mmlu", "num_fewshot": 6}, "6 shots asked of mmlu, abstract_algebra, 5 examples"),
        ({"task": "boolq", "limit": 0}, "limit is 0"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_parts(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_is_refused_without_a_model() -> None:
    with pytest.raises(InputError, match="no evaluation task is called 'nonsense'"):
        check_tasks(["arc_easy", "nonsense"])


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        load_model(tmp_path)


def test_a_model_that_cannot_be_loaded_is_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "martian"}')
    with pytest.raises(InputError, match=r"cannot load .*martian"):
        load_model(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no model at .*safetensors"):
        load_model(folder)


def test_broken_and_empty_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "boolq.jsonl").write_text("{not json}\n")
    with pytest.raises(InputError, match="a line that is not JSON"):
        load_parts("boolq", data=tmp_path)
    (tmp_path / "boolq.jsonl").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        load_parts("boolq", data=tmp_path)


def test_without_lm_eval_the_extra_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.task", None)
    with pytest.raises(InputError, match=r"pip install 'instructpt\[eval\]'"):
        load_model(tiny_model)


def test_the_whole_benchmark_folder_can_stand_in_for_the_sample(tmp_path: Path, model: Any) -> None:
    shutil.copy(SAMPLE / "piqa.jsonl.zst", tmp_path)
    sample = evaluate_task(model, task="piqa", limit=3, model_name="m")
    assert evaluate_task(model, task="piqa", data=tmp_path, limit=3, model_name="m") == sample
