"""What a user relies on when a file of task data is read: every row comes out, as a record or with a reason."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from instructpt.collection.neutral import TaskRecord, read_records
from instructpt.errors import InputError
from instructpt.records import Reject


def lines() -> bytes:
    good: dict[str, Any] = {
        "dataset": "stories",
        "context": "c",
        "question": "q",
        "answer": "a",
        "meta": {},
        "rationale": None,
    }
    bad: list[Any] = [
        {**good, "answer": 5},
        {**good, "options": "ab"},
        {**good, "rationale": 1},
        {"dataset": "stories"},
        [1],
    ]
    return b"\n".join([orjson.dumps(good), b"{broken", b"", *map(orjson.dumps, bad)]) + b"\n"


def test_broken_rows_are_handed_out_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines())
    first, *rest = read_records(path)
    assert first == TaskRecord("stories", "c", "q", "a")
    assert [item.reason for item in rest if isinstance(item, Reject)] == ["not_json"] + ["bad_field"] * 5


def test_packed_files_are_read_to_their_end(tmp_path: Path) -> None:
    plain, packed, frames = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz", tmp_path / "a.jsonl.zst"
    plain.write_bytes(lines() * 2)
    packed.write_bytes(gzip.compress(lines() * 2))
    frames.write_bytes(zstandard.compress(lines()) * 2)
    assert list(read_records(packed)) == list(read_records(plain))
    assert list(read_records(frames)) == list(read_records(plain))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file at .*rows\.jsonl"):
        list(read_records(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_file_that_breaks_off_is_no_shorter_file(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(compress(lines() * 100)[:-9])
    with pytest.raises(InputError, match=r"cannot read .*rows\.jsonl"):
        list(read_records(path))
