"""Training from the command line: what a stopped or killed run ends with, and what it is made of."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from conftest import corpus_rows, write_corpus
from tiny_recipe import tiny

from instructpt.artifacts import Run, make
from instructpt.cli import main
from instructpt.errors import InputError, RecipeError
from instructpt.stages.corpus import BuildVocabulary
from instructpt.stages.training import Source

RECIPE = f"{Path(__file__).parent / 'fixtures' / 'tiny_recipe.py'}:tiny"
STEPS = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60))


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert main(words(corpus, out)) == 0
    return out


def words(corpus: Path, out: Path) -> list[str]:
    return ["run", RECIPE, "--file", str(corpus), "--steps", str(STEPS), "--out", str(out), "--workers", "1"]


def disturb(corpus: Path, out: Path, number: signal.Signals, *, after_steps: int) -> tuple[int, str]:
    """Start the run and send it a signal once it has done some steps; its exit status and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "instructpt.cli", *words(corpus, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = out / "model" / "00000.open" / "00000" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= after_steps:
            break
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error


def weights(out: Path) -> bytes:
    return (out / "model" / "00000" / "model" / "model.safetensors").read_bytes()


def losses(out: Path) -> list[float]:
    lines = (out / "model" / "00000" / "metrics.jsonl").read_bytes().splitlines()
    return [orjson.loads(line)["loss"] for line in lines]


def test_ctrl_c_leaves_a_checkpoint_and_the_same_command_ends_with_the_same_weights(
    corpus: Path, undisturbed: Path, tmp_path: Path
) -> None:
    status, error = disturb(corpus, tmp_path, signal.SIGINT, after_steps=3)
    assert status == 130
    assert "the same command goes on from there" in error
    assert "Traceback" not in error
    checkpoints = list((tmp_path / "model" / "00000.open" / "00000" / "checkpoints").glob("step-*"))
    assert len(checkpoints) == 1
    assert (checkpoints[0] / "config.json").exists()
    assert main(words(corpus, tmp_path)) == 0
    assert weights(tmp_path) == weights(undisturbed)
    assert losses(tmp_path) == losses(undisturbed)


def test_sigkill_changes_nothing(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    status, _ = disturb(corpus, tmp_path, signal.SIGKILL, after_steps=5)
    assert status == -signal.SIGKILL
    assert main(words(corpus, tmp_path)) == 0
    assert weights(tmp_path) == weights(undisturbed)
    assert losses(tmp_path) == losses(undisturbed)


def test_the_model_learns_and_is_a_folder_that_others_read(undisturbed: Path) -> None:
    assert len(losses(undisturbed)) == STEPS
    assert sum(losses(undisturbed)[-5:]) < sum(losses(undisturbed)[:5])
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = undisturbed / "model" / "00000" / "model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The bridge over", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape[-1] == 400


def test_more_repetition_than_allowed_is_refused(corpus: Path, tmp_path: Path) -> None:
    stage = dataclasses.replace(tiny(file=str(corpus), steps=30), max_epochs=0.5)
    with pytest.raises(RecipeError, match=r"more than the 0\.5 allowed"):
        make(stage, Run(root=str(tmp_path), workers=1))


def test_a_base_of_another_vocabulary_is_refused(corpus: Path, tmp_path: Path) -> None:
    base = tiny(file=str(corpus), steps=2)
    documents = base.mixture[0].rows.texts.groups  # type: ignore[attr-defined]
    words = BuildVocabulary(name="other-vocabulary", texts=(documents,), size=300)
    rows = dataclasses.replace(base.mixture[0].rows, name="other-rows", vocabulary=words)
    stage = dataclasses.replace(
        base, name="tuned", base=base, shape=None, vocabulary=words, mixture=(Source(rows=rows),)
    )
    with pytest.raises(InputError, match=r"goes on from model, which has another vocabulary"):
        make(stage, Run(root=str(tmp_path), workers=1))


def test_a_model_is_evaluated_from_the_command_line(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = undisturbed / "model" / "00000" / "model"
    flags = ["--tasks", "piqa", "winogrande", "--limit", "4", "--out", str(tmp_path / "scores")]
    assert main(["evaluate", str(folder), *flags]) == 0
    shown = capsys.readouterr().out
    assert "piqa" in shown
    assert "winogrande" in shown
    assert main(["evaluate", str(folder), "--tasks", "nothing", "--out", str(tmp_path / "other")]) == 2
    assert "no evaluation task is called 'nothing'" in capsys.readouterr().err
