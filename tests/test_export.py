"""A finished artifact in other programs' formats, by the command a user gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from instructpt.artifacts import Run, make
from instructpt.cli import main
from instructpt.stages.corpus import BuildVocabulary, Read
from instructpt.stages.texts import Pack, Template

LINES = ["Herons wade.", 'They eat fish, <b>frogs</b> and "mice".', "雪が降る。"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    corpus = folder / "corpus.jsonl"
    corpus.write_bytes(b"".join(orjson.dumps({"id": str(i), "text": line}) + b"\n" for i, line in enumerate(LINES * 9)))
    documents = Read(name="documents", files=(str(corpus),))
    words = BuildVocabulary(name="vocabulary", texts=(documents,), size=300)
    texts = Template(name="texts", groups=documents)
    make(Pack(name="rows", texts=texts, vocabulary=words, row_tokens=64), Run(root=str(folder / "run"), workers=1))
    return folder / "run"


def exported(root: Path, artifact: str, to: str, out: Path) -> dict[str, object]:
    assert main(["export", str(root / artifact), "--to", to, "--out", str(out)]) == 0
    said: dict[str, object] = orjson.loads((out / "export.json").read_bytes())
    return said


def test_texts_come_out_as_lines(root: Path, tmp_path: Path) -> None:
    said = exported(root, "texts", "jsonl", tmp_path / "out")
    with gzip.open(tmp_path / "out/00000.jsonl.gz") as file:
        lines = [orjson.loads(line) for line in file]
    assert [line["text"] for line in lines] == LINES * 9
    assert (said["record"], said["records"]) == ("Text", 27)


def test_texts_come_out_as_parquet(root: Path, tmp_path: Path) -> None:
    said = exported(root, "texts", "parquet", tmp_path / "out")
    assert pq.read_table(tmp_path / "out/00000.parquet").column("text").to_pylist() == LINES * 9
    assert said["records"] == 27


@pytest.mark.parametrize("to", ["megatron", "datatrove", "olmo", "parquet", "jsonl"])
def test_rows_come_out_in_every_format(root: Path, tmp_path: Path, to: str) -> None:
    said = exported(root, "rows", to, tmp_path / "out")
    manifest = orjson.loads((root / "rows/manifest.json").read_bytes())
    assert said["tokens"] == manifest["tally"]["counts"]["tokens"]
    assert said.get("rows", said.get("documents")) in (manifest["tally"]["counts"]["rows"], 27)


def test_the_same_artifact_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        exported(root, "texts", "jsonl", tmp_path / name)
    assert (tmp_path / "one/00000.jsonl.gz").read_bytes() == (tmp_path / "two/00000.jsonl.gz").read_bytes()


@pytest.mark.parametrize(
    ("artifact", "to", "message"),
    [
        ("texts", "megatron", "Text records cannot be exported to 'megatron': choose one of parquet, jsonl"),
        ("rows", "tfrecord", "choose one of datatrove, jsonl, megatron, olmo, parquet"),
        ("vocabulary", "jsonl", "holds files, no records or rows"),
        ("nothing", "jsonl", "holds no finished artifact"),
    ],
)
def test_what_cannot_be_exported(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], artifact: str, to: str, message: str
) -> None:
    assert main(["export", str(root / artifact), "--to", to, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("keep")
    assert main(["export", str(root / "texts"), "--to", "jsonl", "--out", str(tmp_path)]) == 2
    assert "holds something already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
