"""Damaged files thrown at the command: each run ends in 0, or in one line and 1 or 2, and nothing else is touched.

`INSTRUCTPT_FUZZ=500` throws so many; the seeds are the numbers from 0 on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint

from instructpt.cli.commands import UNFORESEEN, main
from instructpt.seeds import rng

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
