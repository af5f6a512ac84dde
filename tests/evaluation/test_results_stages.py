"""What a user relies on between a model and its scores: every answer kept, unseen sets unseen, nothing scored twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.artifacts import Run, tree
from instructpt.errors import RecipeError
from instructpt.evaluation.benchmarks import PLACE, load_parts
from instructpt.evaluation.questioning import Answering
from instructpt.evaluation.rating import rate
from instructpt.evaluation.stages import Evaluate, Rate
from instructpt.executors.make import make
from instructpt.recipes.arms import task_texts
from instructpt.recipes.compare import compare, unseen_exam
from instructpt.recipes.evaluate import evaluate
from instructpt.recipes.flags import SAMPLE_TASKS, TaskCollection
from instructpt.report import render
from instructpt.report.artifacts import load_one


def sets_of(run: Run, stage: Any) -> set[str]:
    return {
        shot.document.source
        for index in range(run.num_shards(stage))
        for group in run.records(stage, index)
        for shot in group.shots
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def rated(root: Path, small_model: str) -> Rate:
    """Two benchmarks, answered and rated."""
    items = Evaluate(name="m-items", model=small_model, tasks=("arc_easy", "boolq"), limit=5)
    stage = Rate(name="m-scores", items=items)
    make(stage, Run(root=str(root), workers=1, device="cpu"))
    return stage


@pytest.fixture(scope="module")
def unseen(root: Path, small_model: str) -> Rate:
    """Two contexts of each unseen set of the sample."""
    exam = unseen_exam((SAMPLE_TASKS,), num_contexts=2, seed=0)
    stage = Rate(name="unseen", items=Answering(name="unseen-items", model=small_model, exam=exam), average="unseen")
    make(stage, Run(root=str(root), workers=1, device="cpu"))
    return stage


def test_scores_are_those_of_the_items_beside_them(rated: Rate, root: Path, small_model: str) -> None:
    run = Run(root=str(root))
    scores = list(run.records(rated, 0))
    assert {(score.task, score.metric) for score in scores} >= {("arc_easy", "acc_norm"), ("boolq", "gold_probability")}
    again = []
    for index, task in enumerate(("arc_easy", "boolq")):
        items = list(run.records(rated.items, index))
        assert len(items) == 5
        assert {item.task for item in items} == {task}
        again += rate(items, task=task, model_name=small_model, score="acc")
    assert again == scores


def test_a_task_that_was_answered_is_not_answered_again(rated: Rate, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "m-items", tmp_path / "m-items")
    folder = tmp_path / "m-items"
    before = (folder / "00000.parquet").stat()
    for name in ("manifest.json", "00001.parquet", "00001.json"):
        (folder / name).unlink()
    make(rated, Run(root=str(tmp_path), workers=1, device="cpu"))
    after = (folder / "00000.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (folder / "00001.parquet").read_bytes() == (root / "m-items" / "00001.parquet").read_bytes()


def test_items_in_the_training_text_are_scored_apart(root: Path, tmp_path: Path, small_model: str) -> None:
    """A row of the sample's BoolQ is planted in a text; every other score stays what it is."""
    rows = [dict(row) for row in load_parts("boolq", limit=12)["boolq"].eval_docs]
    texts = [f"Before. {rows[3]['passage']} After.", "A text that no test knows."]
    file = tmp_path / "trained.jsonl"
    file.write_bytes(b"".join(orjson.dumps({"id": str(i), "text": text}) + b"\n" for i, text in enumerate(texts)))
    stage = evaluate(small_model, tasks=("boolq",), limit=len(rows), trained_on=(str(file),))
    run = Run(root=str(tmp_path / "out"), workers=1, device="cpu")
    make(stage, run)
    scores = {score.metric: score for score in run.records(stage, 0)}
    same = sum(row["passage"] == rows[3]["passage"] for row in rows)
    assert scores["acc"].count == len(rows)
    assert scores["acc/overlapping"].count == same
    assert scores["acc/clean"].count == len(rows) - same
    planted = next(item for item in run.records(stage.items, 0) if item.place == rows[3][PLACE])
    if same == 1:
        assert scores["acc/overlapping"].value == planted.values["acc"]
    assert load_one(str(tmp_path / "out" / "scores")).tally.counts["overlapping/boolq"] == same
    page = render(str(tmp_path / "out"), title="Scores")
    assert "Items that stand in the training text" in page
    assert page.count("acc/clean") == 0, "in a table of their own, not among the scores"


def test_unseen_sets_are_scored_each_and_on_average(unseen: Rate, root: Path) -> None:
    run = Run(root=str(root))
    items = list(run.records(unseen.items, 0))
    scores = {(score.task, score.metric): score for score in run.records(unseen, 0)}
    tasks = {item.task for item in items}
    assert tasks == {f"unseen/{name}" for name in sets_of(run, unseen.items.exam)}  # type: ignore[union-attr]
    assert {task for task, _ in scores} == {"unseen", *tasks}
    assert scores["unseen", "bits_per_byte"].count == len(items)
    with_options = [item for item in items if "choice_accuracy" in item.values]
    assert 0 < len(with_options) < len(items)
    assert scores["unseen", "gold_probability"].count == len(with_options)
    values = [score.value for (task, metric), score in scores.items() if metric == "bits_per_byte" and "/" in task]
    assert scores["unseen", "bits_per_byte"].value == pytest.approx(sum(values) / len(values))
    assert {item.place for item in items} == {0, 1}
    tally = load_one(str(root / "unseen-items")).tally
    assert tally.adds_up()
    assert tally.kept == len(items)


def test_no_set_is_both_trained_on_and_unseen(unseen: Rate, tmp_path: Path) -> None:
    texts = task_texts((SAMPLE_TASKS,), TaskCollection(), language="english", seed=0)
    exam = unseen_exam((SAMPLE_TASKS,), num_contexts=2, seed=0)
    run = Run(root=str(tmp_path), workers=1)
    make(texts, run)
    make(exam, run)
    trained, kept = sets_of(run, tree(texts)[0]), sets_of(run, exam)
    assert trained
    assert kept
    assert not trained & kept


def test_every_model_of_a_comparison_sits_the_same_unseen_exam() -> None:
    stages = {stage.name: stage for stage in tree(compare(seeds=1, arms=("raw", "mixed"), tasks=("arc_easy",)))}
    assert isinstance(stages["raw-seed0-scores"], Rate)
    assert isinstance(stages["raw-seed0-items"], Evaluate)
    exams = {stage.exam for stage in stages.values() if isinstance(stage, Answering)}
    assert len(exams) == 1
    assert sum(isinstance(stage, Answering) for stage in stages.values()) == 2


def test_the_unseen_exam_can_be_left_out_and_never_joins_training_on_all_sets(small_model: str) -> None:
    def asks(**settings: Any) -> bool:
        return any(isinstance(stage, Answering) for stage in tree(compare(seeds=1, arms=("raw",), **settings)))

    assert not asks(unseen_contexts=0)
    assert not asks(recipe="domain", base=small_model)
    with pytest.raises(RecipeError, match="none is unseen"):
        asks(recipe="domain", base=small_model, unseen_contexts=5)
    with pytest.raises(RecipeError, match="unseen_contexts is -1"):
        asks(unseen_contexts=-1)
