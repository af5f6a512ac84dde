"""What a user relies on in the stage Convert: files in, groups out, a tally that adds up, tagged text in the end."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.artifacts import Run, describe
from instructpt.collection.stages import Convert
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.records import Group, Text
from instructpt.report.collection import outline
from instructpt.synthesis.tagging import Tag

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "fixtures" / "collection" / "four_formats.jsonl"
CATALOG = ROOT / "fixtures" / "collection" / "four_formats.toml"


def stage(**settings: Any) -> Convert:
    return Convert(**({"name": "tasks", "files": (str(ROWS),), "catalog": str(CATALOG), "seed": 1} | settings))


def made(convert: Convert, root: Path) -> tuple[list[Group], dict[str, Any]]:
    run = Run(root=str(root), workers=1)
    make(convert, run)
    return list(run.records(convert, 0)), run.manifest(convert)["tally"]


def test_rows_are_pairs_or_counted(tmp_path: Path) -> None:
    groups, tally = made(stage(), tmp_path)
    assert tally["dropped"] == {"other_part": 1, "benchmark_set": 1, "unanswerable": 1, "not_json": 1}
    assert tally["taken"] == len(ROWS.read_bytes().splitlines())
    assert tally["kept"] == sum(len(shot.pairs) for group in groups for shot in group.shots)
    assert tally["made"] == sum(len(group.shots) for group in groups)
    assert all(len(group.shots) <= 2 for group in groups)


def shown(text: Text) -> str:
    """The text with its begins and ends, and brackets around what carries loss."""
    marks = [(start, "[[") for start, _ in text.spans or ()] + [(stop, "]]") for _, stop in text.spans or ()]
    for place, mark in sorted([*marks, *((place, "</s><s>") for place in text.breaks)], key=_place, reverse=True):
        text = replace(text, text=text.text[:place] + mark + text.text[place:])
    return f"# {text.id}\n<s>{text.text}</s>\n"


def _place(mark: tuple[int, str]) -> tuple[int, bool]:
    return mark[0], mark[1] != "]]"


@pytest.mark.parametrize("dialect", ["tags", "steered"])
def test_the_tagged_text_is_the_golden_one(dialect: str, tmp_path: Path) -> None:
    tagged = Tag(name="tagged", groups=stage(shots=3), dialect=dialect)
    run = Run(root=str(tmp_path), workers=1)
    make(tagged, run)
    golden = ROOT / "golden" / f"tagged_{dialect}.txt"
    text = "\n".join(map(shown, run.records(tagged, 0)))
    if os.environ.get("INSTRUCTPT_WRITE_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


def test_groups_are_filled_with_tokens(tmp_path: Path, vocabulary_folder: Path) -> None:
    settings: dict[str, Any] = {"vocabulary": str(vocabulary_folder), "dialect": "steered", "group_tokens": 700}
    groups, tally = made(stage(context_tokens=250, **settings), tmp_path / "whole")
    assert max(len(group.shots) for group in groups) > 1
    assert "context_too_long" not in tally["dropped"]
    singles, _ = made(stage(context_tokens=250, shots=1, **settings), tmp_path / "single")
    assert {len(group.shots) for group in singles} == {1}
    assert sum(len(group.shots) for group in groups) == len(singles)


def test_items_of_a_test_file_are_left_out(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_bytes(orjson.dumps({"question": "Who painted the pillars of the bridge?"}))
    convert = stage(evaluation=(str(items),))
    assert made(convert, tmp_path / "run")[1]["dropped"]["contaminated"] == 1
    before = describe(convert, Run(root=str(tmp_path)))["sources"]
    items.write_bytes(orjson.dumps({"question": "What else?"}))
    after = describe(convert, Run(root=str(tmp_path)))["sources"]
    assert {name for name in before if before[name] != after[name]} == {f"evaluation/{items}"}


def test_left_out_and_repeated_contexts_are_counted(tmp_path: Path) -> None:
    groups, tally = made(stage(weights="sentiment=0"), tmp_path)
    assert tally["dropped"]["over_balance"] == 1
    assert tally["counts"]["copied_passages"] == 1
    assert all(shot.document.source != "moods" for group in groups for shot in group.shots)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"files": ()}, "has no task data: give files, or hub"),
        ({"group_tokens": 100}, "vocabulary and group_tokens together"),
        ({"vocabulary": "here"}, "vocabulary and group_tokens together"),
        ({"context_tokens": 100}, "counted with a vocabulary"),
        ({"vocabulary": "here", "group_tokens": 9, "context_characters": 5}, "give context_tokens"),
        ({"budget_characters": 100, "context_characters": 100}, "contexts of 100 leave no room for pairs in 100"),
        ({"shots": 0}, "shots is 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        stage(**settings)


def test_wrong_names_are_refused_with_those_like_them(tmp_path: Path) -> None:
    for settings in ({"sets": ("mood",)}, {"weights": "sentimant=2"}):
        with pytest.raises(RecipeError, match=r"did you mean '(moods|sentiment)"):
            made(replace(stage(), **settings), tmp_path)  # type: ignore[arg-type]


def hub_set(name: str, place: str) -> str:
    return (
        f'[{name}]\ncategory = "extractive QA"\ngroup = "reading"\nlicence = "CC0-1.0"\n'
        f'[{name}.hub]\nid = "{place}"\nsplit = "train"\n'
        f'[{name}.hub.fields]\ncontext = "text"\nquestion = "asked"\nanswer = "said.0"\n'
    )


def test_sets_of_the_hub_are_streamed_if_they_are_chosen(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "wells"
    folder.mkdir()
    row = {"text": "The well is 40 metres deep.", "asked": "How deep is it?", "said": ["40 metres"]}
    (folder / "train.jsonl").write_bytes(orjson.dumps(row))
    catalog = tmp_path / "mine.toml"
    catalog.write_text('unanswerable = ["No."]\n' + hub_set("wells", str(folder)) + hub_set("ponds", "nobody/ponds"))
    convert = stage(files=(), hub=True, catalog=str(catalog), sets=("wells",))
    [group], tally = made(convert, tmp_path / "run")
    assert tally["taken"] == tally["kept"] == 1
    assert [pair.answer for pair in group.shots[0].pairs] == ["40 metres"]


def test_the_outline_lists_the_sets_that_are_taken(tmp_path: Path) -> None:
    def listed(**settings: Any) -> set[str]:
        return {row[0] for row in outline(stage(**settings), Run(root=str(tmp_path))).rows[:-1]}

    assert "bridges" in listed()
    assert not listed(suits="reader"), "the catalog calls none of them fit for a reader"
