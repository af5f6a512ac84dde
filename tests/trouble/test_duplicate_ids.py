"""Ids repeat, are empty, hold line breaks: a row is its place in a file, never its id, so all rows come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import SENTENCES
from disturbed import records, tally

from benchmarks.scripted_engine import SCRIPTED
from instructpt.cli.commands import main

IDS: dict[str, list[Any]] = {
    "all the same": ["same"] * 12,
    "empty": [""] * 12,
    "blank and line breaks": ["a\nb", "a\r\nb", "\n", "\t", " ", "a\u2028b", "a\x00b", "\n\n", "a\nb", "'", '"', "\\"],
    "like ours": ["a.jsonl:0", "00000-0:a", "0", "00000", ".", "..", "/", "a/../b", "*", "00000.parquet", "b:1", "b"],
    "numbers and what is no id": [1, 1.0, 1.5, True, None, [], {}, -1, 10**18, "1", "1.0", "None"],
    "very long": ["x" * 100_000] * 12,
}


def rows(ids: list[Any], *, file: str) -> list[dict[str, Any]]:
    """Each with a text of its own."""
    return [
        {"id": value, "text": f"Row {i} of file {file}. {SENTENCES[i % 8]} {SENTENCES[(i + 3) % 8]}"}
        for i, value in enumerate(ids)
    ]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("kind", ["mined", "asked"])
def test_every_row_comes_out_whatever_its_id(tmp_path: Path, vocabulary_folder: Path, name: str, kind: str) -> None:
    """In two files that have the same ids."""
    (corpus := tmp_path / "corpus").mkdir()
    for file in ("a", "b"):
        lines = [orjson.dumps(row) for row in rows(IDS[name], file=file)]
        (corpus / f"{file}.jsonl").write_bytes(b"\n".join(lines))
    model = ["--model", str(vocabulary_folder), "--engine", SCRIPTED, "--passage-tokens", "300"]
    flags = model if kind == "asked" else ["--mine"]
    out = tmp_path / "out"
    assert main(["augment", str(corpus), *flags, "--workers", "1", "--out", str(out)]) == 0
    for stage in ("documents", "filtered", "passages", "groups"):
        assert tally(out, stage)["taken"] == tally(out, stage)["kept"] == 24, stage
    documents = [shot["document"] for group in records(out, "groups") for shot in group["shots"]]
    wanted = [row["text"] for file in ("a", "b") for row in rows(IDS[name], file=file)]
    assert [document["text"] for document in documents] == wanted
    everything = "".join(row["text"] for row in records(out, "texts"))
    assert all(everything.count(f"Row {i} of file {file}.") >= 1 for i in range(12) for file in "ab")
    ids = [group["id"] for group in records(out, "groups")]
    assert len(set(ids)) == len(ids) == 12
