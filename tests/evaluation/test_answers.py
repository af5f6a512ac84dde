"""What a user relies on when models that were not tuned to answer are asked: log-probabilities that are right."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from instructpt.errors import InputError
from instructpt.evaluation import answers
from instructpt.evaluation.answers import Reader, ScoredRow, answer, choice_values, load_reader, prompt, row_nats
from instructpt.evaluation.harness import load_model
from instructpt.records import Document, Pair, Shot

TEXT = "The bridge over the Cole was built in 1843. It carries two railway lines. The county paid for it."
FREE = Pair("Who paid?", "the county")
CHOICE = Pair("When was it built?", "in 1843", ("in 1921", "in 1843", "in spring, when the valley floods"))
SHOT = Shot(Document("a", TEXT, "bridges"), (FREE, CHOICE))


@pytest.fixture(scope="module")
def reader(tiny_model: Path) -> Reader:
    return load_reader(tiny_model)


def test_the_prompt_is_plain_text_with_the_options_as_lines() -> None:
    assert prompt("A text.", CHOICE) == (
        "A text.\n\nWhen was it built?\n- in 1921\n- in 1843\n- in spring, when the valley floods\nAnswer:"
    )
    assert prompt("", FREE) == "Who paid?\nAnswer:"


def test_values_are_those_that_the_harness_gets_for_the_same_text(reader: Reader, tiny_model: Path) -> None:
    from lm_eval.api.instance import Instance

    free, choice = answer(reader, SHOT, task="bridges", place=3).items
    model = load_model(tiny_model)
    asked = [(prompt(TEXT, FREE), " the county"), *((prompt(TEXT, CHOICE), f" {option}") for option in CHOICE.options)]
    requests = [Instance("loglikelihood", {}, arguments, 0) for arguments in asked]
    paid, *nats = [found for found, _ in model.loglikelihood(requests)]
    assert free.values["bits_per_byte"] == pytest.approx(-paid / math.log(2) / len("the county"), rel=1e-5)
    assert choice.values["bits_per_byte"] == pytest.approx(-nats[1] / math.log(2) / len("in 1843"), rel=1e-5)
    weights = [math.exp(each) for each in nats]
    assert choice.values["gold_probability_plain"] == pytest.approx(weights[1] / sum(weights), rel=1e-4)
    assert (choice.task, choice.place, choice.part, choice.gold) == ("bridges", 3, "1", "in 1843")
    assert choice.values["choice_accuracy"] == float(choice.answer == "in 1843")
    assert choice.num_bytes == len("in 1843")


def test_rows_read_together_count_as_if_read_alone(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ScoredRow((0, *range(9, 60), *tail), 52) for tail in ((7,), (7, 8, 9), (7, 8, 10, 11), (300,))]
    rows += [ScoredRow((0, 9, 500, 501), 2), ScoredRow((0, 700, 701), 1)]
    alone = row_nats(replace(reader, reads_trees=False), rows)
    assert reader.reads_trees
    assert row_nats(reader, rows) == pytest.approx(alone, rel=1e-5)
    monkeypatch.setattr(answers, "MAX_TREE_TOKENS", 60)
    assert row_nats(reader, rows) == pytest.approx(alone, rel=1e-5)
    monkeypatch.setattr(answers, "MAX_LOGITS", reader.vocabulary.size * 2)
    assert row_nats(reader, rows) == pytest.approx(alone, rel=1e-5)


def test_one_option_more_changes_no_other(reader: Reader) -> None:
    rows = [ScoredRow((0, *range(9, 30), *tail), 22) for tail in ((7, 5), (7, 6))]
    one, both = row_nats(reader, rows[:1]), row_nats(reader, rows)
    assert both[0] == pytest.approx(one[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["window", "learned positions"])
def test_models_of_other_kinds_are_read_row_by_row(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    torch.manual_seed(0)
    if kind == "window":
        config = MistralConfig.from_pretrained(tiny_model, sliding_window=8)
        MistralForCausalLM(config).save_pretrained(folder)
    else:
        GPT2LMHeadModel(GPT2Config(vocab_size=1024, n_positions=256, n_embd=32, n_layer=1, n_head=2)).save_pretrained(
            folder
        )
    reader = load_reader(folder)
    assert not reader.reads_trees
    found = answer(reader, SHOT, task="t", place=0)
    assert all(math.isfinite(value) for item in found.items for value in item.values.values())


def test_a_passage_that_is_too_long_is_cut_at_a_sentence_from_the_left(reader: Reader) -> None:
    sentences = [f"Pillar number {number} stands on piles of oak. " for number in range(60)]
    shot = replace(SHOT, document=Document("a", "".join(sentences), "bridges"))
    found = answer(reader, shot, task="t", place=0)
    assert found.is_cut
    assert len(found.items) == 2
    ends = ["".join(sentences[number:]) for number in range(1, 60)]
    kept = [
        end
        for end in ends
        if answer(reader, replace(shot, document=Document("a", end, "b")), task="t", place=0)
        == replace(found, is_cut=False)
    ]
    assert len(kept) == 1, "what is left begins with a sentence, and fits by itself"


def test_a_sentence_longer_than_the_model_is_cut_inside(reader: Reader) -> None:
    shot = replace(SHOT, document=Document("a", "and the piles of oak " * 200, "bridges"))
    found = answer(reader, shot, task="t", place=0)
    assert found.is_cut
    assert len(found.items) == 2


def test_a_question_longer_than_the_model_is_left_out_by_name(reader: Reader) -> None:
    long = Pair("Why? " * 300, "because")
    found = answer(reader, replace(SHOT, pairs=(long, FREE)), task="t", place=0)
    assert found.too_long == (long,)
    assert [item.part for item in found.items] == ["1"]
    alone = answer(reader, replace(SHOT, pairs=(FREE,)), task="t", place=0)
    assert found.items[0].values == pytest.approx(alone.items[0].values)
    nothing = answer(reader, replace(SHOT, pairs=(long,)), task="t", place=0)
    assert not nothing.items


def test_probability_of_gold_by_hand() -> None:
    values = choice_values([math.log(0.2), math.log(0.04)], num_bytes=[1, 2], gold=1)
    assert values["gold_probability"] == pytest.approx(0.5), "0.2 a byte, both"
    assert values["gold_probability_plain"] == pytest.approx(0.04 / 0.24)
    assert values["bits_per_byte"] == pytest.approx(-math.log2(0.2))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        load_reader(tmp_path)
