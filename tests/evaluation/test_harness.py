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
from lm_eval.api.instance import Instance

from instructpt.errors import InputError
from instructpt.evaluation.benchmarks import SAMPLE, SAMPLED, check_tasks, load_parts, task_files
from instructpt.evaluation.harness import answer_task, load_model
from instructpt.evaluation.rating import rate
from instructpt.records import Item, Score


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_model(tiny_model, batch_size=4)


def answers(model: Any, task: str, **settings: Any) -> list[Item]:
    return list(answer_task(model, task=task, **settings))


def test_every_task_gives_items_without_a_network(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for task in SAMPLED:
        items = answers(model, task, limit=4)
        assert len(items) == 4
        for item in items:
            assert item.task == task
            assert item.values["acc"] == float(item.answer == item.gold)
            assert 0 < item.values["gold_probability"] < 1
            assert 0 < item.values["gold_probability_plain"] < 1
            assert item.values["bits_per_byte"] > 0
            assert item.num_bytes > 0


def test_an_item_says_what_was_asked_and_chosen(model: Any) -> None:
    [part] = load_parts("arc_easy").values()
    items = answers(model, "arc_easy")
    assert [item.place for item in items] == list(range(len(part.eval_docs)))
    for item, row in zip(items, part.eval_docs, strict=True):
        assert item.gold == row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
        assert item.answer in row["choices"]["text"]
        assert item.num_bytes == len(item.gold.encode())
    assert items[0].values.keys() >= {"acc", "acc_norm"}


def test_answers_that_are_written_are_kept(model: Any, tmp_path: Path) -> None:
    rows = [
        {"id": 0, "input": "Name the lender. Answer:", "label": "Acme Bank (ORG)"},
        {"id": 1, "input": "Name the place. Answer:", "label": "Rome (LOC)"},
    ]
    (tmp_path / "adaptllm_ner.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    items = answers(model, "adaptllm_ner", data=tmp_path)
    assert [item.gold for item in items] == ["Acme Bank (ORG)", "Rome (LOC)"]
    assert all("\n" not in item.answer for item in items)
    assert [item.values.keys() for item in items] == [{"entity_f1"}] * 2


def test_sub_questions_are_kept(model: Any, tmp_path: Path) -> None:
    rows = [
        {"id": i, "input": f"Gold rose {i}. Did it rise?", "options": ["Yes", "No"], "gold_index": i % 2, "class_id": i}
        for i in range(3)
    ]
    (tmp_path / "adaptllm_headline.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert [item.part for item in answers(model, "adaptllm_headline", data=tmp_path)] == ["0", "1", "2"]


def test_where_a_task_says_so_the_likeliest_option_a_token_is_chosen(model: Any, tmp_path: Path) -> None:
    options = ["No", "Yes, because the price of gold rose in the week before and nobody had sold any of it"]
    row = {"id": 0, "input": "Did it rise?", "options": options, "gold_index": 0, "class_id": 0}
    (tmp_path / "adaptllm_headline.jsonl").write_bytes(orjson.dumps(row) + b"\n")
    [item] = answers(model, "adaptllm_headline", data=tmp_path)
    arguments = [("Did it rise?", f" {option}") for option in options]
    lengths = [len(model._encode_pair(*each)[1]) for each in arguments]
    nats = [found for found, _ in model.loglikelihood([Instance("loglikelihood", {}, each, 0) for each in arguments])]
    by_token = [each / length for each, length in zip(nats, lengths, strict=True)]
    assert nats[0] > nats[1], "in all, the short one is likelier"
    assert item.answer == options[by_token.index(max(by_token))]


def test_nothing_is_printed(model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    answers(model, "piqa", limit=2)
    assert capfd.readouterr() == ("", "")


def test_answers_do_not_depend_on_the_batch_size(tiny_model: Path, model: Any) -> None:
    alone = load_model(tiny_model, batch_size=1)
    for task in ("boolq", "winogrande"):
        for one, other in zip(answers(model, task, limit=6), answers(alone, task, limit=6), strict=True):
            assert (one.place, one.gold, one.answer) == (other.place, other.gold, other.answer)
            assert one.values == pytest.approx(other.values, rel=1e-4)


def test_value_and_error_are_those_of_the_harness_itself(model: Any) -> None:
    from lm_eval.evaluator import evaluate as run

    ours = scores(answers(model, "arc_easy", limit=12))
    theirs = run(model, task_dict={"tasks": load_parts("arc_easy", limit=12)})["results"]["arc_easy"]
    for metric in ("acc", "acc_norm"):
        assert ours[metric].value == pytest.approx(theirs[f"{metric},none"])
        assert ours[metric].stderr == pytest.approx(theirs[f"{metric}_stderr,none"])


def scores(items: list[Item]) -> dict[str, Score]:
    return {score.metric: score for score in rate(items, task=items[0].task, model_name="m")}


def test_a_prompt_begins_with_exactly_one_bos(model: Any, tiny_model: Path) -> None:
    from instructpt.words import vocabulary

    words = vocabulary.load(tiny_model)
    [part] = load_parts("arc_easy", limit=4).values()
    part.build_all_requests()
    for request in part.instances:
        context, answer = model._encode_pair(*request.args)
        assert context == words.sequence([request.args[0]])
        assert context.count(words.bos) == 1
        assert words.bos not in answer


def test_shots_are_put_before_the_item_and_subjects_are_put_together(model: Any) -> None:
    assert len(answers(model, "mmlu", limit=6, num_fewshot=1)) == 6
    assert len(load_parts("mmlu", limit=6, num_fewshot=1)) == 6


def test_an_item_knows_its_row_of_the_file(model: Any) -> None:
    every = {item.place: item for item in answers(model, "boolq")}
    chosen = answers(model, "boolq", limit=3)
    assert [item.place for item in chosen] == [place * len(every) // 3 for place in range(3)]
    assert [item.values["acc"] for item in chosen] == [every[item.place].values["acc"] for item in chosen]
    by_subject = answers(model, "mmlu", limit=6, num_fewshot=1)
    assert [item.place for item in by_subject] == [item.place for item in answers(model, "mmlu", limit=6)]


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
        answers(model, "pubmedqa", limit=2)
    assert "6 of 6 prompts are longer than the model's 256 tokens" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "winogrand"}, "no evaluation task is called 'winogrand': did you mean winogrande"),
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
    with pytest.raises(InputError, match=r"config\.json is of model_type .martian."):
        load_model(folder)
    shutil.copyfile(tiny_model / "config.json", folder / "config.json")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="in a pickle"):
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
    sample = answers(model, "piqa", limit=3)
    assert answers(model, "piqa", data=tmp_path, limit=3) == sample
