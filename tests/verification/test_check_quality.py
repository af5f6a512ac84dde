"""The benchmark of the checks: a sample with known faults, drawn the same each time, that the checks find most of."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.checks import interval, made, measure_checks, print_table
from instructpt.artifacts import Run, tree
from instructpt.executors.make import make
from instructpt.report.artifacts import load_one


def test_the_checks_are_measured_on_three_hundred_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = made(measure_checks(), Run(root=str(tmp_path / "a"), workers=1))
    print_table(found)
    assert "unsupported_name" in capsys.readouterr().out
    labels = load_one(str(tmp_path / "a" / "sample")).named_counts("label")
    assert sum(labels.values()) == 300
    assert labels["as annotated"] == 150
    assert len(labels) == 20, "each of the 19 ways fits some pair"
    scores = {(score.task, score.metric): score for score in found}
    assert all(0 <= score.value <= 1 for score in found)
    assert scores["near_duplicate", "recall/near_duplicate"].value >= 0.8
    assert scores["all checks", "false"].value <= 0.1
    assert scores["all checks", "precision"].value >= 0.85
    (sample,) = [stage for stage in tree(measure_checks()) if stage.name == "sample"]
    make(sample, Run(root=str(tmp_path / "b"), workers=2))
    drawn = [(root / "sample" / "00000.parquet").read_bytes() for root in (tmp_path / "a", tmp_path / "b")]
    assert drawn[0] == drawn[1]


def test_an_interval_holds_the_share_and_narrows_with_more_cases() -> None:
    assert interval(0.78, 150) == pytest.approx((0.707, 0.839), abs=0.001)  # as Wilson's formula has it
    assert interval(1.0, 12)[1] == 1.0
    few, many = interval(0.5, 10), interval(0.5, 1000)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
