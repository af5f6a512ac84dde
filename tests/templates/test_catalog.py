"""A catalog that is wrong is refused, and the message names the file and the entry."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from instructpt.errors import InputError
from instructpt.templates import catalog as catalogs
from instructpt.templates.catalog import languages, load, read
from instructpt.templates.wording import choice, mark, phrase, template

ENGLISH = Path(catalogs.__file__).with_name("catalog") / "english"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ENGLISH, tmp_path / "english"))


def test_unknown_language_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"klingon.*english"):
        load("klingon")
    assert "english" in languages()


def test_a_fingerprint_tells_wordings_apart_and_not_comments(folder: Path) -> None:
    path = folder / "pairs.toml"
    path.write_text("# Another comment.\n" + path.read_text("utf-8"), "utf-8")
    assert read(folder).fingerprint == load("english").fingerprint
    path.write_text(path.read_text("utf-8").replace("Homework: ", "At home: "), "utf-8")
    assert read(folder).fingerprint != load("english").fingerprint


def test_a_copied_folder_is_the_same_catalog(folder: Path) -> None:
    assert read(folder) == load("english")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "pairs.toml",
            '"{question}. {answer}",',
            '"{question}\\n{answer}",',
            "pairs.toml: plain, entry 2.*same as entry 1",
        ),
        ("pairs.toml", '"{question}. {answer}",', '"{question} only",', r"plain, entry 2.*lacks \{answer\}"),
        ("pairs.toml", '"{question}. {answer}",', '"{question} {answer} {answer}",', "more than once"),
        ("pairs.toml", '"{question}. {answer}",', '"{question} {text} {answer}",', r"\{text\}, which does not belong"),
        ("pairs.toml", '"{question}. {answer}",', '"{question} {answer} }",', "brace"),
        ("pairs.toml", '"{question}. {answer}",', '"{question} {answer}\\n",', "blanks at an end"),
        ("pairs.toml", '"{question}. {answer}",', "7,", "entry 2, 7 is no text"),
        (
            "pairs.toml",
            '"{question}\\n{options}\\n{answer}",',
            '"{question} {options} {answer}",',
            r"\{options\} alone",
        ),
        ("pairs.toml", "choice = [", "choices = [", "nothing is called choices"),
        ("pairs.toml", "plain = [", "plain = [", "also in"),
        ("pairs.toml", "plain = [", "plain = ", "not TOML"),
        ("reasoning.toml", "cues = [", "cues = []\nconclusions = [", "not TOML"),
        ("modes.toml", "classic = 80", "classic = -1", "weights.*not negative"),
        ("modes.toml", "dialog = 5\n", "", "weights.*one number to each"),
        ("modes.toml", "inversion_percent = 5", "inversion_percent = 101", "from 0 to 100"),
        ("options.toml", 'label = "({mark})"', 'label = "(x)"', r"items, entry 1.*lacks \{mark\}"),
        ("options.toml", 'marks = ["A", "a", "1", "I", "i"]', 'marks = ["B"]', "has marks"),
        ("options.toml", 'item_ends = ["\\n"]', 'item_ends = [","]', "item_ends, entry 1.*stands between"),
        ("options.toml", 'item_ends = ["\\n"]', "item_ends = []", "at least one entry"),
        ("options.toml", '"all of these"', '"All of these"', "lower case"),
        ("dialog.toml", '["User: ", "Assistant: "]', '["User: ", "User: "]', "two different"),
        ("dialog.toml", '["User: ", "Assistant: "]', '["User:", "Assistant:"]', "without a blank"),
        ("dialog.toml", '\nturn = "answer"', '\nturn = "both"', "answer or exchange"),
        ("lists.toml", 'lead = "{Worked', 'title = "{Worked', "exactly the keys"),
        ("passages.toml", "{Question and answer|Questions and answers}", "{Question and answer}", "brace"),
        ("passages.toml", "{Question and answer|Questions and answers}", "{|Questions}", "is empty"),
    ],
)
def test_broken_entries_are_named(folder: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    if message == "also in":
        (folder / "more.toml").write_text('plain = ["{question} / {answer}"]', "utf-8")
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        read(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_pools_are_named(folder: Path) -> None:
    (folder / "dialog.toml").unlink()
    with pytest.raises(InputError, match="lacks speakers, lead_ins"):
        read(folder)


def test_a_full_stop_is_added_only_where_there_is_none() -> None:
    compiled = template("So: {answer}.", required=["answer"])
    assert [compiled.fill(answer=answer) for answer in ("red", "Red.", "Red?", 'He said "red."', "(B)", "見る。")] == [
        "So: red.",
        "So: Red.",
        "So: Red?",
        'So: He said "red."',
        "So: (B).",
        "So: 見る。",
    ]


def test_the_open_form_is_the_shown_form_without_its_list() -> None:
    compiled = choice("{question}\n\n{options}\n\nAnswer: {answer}", required=["question", "answer"])
    assert compiled.open.fill(question="Q", answer="A") == "Q\n\nAnswer: A"
    assert compiled.shown.fill(question="Q", answer="A", options="a\nb") == "Q\n\na\nb\n\nAnswer: A"


def test_a_phrase_has_a_form_for_one_and_for_several() -> None:
    assert [phrase("Answer {this|these}:").of(n) for n in (1, 2, 5)] == [
        "Answer this:",
        "Answer these:",
        "Answer these:",
    ]


def test_marks_count_in_five_ways() -> None:
    assert [mark(kind, 0) + mark(kind, 3) + mark(kind, 26) for kind in ("A", "a", "1", "I", "i")] == [
        "ADAA",
        "adaa",
        "1427",
        "IIVXXVII",
        "iivxxvii",
    ]
