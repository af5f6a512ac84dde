"""The synthesizer and the reader that ship: small, safe to load, and of use without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from instructpt import models
from instructpt.artifacts import Run
from instructpt.cli.commands import main
from instructpt.engines.models import DESCRIPTION, SHIPPED, model_sources, read_prompting
from instructpt.errors import InputError
from instructpt.models import loading
from instructpt.models.folders import local_folder
from instructpt.models.inspection import inspect
from instructpt.records import Group, from_row

READER = "shipped:reader"
MAX_BYTES = 40_000_000
"""Of both together."""
PASSAGE = (
    "The Cole Bridge was built in 1843 by Anna Pryor, an engineer from Hull. It is 212 metres long and crosses the "
    "river Cole near the village of Marden. Because the river freezes in winter, its four piers stand on oak piles. "
    "In 1901 a flood carried away two arches, and the town paid 4,000 pounds to have them rebuilt."
)


def test_they_are_small_and_hold_nothing_that_runs() -> None:
    files = [path for path in models.FOLDER.glob("*/*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".jinja"}


@pytest.mark.parametrize("name", [SHIPPED, READER])
def test_they_are_adapters_of_a_base_that_is_named_and_describe_themselves_without_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(models.resolve(name))
    assert loading.are_alone(folder)
    assert loading.base_of(folder) == "open:smollm2-135m"
    monkeypatch.setattr("instructpt.models.folders.packaged_file", lambda _: None)
    assert local_folder(name, files=DESCRIPTION) == folder
    sources = model_sources(name, Run(root=""))
    assert {"base/model", "model/adapter_model.safetensors", "model/synthesizer.json"} <= set(sources)


@pytest.mark.parametrize("name", [SHIPPED, READER])
def test_with_their_base_they_are_whole_models(name: str) -> None:
    folder = local_folder(name)
    inspect(folder)
    assert read_prompting(folder) == read_prompting(Path(models.resolve(name)))
    assert local_folder(name) == folder, "merged once"


@pytest.mark.parametrize("name", [SHIPPED, READER])
def test_their_cards_name_data_and_licences(name: str) -> None:
    card = (Path(models.resolve(name)) / "README.md").read_text("utf-8")
    assert "license: cc-by-sa-4.0" in card.split("---")[1]
    for part in ("squad_train_part", "CC BY", "learning rate", "LoRA, rank 16", "open:smollm2-135m"):
        assert part in card, part


def test_they_say_how_to_talk_with_them() -> None:
    writer, reader = (read_prompting(Path(models.resolve(name))) for name in (SHIPPED, READER))
    assert (writer.dialect, writer.reader) == ("answers", READER)
    assert writer.answers["extractive QA"] == "span"
    assert writer.passage_tokens < writer.window_tokens
    assert (reader.dialect, reader.unanswerable) == ("tags", "The text does not say.")


def test_an_unknown_name_lists_what_ships() -> None:
    with pytest.raises(InputError, match=r"shipped:reader, shipped:synthesizer"):
        models.resolve("shipped:giant")
    assert models.resolve("owner/name") == "owner/name"


def groups(root: Path, name: str = "groups") -> list[Group]:
    rows = [row for path in sorted((root / name).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [from_row(Group, row) for row in rows]


def test_augment_works_with_nothing_but_a_file_and_keeps_what_the_reader_confirms(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"text": PASSAGE}) + "\n")
    assert main(["augment", str(corpus), "--out", str(tmp_path / "out"), "--workers", "1", "--pairs", "2"]) == 0
    (shot,) = [shot for group in groups(tmp_path / "out") for shot in group.shots]
    assert 1 <= len(shot.pairs) <= 2
    assert all(pair.category for pair in shot.pairs)
    (written,) = [found for group in groups(tmp_path / "out", "groups-written") for found in group.shots]
    assert len(written.pairs) + len(written.rejects) > 2, "more is written than is wanted"
    confirmed = [pair for pair in shot.pairs if pair.agreement is not None]
    assert confirmed
    assert all(pair.answer in PASSAGE for pair in confirmed if pair.category == "extractive QA")
