"""`--model remote:NAME`: the server is asked, and what it cannot do is said; nothing that failed looks like success."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint, tally

from benchmarks.scripted_server import scripted_server
from instructpt.cli.commands import main

MODEL, NAME = "shipped:synthesizer", "some/model"
FAST = ("--engine-options", "retry_seconds=0.02", "health_seconds=0.2", "gone_seconds=1")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.jsonl", corpus_rows(4))


def augment(corpus: Path, out: Path, url: str, *, name: str = NAME) -> int:
    words = ["augment", str(corpus), "--model", f"remote:{name}", "--endpoints", url, "--out", str(out), *FAST]
    return main([*words, "--workers", "1"])


def test_the_server_is_asked(corpus: Path, tmp_path: Path) -> None:
    """The context of the model that ships, whose tokens are counted in its stead, is not the server's."""
    log = tmp_path / "log"
    with scripted_server(MODEL, served_model=NAME, log=log) as server:
        assert augment(corpus, tmp_path / "out", server.url) == 0
    counts = tally(tmp_path / "out", "groups")
    assert log.read_bytes().count(b"\n") == counts["taken"] > 0
    assert counts["counts"]["pairs"] > counts["taken"]
    assert "rejects/passage_too_long" not in counts["counts"]


def test_another_name_than_the_servers_is_one_line(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with scripted_server(MODEL, served_model=NAME) as server:
        assert augment(corpus, tmp_path / "out", server.url, name="another/model") == 1
    assert f"serves no another/model but {NAME}" in complaint(capfd.readouterr().err)


def test_a_dead_server_is_one_line(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with scripted_server(MODEL) as server:
        pass
    assert augment(corpus, tmp_path / "out", server.url) == 1
    assert "no endpoint gave an answer for 1 seconds" in complaint(capfd.readouterr().err)
