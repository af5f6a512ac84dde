"""A finished artifact in other programs' formats, by the command a user gives."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from instructpt.artifacts import Run
from instructpt.assembly.stages import Pack
from instructpt.cli.commands import main
from instructpt.corpus.stages import BuildVocabulary, Read
from instructpt.executors.make import make
from instructpt.templates.stages import Template

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


def test_a_data_set_is_loaded_and_trained_on_without_this_package(root: Path, tmp_path: Path) -> None:
    said = exported(root, "texts", "hub", tmp_path / "out")
    assert said["records"] == 27
    script = Path(__file__).parents[1] / "fixtures/pretrain_elsewhere.py"
    assert "instructpt" not in script.read_text()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out"), str(root / "vocabulary/00000")],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    losses = [float(line) for line in done.stdout.split()]
    assert len(losses) == 7
    assert losses[-1] < losses[0]


def test_the_card_says_what_is_in_it_and_where_it_came_from(root: Path, tmp_path: Path) -> None:
    exported(root, "texts", "hub", tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text("utf-8")
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    ]
    assert yaml.safe_load(header)["license"] == "other", "the rows name none"
    assert "| texts | 27 |" in text
    assert "| documents | Read | 27 rows |" in text
    assert "Read from corpus.jsonl." in text
    assert str(root.parent) not in text, "where the files lay is nobody's business"
    assert {path.stem for path in (tmp_path / "out/lineage").iterdir()} == {"documents", "texts"}


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
