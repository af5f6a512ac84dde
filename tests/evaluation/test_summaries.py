"""Summaries: what ends an experiment is made anew when the experiment grows, and nothing else ever is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from toy_stages import Count, Refuse

from instructpt.artifacts import Run, Stage, is_finished
from instructpt.artifacts.storage import Folder
from instructpt.errors import ArtifactError, InputError
from instructpt.executors import make as artifacts
from instructpt.executors.make import make
from instructpt.records import Document, Text

COUNTS = tuple(Count(name=f"count-{numbers}", numbers=numbers) for numbers in (2, 3, 4))


@dataclass(frozen=True, kw_only=True)
class Sum(Stage[Text]):
    """How many documents each input holds."""

    takes: ClassVar[str] = "documents"
    is_summary = True
    parts: tuple[Stage[Document], ...]
    unit: str = ""

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        for part in self.parts:
            found = [document for place in range(run.num_shards(part)) for document in run.take(part, place)]
            run.tally.keep(len(found))
            yield Text(part.name, f"{len(found)}{self.unit}", "sum", "raw")


@dataclass(frozen=True, kw_only=True)
class Copy(Stage[Text]):
    """Stands for something dear that is made from a summary."""

    record: ClassVar[type] = Text
    takes: ClassVar[str] = "texts"
    makes: ClassVar[str] = "texts"
    texts: Stage[Text]

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        yield from run.take(self.texts, index)


def said(stage: Stage[Any], run: Run) -> list[str]:
    return [text.text for text in run.records(stage, 0)]


def test_a_summary_grows_with_its_inputs(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(Sum(name="sum", parts=COUNTS[:1]), run)
    grown = Sum(name="sum", parts=COUNTS)
    assert make(grown, run) == 3, "two inputs and the summary"
    assert said(grown, run) == ["2", "3", "4"]
    assert make(grown, run) == 0
    assert make(Sum(name="sum", parts=COUNTS[:2], unit=" rows"), run) == 1, "also another setting, or fewer inputs"


def test_the_old_summary_stays_until_all_that_the_new_one_needs_is_there(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    old = Sum(name="sum", parts=COUNTS[:1])
    make(old, run)
    with pytest.raises(InputError, match="shard 0 is refused"):
        make(Sum(name="sum", parts=(COUNTS[0], Refuse(name="refuse", documents=COUNTS[1]))), run)
    assert said(old, run) == ["2"]


@pytest.mark.parametrize("left", [("recipe.json",), ("recipe.json", "00000.parquet")])
def test_a_kill_while_it_is_removed_leaves_nothing_that_is_in_the_way(tmp_path: Path, left: tuple[str, ...]) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(Sum(name="sum", parts=COUNTS[:1]), run)
    folder = Folder.at(str(tmp_path / "sum"))
    for name in folder.names():
        if name not in left:
            folder.fs.rm(folder.join(name))
    grown = Sum(name="sum", parts=COUNTS)
    make(grown, run)
    assert said(grown, run) == ["2", "3", "4"]


def test_what_is_made_from_a_summary_is_refused_as_ever(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(Copy(name="copy", texts=Sum(name="sum", parts=COUNTS[:1])), run)
    with pytest.raises(ArtifactError, match=r"copy was made with other settings \(settings.texts.fingerprint"):
        make(Copy(name="copy", texts=Sum(name="sum", parts=COUNTS)), run)


def test_the_inputs_of_a_summary_are_refused_as_ever(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(Sum(name="sum", parts=COUNTS[:1]), run)
    with pytest.raises(ArtifactError, match=r"settings\.numbers: 2 -> 7"):
        make(Sum(name="sum", parts=(dataclasses.replace(COUNTS[0], numbers=7),)), run)
    assert is_finished(Sum(name="sum", parts=COUNTS[:1]), run)


def test_a_folder_that_is_not_ours_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "sum").mkdir()
    (tmp_path / "sum" / "thesis.tex").touch()
    with pytest.raises(ArtifactError, match=r"thesis.tex but no recipe.json"):
        make(Sum(name="sum", parts=COUNTS), Run(root=str(tmp_path)))
    assert (tmp_path / "sum" / "thesis.tex").exists()


def test_partitions_make_it_anew_together(tmp_path: Path) -> None:
    make(Sum(name="sum", parts=COUNTS[:1]), Run(root=str(tmp_path), workers=1))
    grown = Sum(name="sum", parts=COUNTS)
    for place in (0, 1):
        make(grown, Run(root=str(tmp_path), workers=1, partition=(place, 2), scratch=str(tmp_path / "scratch")))
    run = Run(root=str(tmp_path), workers=1)
    assert artifacts.differences(grown, run) == []
    assert said(grown, run) == ["2", "3", "4"]
