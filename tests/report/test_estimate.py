"""A plan before a run, beside what the run then takes."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, Stage, Table, tree
from instructpt.artifacts.budget import Budget
from instructpt.cli.commands import main
from instructpt.corpus.sampling import relative_error, sample
from instructpt.corpus.stages import Split
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.recipes.general import general
from instructpt.report.estimate import Wishes, estimates
from instructpt.words import vocabulary


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train(["The heron waits in the shallow water and eats a fish. " * 20], size=400, folder=folder)
    return str(folder)


def corpus(folder: Path, *, files: int, documents: int) -> str:
    folder.mkdir(exist_ok=True)
    for number in range(files):
        rows = []
        for place in range(documents):
            sentences = [f"Heron {place} of pond {number} waits for fish number {n}." for n in range(4 + place % 9 * 4)]
            rows.append(orjson.dumps({"id": f"{number}-{place}", "text": " ".join(sentences)}) + b"\n")
        (folder / f"{number}.jsonl").write_bytes(b"".join(rows))
    return str(folder)


def written(files: str, model: str) -> Stage[Any]:
    return augment((files,), model=model, passage_tokens=200, window_tokens=900, max_new_tokens=300)


def planned(target: Stage[Any], run: Run, **wishes: float) -> Table:
    (table,) = estimates(target, run, Wishes(**wishes))  # type: ignore[arg-type]
    return table


def numbers(table: Table) -> dict[str, list[float]]:
    """Of each row, the numbers before its time, without their intervals; 0 where there is none."""
    rows = {label: cells[:4] for label, *cells in table.rows}
    return {
        label: [float(cell.strip("~").split()[0].replace(",", "")) if cell else 0.0 for cell in cells]
        for label, cells in rows.items()
    }


def counted(run: Run, target: Stage[Any]) -> dict[str, list[float]]:
    """The same of a run that is done."""
    tallies = {stage.name: run.manifest(stage)["tally"] for stage in tree(target)}
    groups = tallies["groups"]["counts"]
    words = ("requests", "prompt_tokens", "output_tokens", "pairs")
    return {"groups": [groups[word] for word in words], "made": [tallies[n]["made"] for n in ("passages", "texts")]}


def test_a_corpus_that_is_tried_whole_is_counted_exactly(tmp_path: Path, model: str) -> None:
    target, run = (
        written(corpus(tmp_path / "c", files=3, documents=6), model),
        Run(root=str(tmp_path / "run"), engine=SCRIPTED, workers=1),
    )
    table = planned(target, run, sample=1000)
    assert not Path(run.root).exists()
    make(target, run)
    known, rows = counted(run, target), numbers(table)
    assert rows["groups"] == known["groups"]
    assert [rows["passages"][3], rows["texts"][3]] == known["made"]
    assert not any("~" in cell or "±" in cell for row in table.rows for cell in row[:5])
    assert "100.00% of the corpus" in table.notes[0]


def test_a_sample_says_how_near_it_comes_to_the_whole(tmp_path: Path, model: str) -> None:
    target, run = (
        written(corpus(tmp_path / "c", files=4, documents=60), model),
        Run(root=str(tmp_path / "run"), engine=SCRIPTED, workers=1),
    )
    table = planned(target, run, sample=24, sample_documents=80)
    make(target, run)
    known, rows = counted(run, target), numbers(table)
    assert rows["passages"][3] == pytest.approx(known["made"][0], rel=0.15)
    (cells,) = [row[1:5] for row in table.rows if row[0] == "groups"]
    offs = [int(cell.partition("±")[2].partition("%")[0] or 0) / 100 for cell in cells]
    assert 0 < max(offs) < 0.5
    for off, told, real in zip(offs, rows["groups"], known["groups"], strict=True):
        assert abs(told - real) <= (off + 0.1) * told


def test_how_far_a_total_may_be_off() -> None:
    alike, unlike = [(10.0, 2.0)] * 5, [(5.0, 2.0), (15.0, 2.0), (10.0, 2.0), (10.0, 2.0), (10.0, 2.0)]
    assert relative_error(alike, share=0.1) == relative_error(unlike, share=1.0) == 0
    assert relative_error(unlike, share=0.1) > relative_error(unlike * 4, share=0.1) > 0
    assert relative_error(unlike[:1], share=0.1) == math.inf
    assert relative_error([(0.0, 2.0)], share=0.1) == 0


def test_a_portion_of_the_documents_is_counted_as_one(tmp_path: Path, model: str) -> None:
    files = corpus(tmp_path / "c", files=3, documents=40)
    target = general(files=(files,), arm="instruct", shape="1m", synthesizer=model, augmented_share=0.25)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED)
    passages = next(stage for stage in tree(target) if isinstance(stage, Split))
    sampled = sample(passages, run, num_documents=1000)
    assert sampled.num_passages == pytest.approx(len(sampled.passages) / 4)


def test_time_accelerators_and_cost_follow_from_the_speed(tmp_path: Path, model: str) -> None:
    target = written(corpus(tmp_path / "c", files=1, documents=20), model)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED, budget=Budget(price_per_hour=2.0))
    table = planned(target, run, sample=1000, speed=1.0, wished_hours=0.5)
    hours = numbers(table)["groups"][2] / 3600
    assert f"in 0.5 hours: {math.ceil(hours / 0.5):.0f} accelerators" in table.notes
    (row,) = [row for row in table.rows if row[0] == "groups"]
    assert float(row[-1].replace(",", "")) == pytest.approx(hours * 2, abs=0.01)
    unpriced = planned(target, Run(root=run.root, engine=SCRIPTED), sample=2)
    assert unpriced.columns == table.columns[:-1]
    assert any(f"with --engine {SCRIPTED}" in note for note in unpriced.notes)


def test_without_a_sample_no_model_is_asked(tmp_path: Path, model: str) -> None:
    target, log = written(corpus(tmp_path / "c", files=1, documents=20), model), tmp_path / "asked.log"
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED, engine_options={"log": str(log)})
    table = planned(target, run, sample=0, speed=100)
    rows = numbers(table)
    assert rows["groups"][0] == rows["passages"][3]
    assert rows["groups"][1] > rows["passages"][2]
    assert any("no model was asked" in note for note in table.notes)
    assert not log.exists()
    planned(target, run, sample=4)
    assert len(log.read_text().splitlines()) == 4


def test_a_training_is_told_in_the_same_table(tmp_path: Path) -> None:
    target = general(files=(corpus(tmp_path / "c", files=1, documents=30),), arm="raw", shape="1m")
    *_, table = estimates(target, Run(root=str(tmp_path / "run")), Wishes())
    (row,) = table.rows
    assert row[0] == target.name
    assert int(row[2].replace(",", "")) > 0
    assert "on one H100" in table.notes[-1]


def test_a_plan_leaves_nothing_behind(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    files = corpus(tmp_path / "c", files=1, documents=10)
    words = ["plan", "augment", files, "--model", model, "--engine", SCRIPTED, "--sample", "4"]
    for more in ([], ["--near-duplicates", "0.9"]):
        assert main([*words, *more, "--out", str(tmp_path / "run")]) == 0
        assert "tried on 4 passages" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_sample_that_comes_to_nothing_is_told_as_far_as_it_went(tmp_path: Path, model: str) -> None:
    target = written(corpus(tmp_path / "c", files=1, documents=20), model)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED, engine_options={"garbage_share": 1.0})
    table = planned(target, run, sample=4)
    assert [row[0] for row in table.rows] == ["passages", "groups"]
    assert numbers(table)["groups"][0] > 0
    assert any("what comes after groups is not told" in note for note in table.notes)


def test_an_engine_that_fails_is_no_end_of_planning(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = corpus(tmp_path / "c", files=1, documents=4)
    words = ["plan", "augment", files, "--model", model, "--engine", SCRIPTED]
    assert main([*words, "--engine-options", "error_share=1.0"]) == 1
    assert "--sample 0 asks no model" in capsys.readouterr().err
    assert main([*words, "--engine-options", "error_share=1.0", "--sample", "0"]) == 0


def test_what_is_not_read_from_files_cannot_be_sampled(tmp_path: Path) -> None:
    target = augment((corpus(tmp_path / "c", files=1, documents=2),), mine=True)
    documents = next(stage for stage in tree(target) if stage.name == "documents")
    with pytest.raises(RecipeError, match="its size cannot be told before it is made"):
        sample(documents, Run(root=str(tmp_path)), num_documents=10)
