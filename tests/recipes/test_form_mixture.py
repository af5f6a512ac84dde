"""Arm `forms`: what was written about a corpus, each part with its share of the tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.domain import domain
from instructpt.recipes.form_mixture import chosen_shares, token_shares
from instructpt.recipes.general import general
from instructpt.records import Text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(8)))


@pytest.mark.parametrize(
    ("forms", "shares", "parts"),
    [
        ("pairs=2,facts=1,paraphrase=1", "", {"raw": 0.7, "pairs": 0.15, "written": 0.15}),
        ("facts", "", {"raw": 0.7, "written": 0.3}),
        ("pairs,facts", "raw=1,pairs=1,written=2", {"raw": 0.25, "pairs": 0.25, "written": 0.5}),
        ("facts", "written", {"written": 1.0}),
    ],
)
def test_shares_of_tokens(forms: str, shares: str, parts: dict[str, float]) -> None:
    assert token_shares(forms, shares) == pytest.approx(parts)
    assert bool(chosen_shares(forms, shares)) == (not shares)


@pytest.mark.parametrize(
    ("forms", "shares", "message"),
    [
        ("", "", "arm forms needs --forms"),
        ("facts", "raw=1,pairs=1", "has pairs, which --forms 'facts' does not write"),
        ("facts", "row=1", "did you mean 'raw'"),
    ],
)
def test_a_mixture_that_cannot_be_had_is_one_line(forms: str, shares: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        token_shares(forms, shares)


def test_each_source_of_an_arm_holds_one_kind(corpus: str, chat_model: str, tmp_path: Path) -> None:
    """From random weights half of the documents are written about; the others are raw text."""
    model = general(
        files=(corpus,), arm="forms", shape="1m", synthesizer=chat_model, augmented_share=0.5, forms="pairs,facts=2"
    )
    assert [(source.rows.name, round(source.share, 2)) for source in model.mixture] == [
        ("forms-raw-rows", 0.7),
        ("forms-pairs-rows", 0.1),
        ("forms-written-rows", 0.2),
    ]
    assert "1,000 runs (arXiv 2510.01631)" in model.choices[0][2]
    run = Run(root=str(tmp_path), workers=1, engine=SCRIPTED)
    kinds = []
    for source in model.mixture:
        make(source.rows.texts, run)
        texts: list[Text] = list(run.records(source.rows.texts))
        kinds.append({text.kind for text in texts})
        assert texts
    assert kinds == [{"raw"}, {"augmented"}, {"written"}]


def test_a_base_goes_on_with_forms_beside_what_reminds_it(corpus: str, chat_model: str, small_model: str) -> None:
    model = domain(base=small_model, files=(corpus,), arm="forms", synthesizer=chat_model, forms="facts", variants=3)
    assert [source.rows.name for source in model.mixture] == ["forms-raw-rows", "forms-written-rows", "replay-rows"]
    whole = sum(source.share for source in model.mixture)
    assert [round(source.share / whole, 2) for source in model.mixture] == [0.63, 0.27, 0.1]
    assert "mixture" in {setting for setting, _, _ in model.choices}
