"""Training from the command line: what a stopped or killed run ends with, and what it is made of."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import orjson
import pytest
import torch
from conftest import corpus_rows, write_corpus
from forked import fork
from safetensors.torch import load_file, save_file
from tiny_recipe import tiny

from instructpt.artifacts import Run
from instructpt.cli.commands import main
from instructpt.corpus.stages import BuildVocabulary
from instructpt.errors import InputError, RecipeError
from instructpt.executors.make import make
from instructpt.training.checkpoints import latest
from instructpt.training.stages import Source

RECIPE = f"{Path(__file__).parents[1] / 'fixtures' / 'tiny_recipe.py'}:tiny"
STEPS = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60))


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    assert main(words(corpus, out)) == 0
    return out


def words(corpus: Path, out: Path, *more: str) -> list[str]:
    return ["run", RECIPE, "--file", str(corpus), "--steps", str(STEPS), "--out", str(out), "--workers", "1", *more]


def disturb(corpus: Path, out: Path, number: signal.Signals, *more: str, after_steps: int) -> tuple[int, str]:
    """Start the run and send it a signal once it has done some steps; its exit status and what it said."""
    said, threads = Path(f"{out}-said"), torch.get_num_threads()
    process = fork(main, words(corpus, out, *more), folder=said, num_threads=threads)
    metrics = out / "model" / "00000.open" / "00000" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < after_steps:
        assert process.is_alive(), process.complained()
        time.sleep(0.01)
    process.send(number)
    return process.end(), process.complained()


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


def test_sigkill_and_a_checkpoint_cut_short_change_nothing(corpus: Path, undisturbed: Path, tmp_path: Path) -> None:
    often = ("--training-options", "checkpoint_every_steps=4")
    status, _ = disturb(corpus, tmp_path, signal.SIGKILL, *often, after_steps=9)
    assert status == -signal.SIGKILL
    earlier, newest = sorted((tmp_path / "model" / "00000.open" / "00000" / "checkpoints").glob("step-*"))[-2:]
    weights_file = newest / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-100])
    assert latest(earlier.parent.parent) == earlier
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


def test_a_budget_of_more_tokens_than_there_are_is_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--shape", "1m", "--vocabulary-size", "400", "--row-tokens", "64", "--batch-tokens", "256"]
    flags = ["--arm", "raw", "--files", str(corpus), *sizes, "--precision", "float32", "--workers", "1"]
    assert main(["run", "general", *flags, "--pretraining-tokens", "1000000", "--out", str(tmp_path)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("instructpt: ")]
    assert "source 'raw-rows' has" in line
    assert "times, more than the 4 allowed" in line
    assert "train on at most" in line


def test_rows_of_another_tokenizer_are_refused_naming_both(corpus: Path, tmp_path: Path) -> None:
    stage = tiny(file=str(corpus), steps=2)
    documents = stage.mixture[0].rows.texts.groups  # type: ignore[attr-defined]
    other = BuildVocabulary(name="other-vocabulary", texts=(documents,), size=300)
    with pytest.raises(
        InputError, match="rows was packed with the vocabulary of vocabulary, model has that of other-vocabulary: pack"
    ):
        make(dataclasses.replace(stage, vocabulary=other), Run(root=str(tmp_path), workers=1))


@pytest.mark.parametrize(
    ("damaged", "number", "status", "told"),
    [
        (slice(0, 1), torch.nan, 2, ["1 of 128 numbers of model.norm.weight are NaN", "take an earlier checkpoint"]),
        # Numbers all, but what they give is none.
        (slice(None), 3e38, 1, ["step 1: the loss is nan; in its batch: 00000-00000000:rivers", "lower learning_rate"]),
    ],
)
def test_a_base_that_gives_no_numbers_is_told_by_its_tensor_or_with_the_names_of_the_texts(
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: slice,
    number: float,
    status: int,
    told: list[str],
) -> None:
    base = tmp_path / "base"
    shutil.copytree(undisturbed / "model" / "00000" / "model", base)
    values = load_file(base / "model.safetensors")
    values["model.norm.weight"][damaged] = number
    save_file(values, base / "model.safetensors", metadata={"format": "pt"})
    pairs = write_corpus(
        tmp_path / "pairs.jsonl",
        [{"dataset": "mine", "context": "", "id": "rivers", "question": "Name two rivers.", "answer": "Rhine, Cole"}],
    )
    sizes = ["--row-tokens", "64", "--batch-tokens", "64", "--precision", "float32", "--workers", "1"]
    command = ["run", "instruct", str(base), "--pairs", str(pairs), *sizes, "--out", str(tmp_path / "out")]
    assert main(command) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("instructpt: ")]
    assert all(part in line for part in told)


REFUSALS = [(403, "GatedRepo"), (401, "GatedRepo"), (403, ""), (401, "")]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_a_base_behind_a_licence_says_what_to_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
) -> None:
    """A server that answers as the Hub does."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        flags = ["--base", "owner/gated", "--files", "my.jsonl", "--out", str(tmp_path)]
        try:
            assert main(["run", "domain", *flags]) == 2
        finally:
            server.shutdown()
    (line,) = capsys.readouterr().err.splitlines()
    assert "owner/gated" in line
    assert "accept its licence at https://huggingface.co/owner/gated" in line
    assert "HF_TOKEN" in line


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
