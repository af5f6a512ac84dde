"""Damaged files thrown at the command: each run ends in 0, or in one line and 1 or 2, and nothing else is touched.

`INSTRUCTPT_FUZZ=500` throws so many; the seeds are the numbers from 0 on.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint

from instructpt.artifacts.tally import Tally
from instructpt.cli.commands import UNFORESEEN, main
from instructpt.seeds import rng
from instructpt.words import vocabulary

NUM_DAMAGES = int(os.environ.get("INSTRUCTPT_FUZZ", "60"))


def damage(data: bytes, seed: int) -> bytes:
    """Bytes flipped, cut off, doubled, or something else altogether."""
    draw = rng(seed, "fuzz")
    start = draw.randrange(max(1, len(data)))
    match seed % 4:
        case 0:
            flipped = bytearray(data)
            for _ in range(1 + draw.randrange(8)):
                flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            return bytes(flipped)
        case 1:
            return data[:start]
        case 2:
            return data[:start] + data[start // 2 :]
        case _:
            return draw.choice([b"", b"[]", b"null", b"\x00" * 64, b"\xff\xfe text", b'{"a": 1}'])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    corpus = write_corpus(folder / "corpus.jsonl", corpus_rows(6))
    assert main(["augment", str(corpus), "--mine", "--out", str(folder / "out"), "--workers", "1"]) == 0
    return folder / "out"


@pytest.mark.parametrize("name", ["manifest.json", "recipe.json", "00000.parquet", "00000.json"])
@pytest.mark.parametrize("verb", ["show", "export"])
def test_damaged_artifacts(verb: str, name: str, made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(NUM_DAMAGES // 8 + 1):
        texts = tmp_path / f"{seed}" / "texts"
        shutil.copytree(made / "texts", texts)
        (texts / name).write_bytes(damage((texts / name).read_bytes(), seed))
        before = {path.name: path.read_bytes() for path in texts.iterdir()}
        more = ["3"] if verb == "show" else ["--to", "jsonl", "--out", str(tmp_path / f"{seed}-out")]
        status = main([verb, str(texts), *more])
        said = capfd.readouterr().err
        assert status in (0, 1, 2)
        if status:
            assert UNFORESEEN not in complaint(said), (seed, said)
        assert {path.name: path.read_bytes() for path in texts.iterdir()} == before


def as_csv(rows: list[dict[str, str]]) -> bytes:
    written = io.StringIO()
    writer = csv.DictWriter(written, ["id", "text"])
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def as_lines(rows: list[dict[str, str]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), written)
    return written.getvalue()


FORMATS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "rows.jsonl": as_lines,
    "rows.jsonl.gz": lambda rows: gzip.compress(as_lines(rows)),
    "rows.jsonl.bz2": lambda rows: bz2.compress(as_lines(rows)),
    "rows.csv": as_csv,
    "rows.json": orjson.dumps,
    "rows.parquet": as_parquet,
    "page.md": lambda rows: "\n\n".join(row["text"] for row in rows).encode(),
}


def test_damaged_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Beside each damaged file lies a whole one: if a run ends well, its rows are there, and the counts add up."""
    rows, outcomes = corpus_rows(8), Counter[str]()
    whole = [{**row, "id": f"whole-{i}", "text": f"{i} whole. {row['text']}"} for i, row in enumerate(rows)]
    for seed in range(NUM_DAMAGES // 4):
        name, write = sorted(FORMATS.items())[seed % len(FORMATS)]
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        write_corpus(folder / "whole.jsonl", whole)
        damaged = damage(write(rows[:4]), seed // len(FORMATS))
        (folder / name).write_bytes(damaged)
        status = main(["augment", str(folder), "--mine", "--out", str(tmp_path / f"{seed}-out"), "--workers", "1"])
        said = capfd.readouterr().err
        outcomes[f"{name} {status}"] += 1
        assert status in (0, 1, 2)
        assert (folder / name).read_bytes() == damaged
        if status:
            assert UNFORESEEN not in complaint(said), (seed, said)
            continue
        documents = tmp_path / f"{seed}-out" / "documents"
        assert Tally.from_row(orjson.loads((documents / "manifest.json").read_bytes())["tally"]).adds_up()
        ids = {row["id"] for path in documents.glob("*.parquet") for row in pq.read_table(path).to_pylist()}
        assert ids >= {row["id"] for row in whole}, (seed, name)
        shutil.rmtree(tmp_path / f"{seed}-out")
    report(outcomes)


TASK = """task: my_task
dataset_path: json
dataset_kwargs:
  data_files: rows.jsonl
output_type: multiple_choice
test_split: train
doc_to_text: "{{question}}"
doc_to_choice: ["A","B"]
doc_to_target: 0
"""


@pytest.fixture(scope="module")
def evaluated(vocabulary_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, and a task with its rows."""
    import torch
    from transformers import LlamaConfig
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("evaluated")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary.load(vocabulary_folder).size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(vocabulary_folder / name, folder / "model" / name)
    (folder / "task.yaml").write_text(TASK)
    (folder / "rows.jsonl").write_bytes(as_lines([{"question": f"Is it {i}?"} for i in range(3)]))
    return folder


DAMAGED_BEFORE_EVALUATION = (
    "model/config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
    "task.yaml",
    "rows.jsonl",
)


def test_damaged_evaluation(evaluated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = Counter[str]()
    for seed in range(NUM_DAMAGES // 5):
        folder, name = tmp_path / f"{seed}", DAMAGED_BEFORE_EVALUATION[seed % len(DAMAGED_BEFORE_EVALUATION)]
        shutil.copytree(evaluated, folder)
        damaged = damage((folder / name).read_bytes(), seed // len(DAMAGED_BEFORE_EVALUATION))
        (folder / name).write_bytes(damaged)
        words = ["evaluate", str(folder / "model"), "--tasks", str(folder / "task.yaml")]
        status = main([*words, "--out", str(folder / "scores")])
        said = capfd.readouterr().err
        outcomes[f"evaluate, {name} {status}"] += 1
        assert status in (0, 1, 2)
        assert (folder / name).read_bytes() == damaged
        if status:
            assert UNFORESEEN not in complaint(said), (seed, name, said)
        shutil.rmtree(folder)
    report(outcomes)


def report(outcomes: Counter[str]) -> None:
    """Add the outcomes by kind to the file that INSTRUCTPT_FUZZ_REPORT names."""
    if path := os.environ.get("INSTRUCTPT_FUZZ_REPORT"):
        with Path(path).open("a") as file:
            file.writelines(f"{kind} {count}\n" for kind, count in sorted(outcomes.items()))
