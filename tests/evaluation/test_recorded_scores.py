"""Scores that another run measured, taken into this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from instructpt.artifacts import Run
from instructpt.artifacts.storage import write_parquet
from instructpt.errors import InputError
from instructpt.evaluation.stored import Stored
from instructpt.executors.make import make
from instructpt.records import Score

SCORES = [
    Score("unseen/zero-shot", "well_formed", 0.97, 0.01, 500, "runs/mine/synthesizer"),
    Score("unseen/zero-shot", "well_formed", 0.0, None, 500, "base"),
]


def test_they_come_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "quality").mkdir()
    write_parquet(tmp_path / "quality" / "00000.parquet", SCORES, Score)
    recorded = Stored(name="recorded", folder=str(tmp_path / "quality"), kind="Score")
    run = Run(root=str(tmp_path / "out"), workers=1)
    make(recorded, run)
    assert list(run.records(recorded, 0)) == SCORES


def test_other_scores_in_the_folder_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "quality"
    folder.mkdir()
    write_parquet(folder / "00000.parquet", SCORES, Score)
    recorded, run = (
        Stored(name="recorded", folder=str(folder), kind="Score"),
        Run(root=str(tmp_path / "out"), workers=1),
    )
    before = recorded.sources(run)
    shutil.rmtree(folder)
    folder.mkdir()
    write_parquet(folder / "00000.parquet", SCORES[:1], Score)
    assert recorded.sources(run) != before


def test_a_folder_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing-here"):
        Stored(name="recorded", folder=str(tmp_path / "nothing-here"), kind="Score").sources(
            Run(root=str(tmp_path), workers=1)
        )
