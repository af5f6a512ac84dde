"""The disk is full. One line says so, nothing is published by half, and with more room the same command goes on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import script

from benchmarks.reports import contents

RUNS = """
import resource, subprocess, sys
from pathlib import Path
from disturbed import assert_nothing_half_published, augmenting, complaint, forked
how, corpus, out, model = sys.argv[1:]
work, num_bytes, complaints = augmenting(corpus, out, model=model), 0, set()

def limit_files():  # a limit that the kernel sets to the size of each file; needs no rights
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(num_bytes), resource.RLIM_INFINITY))

def limit_disk():
    subprocess.run(["mount", "-o", f"remount,size={int(num_bytes)}", str(Path(out).parent)], check=True)

while num_bytes < 16_000_000:
    step, even = (8192, 60_000) if how == "disk" else (400, 2000)
    num_bytes = num_bytes + step if num_bytes < even else 1.5 * num_bytes
    if how == "disk":
        limit_disk()
    status, said = forked(work, before=limit_files if how == "files" else lambda: None)
    if Path(out).exists():
        assert_nothing_half_published(Path(out))
    if status == 0:
        break
    assert status == 1, said
    complaints.add(complaint(said))
else:
    raise AssertionError(f"never enough room, at last for: {said}")
print("\\n".join(sorted(complaints)))
"""
IN_A_SMALL_DISK = 'mount -t tmpfs -o size=4k small "$0" && "$@" && cp -r "$0/out" "$0/../kept"'


WHOLE = """
import sys
from disturbed import augmenting
augmenting(*sys.argv[1:3], model=sys.argv[3])()
"""


def can_mount(folder: Path) -> bool:
    """In a namespace of its own, of which nothing is left; as root, or where users may have one."""
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "small", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("how", ["files", "disk"])
def test_with_a_little_more_room_each_time_it_comes_to_the_same_end(
    tmp_path: Path, vocabulary_folder: Path, how: str
) -> None:
    """From room for nothing to room enough: whichever file it is that fails, what is finished is kept."""
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(8))
    script(WHOLE, corpus, tmp_path / "whole", vocabulary_folder)
    if how == "files":
        said = script(RUNS, how, corpus, tmp_path / "kept", vocabulary_folder)
    else:
        (small := tmp_path / "small").mkdir()
        if not can_mount(small):
            pytest.skip("only root, or one who may have name spaces, can mount a small disk")
        before = ("unshare", "--map-root-user", "--mount", "sh", "-c", IN_A_SMALL_DISK, str(small))
        said = script(RUNS, how, corpus, small / "out", vocabulary_folder, before=before)
    complaints = said.splitlines()
    assert all("run the same command again" in line or "run again" in line for line in complaints)
    for names in (["recipe.json"], [".open/00000.parquet"], ["manifest.json", "0.json", "ledger.sqlite"]):
        assert any(name in line for line in complaints for name in names), f"{names} in {complaints}"
    reason = "file size limit is reached" if how == "files" else "no space is left"
    assert any(reason in line for line in complaints)
    assert contents(tmp_path / "kept") == contents(tmp_path / "whole")
