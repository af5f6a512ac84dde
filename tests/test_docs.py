"""The pages of docs/ and the README: their commands run as they stand, their links lead somewhere."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from dataclasses import fields
from functools import cache
from pathlib import Path

import orjson
import pytest
from word_engine import WORDS

from instructpt import models
from instructpt.cli.commands import COMMANDS, main
from instructpt.engines import ENGINES
from instructpt.files import streams
from instructpt.recipes import RECIPES
from instructpt.records import Document, Group, Item, Match, Score, Step, Text

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SAMPLE = ROOT / "instructpt/sample/passages.jsonl.zst"
SMALL = {"documents": 3, "characters": 700}
_BLOCK = re.compile(r"^```(sh|sh parse)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```(|sh|sh parse|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def commands(page: Path, kind: str) -> list[str]:
    return [
        line
        for found, block in _BLOCK.findall(page.read_text("utf-8"))
        if found == kind
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def write_corpus(path: Path, *, documents: int, characters: int) -> None:
    rows = [orjson.loads(line) for line, _ in zip(streams.lines(str(SAMPLE)), range(documents), strict=False)]
    lines = [orjson.dumps({"id": f"id-{i}", "text": row["text"][:characters]}) for i, row in enumerate(rows)]
    path.write_bytes(b"\n".join(lines) + b"\n")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, where one page is tried after the other: what two of them tell to make is made once."""
    folder = tmp_path_factory.mktemp("desk")
    write_corpus(folder / "my.jsonl", **SMALL)
    return folder


@pytest.fixture(scope="module")
def stand_ins(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders for the models that ship, which take a minute and a half of processor time for one page
    (tests/engines/test_shipped.py has them write and read). `WordEngine` speaks for them.
    """
    folder = tmp_path_factory.mktemp("models")
    for name, dialect in (("synthesizer", "steered"), ("reader", "tags")):
        shutil.copytree(small_model, folder / name)
        said = orjson.loads((models.FOLDER / name / "synthesizer.json").read_bytes())
        (folder / name / "synthesizer.json").write_bytes(orjson.dumps(said | {"dialect": dialect}))
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "sh")], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: Path, desk: Path, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "FOLDER", stand_ins)
    if page.name != "own-models.md":
        monkeypatch.setitem(ENGINES, "transformers", WORDS)
    if page.name == "own-models.md":  # a model needs more text; four of them sit a short exam
        monkeypatch.setattr("instructpt.recipes.compare.UNSEEN_CONTEXTS", 3)
        desk = tmp_path
        write_corpus(desk / "my.jsonl", documents=40, characters=2000)
    monkeypatch.chdir(desk)
    for command in commands(page, "sh"):
        name, *words = shlex.split(command)
        assert name == "instructpt", command
        try:
            status = main(words)
        except SystemExit as stop:  # --help
            status = int(stop.code or 0)
        assert status == 0, command


@cache
def help_of(*words: str) -> str:
    import io

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return shown.getvalue()


def written_commands() -> list[tuple[str, ...]]:
    """The commands of all fences that are no data and no code, each from its program's name on, without comments."""
    found: list[tuple[str, ...]] = []
    for page in PAGES:
        for _, block in _FENCE.findall(page.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                with contextlib.suppress(ValueError):  # a picture of a way, with quotes of its own
                    found += commands_in(line)
    return list(dict.fromkeys(found))


def commands_in(line: str) -> list[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            commands.append([])
        else:
            commands[-1].append(word)
    found = []
    for words in commands:
        names = [word.rpartition("/")[2] for word in words]
        place = next((i for i, name in enumerate(names[:4]) if name in ("instructpt", "make")), None)
        if place is not None and len(names) > place + 1 and re.fullmatch(r"[\w-]+", names[place + 1]):
            found.append((names[place], *words[place + 1 :]))
    return found


@pytest.mark.parametrize("command", written_commands(), ids=" ".join)
def test_commands_on_a_page_are_spelled_right(command: tuple[str, ...]) -> None:
    """Those that need an accelerator, servers, the net or large files too: the command, the recipe, every flag."""
    program, name, *rest = command
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        for word in (name, *rest):
            assert "=" in word or re.search(rf"^{word}:", makefile, re.MULTILINE), f"no target {word}"
        return
    if name == "--help":
        return
    assert name in COMMANDS
    recipe = rest[:1] if name in ("run", "plan") else []
    if recipe and recipe[0] not in RECIPES:
        assert ".py:" in recipe[0], f"{recipe[0]} is no recipe"
        return
    shown = help_of(name, *recipe)
    for word in rest:
        if word.startswith("--"):
            assert re.search(rf"{word.partition('=')[0]}\b", shown), f"{word} is no flag of instructpt {name}"
    if name == "run" and "--help" not in rest:
        assert "--out" in rest, f"{command} says not where to"


def test_enough_commands_are_found() -> None:
    found = written_commands()
    assert ("instructpt", "run", "demo", "--help") in found
    assert ("make", "demo") in found
    assert len(found) > 40


def test_every_record_that_is_written_is_on_the_page_of_formats() -> None:
    text = (ROOT / "docs/formats.md").read_text("utf-8")
    for record in (Document, Group, Text, Item, Score, Match, Step):
        assert f"`{record.__name__}`" in text, record
        for field in fields(record):
            assert f"`{field.name}`" in text, f"{record.__name__}.{field.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
