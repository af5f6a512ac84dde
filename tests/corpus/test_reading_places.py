"""Reading: where files and data sets lie, how they are called, and that a change is noticed."""

from __future__ import annotations

import gzip
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from reading import MIB, json_lines, read_all, texts, write_parquet

from instructpt.corpus.readers import read, shards, sources
from instructpt.errors import InputError, RecipeError
from instructpt.records import Document


def test_a_dataset_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    rows = [{"text": f"text {i}", "n": i, "when": datetime(2024, 1, 1)} for i in range(700)]  # noqa: DTZ001
    write_parquet(tmp_path / "set" / "train.parquet", rows, row_group_size=100)
    url = f"hf://{tmp_path}/set:train"
    expected = [
        Document(f"set:train:{i}", f"text {i}", url, {"n": i, "when": "2024-01-01T00:00:00"}) for i in range(700)
    ]
    assert read_all(url) == expected
    assert read_all(url, shard_bytes=5000) == expected
    assert len(shards([url], shard_bytes=5000)) > 2

    before = sources([url])
    rows[-1]["text"] = "changed"
    write_parquet(tmp_path / "set" / "train.parquet", rows, row_group_size=100)
    assert list(before) == [url]
    assert sources([url]) != before

    for wrong in (f"hf://{tmp_path}/set:nosplit", f"hf://{tmp_path}/set", f"hf://{tmp_path}/none:train"):
        with pytest.raises(InputError, match="hf://"):
            read_all(wrong)


def test_a_dataset_url_names_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(name: str, config: str | None, *, split: str) -> Any:
        asked.append((name, config, split))
        return datasets.Dataset.from_list([{"text": "a"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for url in ("hf://owner/name:train", "hf://owner/name/en:test[:10%]", "hf://./my/own/set:train"):
        shards([url], shard_bytes=MIB)
    assert asked == [("owner/name", None, "train"), ("owner/name", "en", "test[:10%]"), ("./my/own/set", None, "train")]


def test_a_dataset_without_the_datasets_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'instructpt\[hub\]'"):
        shards(["hf://owner/name:train"], shard_bytes=MIB)


def test_other_file_systems_are_read_by_url() -> None:
    fs = fsspec.filesystem("memory")
    for name, data in {
        "a.jsonl": json_lines([{"text": "a"}]),
        "in/b.txt": b"b",
        "in/c.jsonl.gz": gzip.compress(json_lines([{"text": "c"}])),
    }.items():
        fs.pipe_file(f"/readers-test/{name}", data)
    items = read_all("memory://readers-test")
    assert texts(items) == ["a", "b", "c"]
    assert [item.source for item in items if isinstance(item, Document)] == [
        "memory://readers-test/a.jsonl",
        "memory://readers-test/in/b.txt",
        "memory://readers-test/in/c.jsonl.gz",
    ]
    assert read_all("memory://readers-test/in/*.txt") == [items[1]]
    assert list(sources(["memory://readers-test/a.jsonl"])) == ["memory://readers-test/a.jsonl"]


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("data", ["data/a.txt", "data/b.txt", "data/sub/c.txt"]),
        ("data/", ["data/a.txt", "data/b.txt", "data/sub/c.txt"]),
        ("./data/sub", ["./data/sub/c.txt"]),
        ("data/*.txt", ["data/a.txt", "data/b.txt"]),
        ("da*/**/c.txt", ["data/sub/c.txt"]),
        ("**/[ab].txt", ["data/a.txt", "data/b.txt"]),
        ("data/b.txt", ["data/b.txt"]),
        (".", ["./data/a.txt", "./data/b.txt", "./data/sub/c.txt", "./odd[1].txt"]),
        ("odd[1].txt", ["odd[1].txt"]),
    ],
)
def test_a_source_is_named_as_the_user_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, names: list[str]
) -> None:
    for name in ("data/b.txt", "data/a.txt", "data/sub/c.txt", "data/_SUCCESS", "data/.cache/x.txt", "odd[1].txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    assert [item.source for item in read_all(url) if isinstance(item, Document)] == names


def test_files_keep_the_order_they_are_given_in_and_are_read_once(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    assert texts(read_all(tmp_path / "c.txt", tmp_path, tmp_path / "a.txt")) == ["c", "a", "b"]


def test_small_files_share_a_shard_and_large_ones_are_cut(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("x" * 100)
    (tmp_path / "large.jsonl").write_bytes(json_lines([{"text": "y" * 88} for _ in range(40)]))
    cut = shards([str(tmp_path)], shard_bytes=1000)
    assert [len(shard) for shard in cut] == [10, 1, 1, 1, 1]
    with pytest.raises(RecipeError, match="shard_bytes"):
        shards([str(tmp_path)], shard_bytes=0)


def test_ids_come_from_the_row_or_its_place(tmp_path: Path) -> None:
    rows = [{"id": "mine", "text": "a"}, {"id": 7, "text": "b"}, {"id": None, "text": "c"}, {"id": ["x"], "text": "d"}]
    (tmp_path / "a.jsonl").write_bytes(json_lines(rows))
    first, second, third, fourth = read_all(tmp_path / "a.jsonl")
    places = [json_lines(rows[:i]) for i in range(4)]
    assert (first.id, second.id) == ("mine", "7")  # type: ignore[union-attr]
    assert third.id == f"a.jsonl:{len(places[2])}"  # type: ignore[union-attr]
    assert fourth == Document(f"a.jsonl:{len(places[3])}", "d", str(tmp_path / "a.jsonl"), {"id": ["x"]})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("none.jsonl", "there is no file, folder or glob match at none.jsonl"),
        ("none/*.jsonl", "no file is in none/"),
        ("empty", "no file is in empty"),
        ("photo.png", "photo.png is of no known format: files may end in .jsonl"),
        ("mixed", "no file is in mixed that can be read (1 *.png): files may end in .jsonl"),
        ("", "an input is empty ('')"),
        ("nosuch://a.jsonl", "cannot open nosuch://"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "b.png").write_text("b")
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(InputError) as error:
        read_all(url)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_input_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="no input"):
        shards([], shard_bytes=1)


def test_a_file_that_vanished_after_planning_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines([{"text": "a"}]))
    (shard,) = shards([str(path)], shard_bytes=MIB)
    path.unlink()
    with pytest.raises(InputError, match=r"there is no file at .*a\.jsonl"):
        list(read(shard))


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"a" * 1000)
    before = sources([str(path)])
    assert before == sources([str(path)])
    path.write_bytes(b"a" * 999 + b"b")
    assert sources([str(path)]) != before


@pytest.mark.parametrize("position", [0, 70 << 20, -1])
def test_a_change_at_either_end_of_a_large_file_is_noticed(tmp_path: Path, position: int) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    before = sources([str(path)])
    with path.open("r+b") as file:
        # Amid the file every 64th part is looked at: a rewritten stretch is seen, a single byte need not be.
        file.seek(position, 0 if position >= 0 else 2)
        file.write(b"x" * (2 << 20) if position > 0 else b"x")
    assert sources([str(path)]) != before
