"""The command ends as it should: no thread of a library outlives the interpreter with something of its own in hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import script

from instructpt.cli.commands import main

_READ = """
import os, sys
from instructpt.artifacts.storage import Folder, read_parquet
from instructpt.corpus.tables import rows
from instructpt.corpus.parts import Part
from instructpt.records import Text
folder = Folder.at(sys.argv[1])
import pyarrow.parquet
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
with folder.fs.open(folder.join("00000.parquet"), "rb") as file:
    assert list(read_parquet(file, Text))
assert list(rows(Part(folder.join("00000.parquet"), "parquet")))
print(count() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux lists them")
def test_reading_records_starts_no_thread_that_holds_the_file(tmp_path: Path) -> None:
    """One of Arrow's threads lets go of it late, and aborted `show` at its exit, once in 30 runs on a busy machine."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", corpus_rows(4))
    assert main(["augment", str(corpus), "--mine", "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert script(_READ, tmp_path / "out" / "texts").strip() == "0"
