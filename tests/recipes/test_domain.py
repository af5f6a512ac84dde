"""Going on from a base: the paper's way, what suits a small corpus, and the demo."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import corpus_rows
from experiments import run, stages_of
from rich.console import Console

from instructpt.artifacts import fingerprint
from instructpt.assembly.rows import open_rows
from instructpt.cli.results import print_plan
from instructpt.corpus.stages import Portion
from instructpt.errors import InputError, RecipeError
from instructpt.executors.make import make
from instructpt.recipes import small_corpora
from instructpt.recipes.demo import demo
from instructpt.recipes.domain import domain
from instructpt.recipes.flags import Reading
from instructpt.records import Text
from instructpt.report import render
from instructpt.report.artifacts import load_one
from instructpt.report.estimate import Wishes
from instructpt.synthesis.stages import Synthesize
from instructpt.training.settings import Lora
from instructpt.training.stages import Train
from instructpt.words.vocabulary import load


@pytest.fixture(scope="module")
def go_on(corpus: str, small_model: str) -> Callable[..., Train]:
    """Recipe domain with a tiny base and a corpus of sixty documents."""
    return partial(domain, base=small_model, files=(corpus,), precision="float32")


def test_a_domain_gets_instructions_one_to_one_and_three_rounds(small_model: str, go_on: Callable[..., Train]) -> None:
    model = go_on(corpus_size="large")
    assert [(source.rows.name, source.share) for source in model.mixture] == [
        ("instruct-rows", 1.0),
        ("instructions-rows", 1.0),
    ]
    assert (model.base, model.vocabulary) == (small_model, small_model)
    assert model.settings.steps == 4000
    (synthesis,) = stages_of(model, Synthesize)
    assert synthesis.shots == 3
    assert not [stage for stage in stages_of(model, Portion) if stage.start > 0], "all texts are augmented"
    alone = go_on(arm="without_corpora", corpus_size="large")
    assert [source.rows.name for source in alone.mixture] == ["instructions-rows"]


def test_pairs_apart_never_share_a_row_with_their_passage(tmp_path: Path, go_on: Callable[..., Train]) -> None:
    model = go_on(arm="mined", pair_layout="apart", row_tokens=256)
    rows = model.mixture[0].rows
    make(rows, run(tmp_path))
    texts = {text.id: text for text in load_one(str(tmp_path / rows.texts.name)).records(Text)}
    assert {text.kind for text in texts.values()} == {"raw", "augmented"}
    packed = open_rows(tmp_path / "mined-rows" / "joined")
    for row in range(len(packed)):
        there = {origin.id for origin in packed.documents_in([row])}
        known = [texts[name].passage for name in there if texts[name].passage]
        assert len(set(known)) == len(known)
    beside = go_on(arm="instruct")
    apart = go_on(arm="instruct_apart")
    assert stages_of(beside, Synthesize) == stages_of(apart, Synthesize), "the same pairs"


def test_a_small_corpus_gets_what_suits_it_and_the_plan_says_why(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: str, go_on: Callable[..., Train]
) -> None:
    size = small_corpora.corpus_tokens((corpus,), base=small_model, reading=Reading())
    texts = [row["text"] for row in corpus_rows(60)]
    assert size == sum(map(len, load(small_model).encode(texts)))
    model = go_on()
    step_tokens = model.batch_rows * model.mixture[0].rows.row_tokens
    assert model.settings.steps == 8 * size // step_tokens
    assert (model.max_epochs, step_tokens) == (16, 4096)
    assert [source.rows.name for source in model.mixture] == ["instruct-rows", "replay-rows"]
    shares = [source.share for source in model.mixture]
    assert shares[1] / sum(shares) == pytest.approx(0.1)
    assert model.settings.learning_rate == pytest.approx(3 * 0.09 * 0.46 / 256, rel=0.05)
    assert {setting for setting, _, _ in model.choices} == {
        "budget",
        "a step",
        "a row",
        "highest rate",
        "general instructions",
        "general text again",
        "most passes",
    }
    told = io.StringIO()
    print_plan(model, run(tmp_path), Wishes(sample_documents=5), console=Console(file=told, width=200))
    assert "Chosen where the flags say nothing" in told.getvalue()
    assert "so that the base forgets less" in told.getvalue()
    given = go_on(training_tokens=40_960, learning_rate=1e-5, replay_share=0.0)
    assert (given.settings.steps, given.settings.learning_rate, len(given.mixture)) == (10, 1e-5, 1)
    assert not {"budget", "highest rate", "general text again"} & {setting for setting, _, _ in given.choices}
    assert fingerprint(model, run(tmp_path)) == fingerprint(replace(model, choices=()), run(tmp_path))
    monkeypatch.setattr(small_corpora, "SMALL_CORPUS_TOKENS", size)
    large = go_on()
    assert (large.settings.steps, large.choices) == (4000, ())


def test_the_control_for_format_has_pairs_of_other_passages(go_on: Callable[..., Train]) -> None:
    model = go_on(arm="mixed", replay_share=0.0)
    assert [(source.rows.name, source.share) for source in model.mixture] == [("mixed-rows", 1.0), ("tasks-rows", 1.0)]
    assert not stages_of(model, Synthesize)


def test_a_small_corpus_can_be_learned_with_adapters(go_on: Callable[..., Train]) -> None:
    whole, adapters = (go_on(**settings) for settings in ({}, {"lora_rank": 4, "lora_layers": 1}))
    assert whole.settings.lora is None
    assert adapters.settings.lora == Lora(rank=4, alpha=8, last_layers=1)
    assert adapters.settings.learning_rate == pytest.approx(10 * whole.settings.learning_rate, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arm": "without_tasks"}, "choose from raw, mixed|did you mean"),
        ({"row_tokens": 4096}, "reads 1024 tokens: give at most that"),
        ({"base": "nowhere/at/all"}, "no model folder at"),
    ],
)
def test_a_mistake_about_a_base_is_told_before_any_work(
    settings: dict[str, object], message: str, go_on: Callable[..., Train]
) -> None:
    with pytest.raises((RecipeError, InputError), match=message):
        go_on(**settings)


def test_the_demo_ends_with_an_exam_of_three_models(tmp_path: Path, small_model: str) -> None:
    """The same road as `make demo`, with a tiny base and scripted pairs."""
    stage = demo(
        documents=24,
        base=small_model,
        synthesizer=small_model,
        training_tokens=512,
        questions=1,
        max_new_tokens=2,
        lora_rank=2,
        lora_layers=1,
        precision="float32",
    )
    raw, instruct = stages_of(stage, Train)
    assert (raw.settings, raw.base) == (instruct.settings, small_model)
    make(stage, run(tmp_path))
    scores = {(score.model, score.metric): score for score in run(tmp_path).records(stage)}
    assert {model for model, _ in scores} == {"before", "raw", "instruct"}
    assert scores["instruct", "bits_per_byte/from_raw"].value == pytest.approx(
        scores["instruct", "bits_per_byte"].value - scores["raw", "bits_per_byte"].value
    )
    assert scores["before", "bits_per_byte"].count == 24
    page = render(str(tmp_path), title="Demo")
    assert "instruct against raw, the same 24 questions" in page
