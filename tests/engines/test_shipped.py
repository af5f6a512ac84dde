"""The synthesizer that ships: small, safe to load, and of use without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from instructpt import models
from instructpt.cli.commands import main
from instructpt.engines.models import SHIPPED, read_prompting
from instructpt.errors import InputError
from instructpt.models.folders import local_folder
from instructpt.records import Group, from_row

MAX_BYTES = 40_000_000
PASSAGE = (
    "The Cole Bridge was built in 1843 by Anna Pryor, an engineer from Hull. It is 212 metres long and crosses the "
    "river Cole near the village of Marden. Because the river freezes in winter, its four piers stand on oak piles. "
    "In 1901 a flood carried away two arches, and the town paid 4,000 pounds to have them rebuilt."
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return local_folder(SHIPPED)


def test_it_is_small_and_holds_nothing_that_runs(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja"}


def test_its_card_names_data_licences_and_measurements(folder: Path) -> None:
    card = (folder / "README.md").read_text("utf-8")
    header = card.split("---")[1]
    assert "license:" in header
    for part in ("fairytaleqa", "CC BY", "learning rate", "well_formed", "zero-shot"):
        assert part in card, part


def test_it_says_how_to_talk_with_it(folder: Path) -> None:
    prompting = read_prompting(folder)
    assert prompting.dialect == "steered"
    assert {"narrative QA", "title writing"} <= set(prompting.categories)
    assert prompting.passage_tokens < prompting.window_tokens


def test_an_unknown_name_lists_what_ships() -> None:
    with pytest.raises(InputError, match=r"shipped:synthesizer"):
        models.resolve("shipped:giant")
    assert models.resolve("owner/name") == "owner/name"


def groups(root: Path) -> list[Group]:
    rows = [row for path in sorted((root / "groups").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [from_row(Group, row) for row in rows]


def test_augment_works_with_nothing_but_a_file(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": f"Note {i}. {PASSAGE}"}) + "\n" for i in range(4)))
    assert main(["augment", str(corpus), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    shots = [shot for group in groups(tmp_path / "out") for shot in group.shots]
    assert len(shots) == 4
    assert sum(len(shot.pairs) for shot in shots) >= 4
    assert all(pair.category for shot in shots for pair in shot.pairs)


def test_it_writes_what_is_asked_for(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": f"Note {i}. {PASSAGE}"}) + "\n" for i in range(4)))
    words = ["augment", str(corpus), "--out", str(tmp_path / "out"), "--workers", "1", "--pairs", "3"]
    assert main([*words, "--categories", "fill the blank=1", "--checks", "empty"]) == 0
    written = [pair.category for group in groups(tmp_path / "out") for shot in group.shots for pair in shot.pairs]
    assert written
    assert written.count("fill the blank") / len(written) >= 0.8
