"""What a user relies on when they choose from the catalog, or write one of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from instructpt.collection import catalog as module
from instructpt.collection.catalog import MIN_WORDINGS, Catalog, Entry, Hub, load
from instructpt.errors import InputError, RecipeError

HEAD = 'unanswerable = ["No."]\n[set]\ncategory = "c"\ngroup = "g"\nlicence = "l"\n'
FIVE = 'wordings = ["a", "b", "c", "d", "e"]\n'


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load()


def test_the_shipped_catalog_is_whole(shipped: Catalog) -> None:
    entries = shipped.entries
    wordings = [wording for entry in entries.values() for wording in entry.wordings]
    assert len(set(wordings)) == len(wordings)
    assert len(entries) >= 86
    assert len({entry.group for entry in entries.values()}) >= 40
    assert {entry.answers for entry in entries.values()} == {"span", "label", "free"}
    assert {entry.part for entry in entries.values()} == {"seen", "unseen"}
    assert all(entry.source for entry in entries.values())
    assert all(entry.redistribution != "unknown" or entry.hub for entry in entries.values())


def test_a_writer_and_a_reader_have_sets_that_may_be_passed_on(shipped: Catalog) -> None:
    for role in ("writer", "reader"):
        fitting = [entry for entry in shipped.entries.values() if role in entry.suits and entry.part == "seen"]
        free = [entry for entry in fitting if entry.redistribution in ("yes", "share-alike")]
        assert len({entry.category for entry in free}) >= (10 if role == "writer" else 6), role


def test_it_is_chosen_from_by_set_category_and_group(shipped: Catalog) -> None:
    assert set(shipped.named(["fairytaleqa"]).entries) == {"fairytaleqa"}
    category, group = shipped.entries["fairytaleqa"].category, shipped.entries["mnli"].group
    chosen = shipped.named([category, group]).entries
    assert set(chosen) == {n for n, e in shipped.entries.items() if e.category == category or e.group == group}
    assert shipped.named([]).entries == shipped.entries


def test_a_name_that_is_not_there_brings_those_like_it(shipped: Catalog) -> None:
    with pytest.raises(RecipeError, match="is called 'fairytalesqa': did you mean 'fairytaleqa'"):
        shipped.named(["fairytalesqa"])
    with pytest.raises(RecipeError, match="'zzzz': give one such as"):
        shipped.named(["zzzz"])


def test_every_key_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        HEAD
        + 'redistribution = "share-alike"\nsource = "me/data@1"\npart = "unseen"\nfamily = "f"\nanswers = "span"\n'
        + 'suits = ["reader"]\nbenchmark = "boolq"\nconverter = "story_and_question"\n'
        + 'wordings = ["1 {labels}", "2 {question}", "3", "4", "5"]\n'
        + '[set.hub]\nid = "me/set"\nconfig = "en"\nsplit = "train"\nrevision = "abc"\n'
        + '[set.hub.fields]\ncontext = "text"\nanswer = "answers.text.0"\n'
    )
    catalog = load(str(path))
    assert catalog.unanswerable == ("No.",)
    assert catalog.entries["set"] == Entry(
        category="c",
        group="g",
        licence="l",
        redistribution="share-alike",
        source="me/data@1",
        part="unseen",
        family="f",
        answers="span",
        suits=("reader",),
        benchmark="boolq",
        wordings=("1 {labels}", "2 {question}", "3", "4", "5"),
        converter="story_and_question",
        hub=Hub("me/set", "train", {"context": "text", "answer": "answers.text.0"}, config="en", revision="abc"),
    )
    assert len(catalog.entries["set"].wordings) == MIN_WORDINGS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[set", "is not TOML"),
        (HEAD.replace("unanswerable", "#"), "no list `unanswerable`"),
        ('unanswerable = "No."', "unanswerable must be a list of texts"),
        (HEAD + 'suits = "writer"', "suits is 'writer'; give a list of writer, reader"),
        ('unanswerable = ["No."]\nset = 1', "a set is a table with category, group, licence"),
        (HEAD.replace("group", "grope"), "unknown key 'grope': did you mean 'group'"),
        (HEAD.replace('group = "g"\n', ""), "group is missing"),
        (HEAD.replace('"g"', "5"), "group is 5; give a text"),
        (HEAD + 'redistribution = "maybe"', "redistribution is 'maybe'; give yes, share-alike, no, unknown"),
        (HEAD + 'part = "both"', "part is 'both'; give seen, unseen"),
        (HEAD + 'answers = "long"', "answers is 'long'; give span, label, free"),
        (HEAD + 'converter = "story_and_questions"', "did you mean 'story_and_question'"),
        (HEAD.replace('"c"', '"one two three four"'), "has 4 words; give at most 3"),
        (HEAD.replace('"c"', '"a, b"'), "holds ','"),
        (HEAD.replace('"c"', '"a=b"'), "holds '='"),
        (HEAD.replace('"c"', '"a | b"'), "holds '|'"),
        (HEAD.replace('"c"', '"Movie reviews"'), "only acronyms may"),
        (HEAD + 'frame = "Say it"', "give a text with one {question} in it"),
        (HEAD + 'wordings = ["a", "b"]', "2 wordings; give at least 5"),
        (HEAD + FIVE.replace("b", "a"), "must be different"),
        (HEAD + FIVE.replace('"e"', '"{answer}"'), "unknown placeholder {answer}"),
        (HEAD + "hub = 1", "hub is a table"),
        (HEAD + '[set.hub]\nid = "a/b"', "hub: split is missing"),
        (HEAD + '[set.hub]\nid = "a/b"\nsplit = "train"', "fields must be a table"),
        (HEAD + '[set.hub]\nid = "a/b"\nsplit = "train"\nname = "x"', "unknown key 'name'"),
        (
            HEAD + 'family = "f"\n' + HEAD.partition("\n")[2].replace("[set]", "[b]") + 'family = "f"\npart = "unseen"',
            "[b] is unseen but [set] of its family 'f' is seen",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        load(str(path))


def test_a_set_in_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(HEAD)
    monkeypatch.setattr(module, "locate", lambda path: tuple(sorted(tmp_path.glob("*.toml"))))
    with pytest.raises(InputError, match=r"two\.toml, \[set\]: one\.toml has a set of this name"):
        load()


def test_a_missing_catalog_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no catalog at .*none\.toml: give a TOML file"):
        load(str(tmp_path / "none.toml"))
