"""`augment --student`: more pairs about what the model that is to be trained does not know, and only about that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import corpus_rows, write_corpus

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, Stage
from instructpt.errors import RecipeError
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.student import Quiz, Unknown
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.records import Document, Group, Item, Pair, Shot
from instructpt.report.artifacts import load_one


def passage(name: str) -> Document:
    return Document(name, f"Page {name}.", "pages")


def pair(number: int, options: tuple[str, ...] = ()) -> Pair:
    return Pair(f"question {number}", "yes", options)


PASSAGES = {name: passage(name) for name in "abcdef"}
SHOTS = {
    "a": Shot(PASSAGES["a"], (pair(1), pair(2))),
    "b": Shot(PASSAGES["b"]),
    "c": Shot(PASSAGES["c"], (pair(3),)),
    "d": Shot(PASSAGES["d"], (pair(4, ("yes", "no")),)),
    "e": Shot(PASSAGES["e"], (pair(5), pair(6), pair(7))),
    "f": Shot(PASSAGES["f"], (pair(8), pair(9))),
}
SHARDS = ("abcd", "ef")
RIGHT = {"question 1", "question 2", "question 5", "question 8"}
"""So a is known, c is not, e is known by a third, f by half."""


@dataclass(frozen=True, kw_only=True)
class Pages(Stage[Document]):
    makes: ClassVar[str] = "passages"

    def num_shards(self, run: Run) -> int:
        return len(SHARDS)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        yield from (PASSAGES[name] for name in SHARDS[index])


@dataclass(frozen=True, kw_only=True)
class Chains(Stage[Group]):
    pages: Pages

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        names = [document.id for document in run.take(self.pages, index)]
        for first in range(0, len(names), 2):
            yield Group(names[first], tuple(SHOTS[name] for name in names[first : first + 2]))


@dataclass(frozen=True, kw_only=True)
class Answers(Examine):
    """What is said is looked up."""

    record: ClassVar[Any] = Item
    placement = "workers"
    packages: ClassVar[tuple[str, ...]] = ()
    is_single = True

    def check(self, run: Run) -> None:
        """Nothing to look at."""

    def sources(self, run: Run) -> dict[str, str]:
        return {}

    def num_shards(self, run: Run) -> int:
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Item]:
        for place, group in enumerate(run.records(self.exam)):
            for number, asked in enumerate(group.shots[0].pairs):
                is_right = float(asked.question in RIGHT)
                yield Item("closed_book", place, str(number), "yes", "", {"containment": is_right, "f1": 0.0}, 3)


def test_passages_are_chosen_by_what_the_student_answers_in_any_shard(tmp_path: Path) -> None:
    pages = Pages(name="pages")
    quiz = Quiz(name="quiz", groups=Chains(name="chains", pages=pages))
    student = Answers(name="student", exam=quiz, model="none", has_open_book=False)
    unknown = Unknown(name="unknown", documents=pages, quiz=quiz, student=student)
    run = Run(root=str(tmp_path), workers=1)
    assert unknown.outline(run) is None, "nobody was asked yet"
    make(unknown, run)
    found = load_one(str(tmp_path / "unknown"))
    assert [document.id for document in found.records(Document)] == ["c", "e"]
    assert found.tally.dropped == {"known": 2, "not_asked": 2}
    assert found.tally.counts == {"questions": 8, "questions_known": 4}
    table = unknown.outline(run)
    assert table is not None
    assert ("answered rightly", "50.0%") in table.rows


def test_only_confirmed_pairs_are_asked_where_a_reader_confirms(tmp_path: Path) -> None:
    quiz = Quiz(name="quiz", groups=Chains(name="chains", pages=Pages(name="pages")), is_confirmed=True)
    make(quiz, Run(root=str(tmp_path), workers=1))
    assert load_one(str(tmp_path / "quiz")).tally.dropped == {"not_asked": 6}


def test_more_is_written_about_what_a_student_does_not_know(
    tmp_path: Path, vocabulary_folder: Path, small_model: str
) -> None:
    """A student of random weights knows nothing."""
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(6))
    recipe = augment(
        (str(corpus),), model=str(vocabulary_folder), dialect="tags", student=small_model, passage_tokens=64
    )
    run = Run(root=str(tmp_path / "out"), workers=1, device="cpu", engine=SCRIPTED)
    make(recipe, run)
    own, unknown, groups = (load_one(str(tmp_path / "out" / name)) for name in ("own", "unknown", "groups"))
    assert unknown.tally.counts["questions"] > 0
    assert unknown.tally.counts["questions_known"] < unknown.tally.counts["questions"] / 2
    assert unknown.tally.taken == unknown.tally.made + sum(unknown.tally.dropped.values())
    counts = groups.tally.counts
    assert counts["pairs"] == own.tally.counts["pairs"] + counts["pairs_added"] - counts["asked_again"]
    assert [g.id for g in groups.records(Group)] == [g.id for g in own.records(Group)]
    last = recipe.groups.outline(run)
    assert last is not None
    assert last.columns == ("", "before", "after")
    assert last.rows[0] == ("pairs", f"{own.tally.counts['pairs']:,}", f"{counts['pairs']:,}")


def test_a_student_that_cannot_be_asked_is_refused() -> None:
    with pytest.raises(RecipeError, match="remote:big: it is asked on this machine"):
        augment(("my.jsonl",), student="remote:big")
    with pytest.raises(RecipeError, match="leave out --mine"):
        augment(("my.jsonl",), student="some/model", mine=True)
    with pytest.raises(RecipeError, match="leave out --forms"):
        augment(("my.jsonl",), student="some/model", model="remote:big", forms="facts=1")
