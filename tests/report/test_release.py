"""A synthesizer that is passed on: what its folder says about itself comes from the artifacts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import yaml
from tiny_synthesizer import made, tiny_recipe

from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.records import Score
from instructpt.report.page import write
from instructpt.report.release import Release


@dataclass(frozen=True, kw_only=True)
class Measured(Stage[Score]):
    """Scores as a quality stage gives them: the model beside its base."""

    record: ClassVar[Any] = Score
    takes: ClassVar[str] = "scores"
    makes: ClassVar[str] = "scores"

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        run.tally.take(2)
        yield Score("unseen", "well_formed", 0.971, 0.008, 500, "tuned")
        yield Score("unseen", "well_formed", 0.0, None, 500, "base")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Release:
    recipe = tiny_recipe(tmp_path_factory.mktemp("corpus"), raw_share=0.0, title="Bridges | and tales")
    return dataclasses.replace(recipe, scores=Measured(name="scores"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def folder(recipe: Release, root: Path) -> Path:
    return made(recipe, root)


def manifest(root: Path, name: str) -> dict[str, Any]:
    return orjson.loads((root / name / "manifest.json").read_bytes())["tally"]


def test_the_cards_numbers_are_those_of_the_artifacts(folder: Path, root: Path) -> None:
    card = (folder / "README.md").read_text()
    for number in (
        manifest(root, "tasks")["made"],
        manifest(root, "tasks")["counts"]["pairs"],
        manifest(root, "tuned")["counts"]["tokens"],
        manifest(root, "base")["counts"]["tokens"],
    ):
        assert f" {number:,} |" in card
    lines = (root / "tuned" / "00000" / "metrics.jsonl").read_bytes().splitlines()
    losses = [orjson.loads(line)["loss"] for line in lines]
    assert f"{sum(losses) / len(losses):.3f}" in card
    assert "| fairytaleqa | stories | narrative QA | Apache-2.0 | uci-soe/FairytaleQAData@" in card
    assert "| bridges | CC BY 4.0 | 50 |" in card
    assert "10% of the tuning tokens are passages with pairs that rules mined" in card
    assert "| unseen | well_formed | 0.971 +- 0.008 | 0.000 |" in card
    assert "random weights, shape 1m" in card


def test_the_header_is_what_the_hub_reads(folder: Path) -> None:
    _, header, _ = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header) == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["instruction-synthesizer", "synthetic-data", "instructpt"],
    }


def test_it_may_be_read_by_everybody_and_has_no_pickle(folder: Path) -> None:
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".safetensors"}


def test_a_folder_larger_than_allowed_is_an_error_that_says_by_how_much(
    recipe: Release, root: Path, folder: Path
) -> None:
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    assert manifest(root, recipe.name)["counts"]["bytes"] == num_bytes
    run = Run(root=str(root), workers=1)
    with pytest.raises(RecipeError, match=rf"small takes {num_bytes:,} bytes, more than the 1,000,000 allowed"):
        make(dataclasses.replace(recipe, name="small", max_bytes=1_000_000), run)
    make(dataclasses.replace(recipe, name="fits", max_bytes=num_bytes), run)


def test_a_release_is_the_same_bytes_every_time(recipe: Release, root: Path, folder: Path) -> None:
    make(dataclasses.replace(recipe, name="again"), Run(root=str(root), workers=1))
    for path in folder.iterdir():
        assert path.read_bytes() == (root / "again" / "00000" / path.name).read_bytes(), path.name


def task_set(name: str, redistribution: str) -> dict[str, Any]:
    return {
        "name": name,
        "category": "c",
        "group": "g",
        "licence": "MIT",
        "redistribution": redistribution,
        "source": "a/b@c",
        "contexts": 3,
        "pairs": 4,
        "tokens": 50,
    }


def card(**changes: Any) -> str:
    values: dict[str, Any] = {
        "version": "1",
        "title": "One",
        "note": "",
        "licence": "other",
        "base": None,
        "dialect": "tags",
        "parameters": 7_000_000,
        "num_bytes": 14_000_000,
        "passage_tokens": 384,
        "window_tokens": 1024,
        "categories": (),
        "task_sets": [task_set("plain", "yes")],
        "task_totals": (3, 4, 50),
        "corpora": (),
        "trainings": ["tuned"],
        "training": [("steps", "8")],
        "models": [],
        "scores": [],
        "mined_share": 0.0,
        "unseen": (),
        "unanswerable": "",
        "share_alike": False,
        "hub_ids": (),
    }
    return write("model_card.md", **(values | changes))


def test_what_was_not_measured_is_said_so() -> None:
    assert "Not measured." in card()


def test_data_that_may_not_be_passed_on_are_named() -> None:
    shown = card(task_sets=[task_set("plain", "yes"), task_set("nobody_knows", "unknown")])
    assert "does not clearly let weights be passed on: nobody_knows." in shown


def test_a_base_model_and_hub_sets_stand_in_the_header() -> None:
    shown = card(base="owner/model-7b", hub_ids=("GEM/FairytaleQA",))
    header = yaml.safe_load(shown.split("---\n", 2)[1])
    assert header["base_model"] == "owner/model-7b"
    assert header["datasets"] == ["GEM/FairytaleQA"]
    assert "The licence of owner/model-7b binds these weights too." in shown


def test_only_a_dialect_that_can_ask_tells_what_to_ask_for() -> None:
    assert "--categories" not in card()
    assert '--categories "a=1,b=2"' in card(categories=("a", "b", "c"))


def test_a_table_is_not_broken_by_what_stands_in_it() -> None:
    shown = card(corpora=[{"name": "a|b\nc", "licences": ["CC BY 4.0"], "documents": 1, "characters": 2_000_000}])
    assert "| a\\|b c | CC BY 4.0 | 1 | 2.0 |" in shown
