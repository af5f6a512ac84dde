"""The wording of the chat dialect: every language, one's own file, and what is said of a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructpt.engines import Conversation
from instructpt.errors import InputError, RecipeError
from instructpt.synthesis import prompts
from instructpt.synthesis.dialects import dialect_names, dialect_sources, open_dialect


@pytest.mark.parametrize("language", prompts.languages())
def test_every_language_asks_in_its_own_words(language: str) -> None:
    wording = prompts.load(language)
    others = [prompts.load(other) for other in prompts.languages() if other != language]
    assert wording.fingerprint not in {other.fingerprint for other in others}
    assert wording.system not in {other.system for other in others}
    assert f"chat:{language}" in dialect_names()
    assert dialect_sources(f"chat:{language}") == {"wording": wording.fingerprint}
    for name in ("pairs", "question", "options", "rationale", "answer", "category"):
        assert f'"{name}"' in wording.system, "the layout of the reply is the same in all languages"


def test_chat_alone_is_english() -> None:
    assert dialect_sources("chat") == dialect_sources("chat:english")
    assert dialect_sources("tags") == {}


ENGLISH = (prompts.FOLDER / "english.toml").read_text(encoding="utf-8")


def test_a_wording_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        ENGLISH.replace("You write instruction-response pairs", 'You { write } {"pairs"}'), encoding="utf-8"
    )
    dialect = open_dialect(f"chat:{path}")
    conversation = dialect.prompt([], "It flies.")
    assert isinstance(conversation, Conversation)
    assert conversation.messages[0].content.startswith('You { write } {"pairs"}')


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('options = "Options:"', "", ["lacks options"]),
        ('options = "Options:"', "options = 3", ["options is 3"]),
        ('options = "Options:"', 'options = "Two\\nlines"', ["options has more than one line"]),
        ('options = "Options:"', 'opts = "Options:"', ["called opts", "options"]),
        ("{name}: {count}", "{name}", ["category lacks", "{count}"]),
        ("{name}: {count}", "{name}: {count} {passage}", ["category holds {passage}", "{count}, {name}"]),
        ('fence = "PASSAGE"', "fence = PASSAGE", ["is not TOML"]),
    ],
)
def test_a_broken_wording_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ENGLISH.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_dialect(f"chat:{path}")
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chat:germn", "did you mean german"),
        ("chat:", "choose one of arabic, chinese, english, french"),
        ("chats", "did you mean chat"),
        ("tags:german", "no dialect is called"),
        ("klingon", "choose one of answers, chat, chat:arabic"),
    ],
)
def test_an_unknown_name_is_told_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=hint):
        open_dialect(name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.toml cannot be read"):
        open_dialect(f"chat:{tmp_path}/mine.toml")


def test_what_is_filled_in_is_never_looked_at() -> None:
    assert prompts.fill("{a} {b} {{a}} { a } $a %s", a="{b}", b="{a}\\1") == "{b} {a}\\1 {{b}} { a } $a %s"
