"""Somebody starts it twice: the second run says so at once, and the first one does not notice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint, started, wait_until

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED
from instructpt.cli.commands import main


def test_a_second_run_on_the_same_folder_refuses_and_the_first_goes_on(
    tmp_path: Path, vocabulary_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus, out, log = write_corpus(tmp_path / "my.jsonl", corpus_rows(10)), tmp_path / "out", tmp_path / "asked.log"
    model = ["--model", vocabulary_folder, "--engine", SCRIPTED, "--passage-tokens", 64, "--workers", 1]
    slow = ["--engine-options", "delay_seconds=0.2", f"log={log}"]
    assert main(["augment", *map(str, [corpus, *model, "--out", tmp_path / "whole"])]) == 0
    with started("augment", corpus, *model, *slow, "--out", out, folder=tmp_path / "said") as first:
        wait_until(log.exists)
        first.send(signal.SIGSTOP)  # it holds the folder as long as we like
        for words in (["augment", corpus, *model], ["augment", corpus, "--mine"], ["plan", "augment", corpus, *model]):
            status = main([*map(str, words), "--out", str(out)])
            said = capfd.readouterr().err
            if words[0] == "plan":
                assert status == 0
            else:
                assert status == 2
                assert "another run works in" in complaint(said)
                assert "wait for it, or give another output folder" in said
        first.send(signal.SIGCONT)
        assert first.end() == 0, first.complained()
    assert contents(out) == contents(tmp_path / "whole")
    asked = log.read_text().splitlines()
    assert len(asked) == len(set(asked))


def test_a_run_that_was_killed_leaves_no_lock_behind(tmp_path: Path, vocabulary_folder: Path) -> None:
    corpus, out, log = write_corpus(tmp_path / "my.jsonl", corpus_rows(4)), tmp_path / "out", tmp_path / "asked.log"
    model = ["--model", vocabulary_folder, "--engine", SCRIPTED, "--passage-tokens", 64, "--workers", 1]
    slow, said = ["--engine-options", "delay_seconds=30", f"log={log}"], tmp_path / "said"
    with started("augment", corpus, *model, *slow, "--out", out, folder=said):
        wait_until(lambda: (out / "groups" / "recipe.json").exists())
    assert main(["augment", *map(str, [corpus, *model, "--out", out])]) == 0
