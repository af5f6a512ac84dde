"""The output folder cannot be written: one line says so, and nothing of what lies there is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint, script

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts.storage import Folder
from instructpt.cli.commands import main
from instructpt.errors import StorageError

READ_ONLY = """
import sys
from disturbed import augmenting, complaint, forked
corpus, out, model = sys.argv[1:]
status, said = forked(augmenting(corpus, out, model=model))
assert status in (1, 2), said
print(complaint(said))
"""
BIND = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && "$@"'
HALF = """
import sys
from disturbed import augmenting, forked
corpus, out, model = sys.argv[1:]
def die(prompt):
    raise MemoryError("no more")
status, said = forked(augmenting(corpus, out, model=model, engine_options={"script": die}))
assert status == 99 and "MemoryError" in said, said
"""


def said_of_read_only(folder: Path, *arguments: Path) -> str:
    """What the run says while `folder` is read-only: by a mount for root, whom permissions do not stop."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        for path in folder.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            return script(READ_ONLY, *arguments)
        finally:
            folder.chmod(0o755)
            for path in folder.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        test = ["unshare", "--mount", "sh", "-c", BIND, str(folder), "true"]
        subprocess.run(test, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this root may not mount")
    return script(READ_ONLY, *arguments, before=("unshare", "--mount", "sh", "-c", BIND, str(folder)))


@pytest.mark.parametrize("begun", ["nothing there", "half done"])
def test_a_read_only_folder_is_named_and_left_as_it_is(tmp_path: Path, vocabulary_folder: Path, begun: str) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(6)), tmp_path / "out"
    out.mkdir()
    if begun == "half done":
        script(HALF, corpus, out, vocabulary_folder)
        assert (out / "passages" / "manifest.json").exists()
    before = contents(out)
    said = said_of_read_only(out, corpus, out, vocabulary_folder)
    assert "read-only" in said or "not allowed" in said
    assert str(out) in said
    assert "run the same command again" in said
    assert contents(out) == before
    model = ["--model", vocabulary_folder, "--engine", SCRIPTED, "--passage-tokens", 64, "--workers", 1]
    for folder in (out, tmp_path / "whole"):
        assert main(["augment", *map(str, [corpus, *model, "--out", folder])]) == 0
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("place", ["out", "out/inner", "out/texts"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    if place == "out/texts":
        out.mkdir()
        (out / "texts").write_text("my thesis")
    else:
        out.write_text("my thesis")
    root = tmp_path / place.removesuffix("/texts")
    assert main(["augment", str(corpus), "--mine", "--workers", "1", "--out", str(root)]) in (1, 2)
    said = complaint(capfd.readouterr().err)
    assert str(tmp_path / place) in said
    assert "a file stands where a folder is needed" in said or "give a folder that is empty or new" in said
    assert (out / "texts" if place == "out/texts" else out).read_text() == "my thesis"


def test_what_is_finished_can_be_looked_at_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a file of the last two seconds a digest is not remembered at once, but by whoever looks later.
    monkeypatch.setattr("instructpt.artifacts.remembered._YOUNG_SECONDS", 0.0)
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(3)), tmp_path / "out"
    assert main(["augment", str(corpus), "--mine", "--workers", "1", "--out", str(out)]) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert main(["plan", "augment", str(corpus), "--mine", "--out", str(out)]) == 0
    assert main(["show", str(out / "texts"), "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / ".inputs.json").unlink()

    def refused(self: Folder, name: str, data: bytes) -> None:
        raise StorageError(f"cannot write {self.join(name)}: the file system is read-only")

    monkeypatch.setattr(Folder, "write", refused)
    assert main(["plan", "augment", str(corpus), "--mine", "--out", str(out)]) == 0
