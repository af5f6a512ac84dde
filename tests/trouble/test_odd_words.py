"""Words of the command line and terminals that make no sense: one line each, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import command, complaint

from instructpt.cli import commands
from instructpt.cli.commands import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over a text with letters that not every terminal can show."""
    folder = tmp_path_factory.mktemp("made")
    rows = corpus_rows(3)
    rows[0]["text"] = f"Żółć, 東京 — “naïve”. {rows[0]['text']}"
    corpus = write_corpus(folder / "corpus.jsonl", rows)
    assert main(["augment", str(corpus), "--mine", "--out", str(folder / "out"), "--workers", "1"]) == 0
    return folder / "out"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["augment", "FILES", "--mine", "--out", ""], "--out is empty"),
        (["augment", "FILES", "--mine", "--out", " "], "--out is empty"),
        (["show", ""], "the name of a folder is empty"),
        (["report", ""], "the name of a folder is empty"),
        (["export", "", "--to", "jsonl", "--out", "x"], "the name of a folder is empty"),
        (["export", "MADE", "--to", "jsonl", "--out", ""], "'' is no folder"),
        (["export", "MADE", "--to", "jsonl", "--out", "FILES"], "is no folder: give an empty or new one"),
        (["show", "MADE", "-5"], "--number is -5: give at least 0"),
    ],
)
def test_words_that_make_no_sense(
    words: list[str],
    message: str,
    made: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"FILES": str(made.parent / "corpus.jsonl"), "MADE": str(made / "texts")}
    assert main([names.get(word, word) for word in words]) == 2
    assert message in complaint(capfd.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_a_letter(encoding: str, made: Path) -> None:
    words, environment = command("show", made / "texts", 5), os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(words, capture_output=True, timeout=120, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u6771\u4eac" in done.stdout


def test_an_error_of_no_known_kind_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems raise errors of their own, which are no OSErrors."""

    class ClientError(Exception):
        pass

    def denied(words: list[str]) -> None:
        raise ClientError("An error occurred (AccessDenied)\nwhen calling PutObject")

    monkeypatch.setitem(commands.COMMANDS, "show", denied)
    assert main(["show", "s3://bucket/texts"]) == 1
    assert "ClientError: An error occurred (AccessDenied) when calling" in complaint(capfd.readouterr().err)
    with pytest.raises(ClientError):
        main(["show", "s3://bucket/texts", "--debug"])
