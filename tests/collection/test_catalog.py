"""What a user relies on when they write a catalog of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructpt.collection.catalog import MIN_WORDINGS, load
from instructpt.errors import InputError

HEAD = 'unanswerable = ["No."]\n[set]\ncategory = "c"\ngroup = "g"\nlicence = "l"\n'


def test_the_shipped_catalog_is_whole() -> None:
    catalog = load()
    wordings = [wording for entry in catalog.entries.values() for wording in entry.wordings]
    assert len(set(wordings)) == len(wordings)
    assert len(catalog.entries) >= 20
    assert len({entry.group for entry in catalog.entries.values()}) >= 15


def test_wordings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + 'wordings = ["1 {labels}", "2 {question}", "3", "4", "5"]')
    catalog = load(str(path))
    assert catalog.unanswerable == ("No.",)
    assert catalog.entries["set"].wordings == ("1 {labels}", "2 {question}", "3", "4", "5")
    assert len(catalog.entries["set"].wordings) == MIN_WORDINGS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[set", "is not TOML"),
        (HEAD.replace("unanswerable", "other"), "no list `unanswerable`"),
        (HEAD.replace("group", "grope"), "category, group and licence are needed"),
        (HEAD + 'colour = "red"', "unknown field 'colour'"),
        (HEAD + 'wordings = ["a", "b"]', "2 wordings; give at least 5"),
        (HEAD + 'wordings = ["a", "a", "b", "c", "d"]', "must be different"),
        (HEAD + 'wordings = ["a", "b", "c", "d", "{answer}"]', "unknown placeholder {answer}"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load(str(path))
    assert message in str(caught.value)


def test_a_missing_catalog_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no catalog is called .*: give sample, or"):
        load(str(tmp_path / "none.toml"))
