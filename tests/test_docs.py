"""The pages of docs/ and the README: their commands run as they stand, their links lead somewhere."""

from __future__ import annotations

import contextlib
import re
import shlex
from functools import cache
from pathlib import Path

import orjson
import pytest

from instructpt.cli.commands import COMMANDS, main
from instructpt.files import streams
from instructpt.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLE = ROOT / "instructpt/sample/passages.jsonl.zst"
SMALL = {"documents": 4, "characters": 1200}
"""The shipped synthesizer reads it twice."""
_BLOCK = re.compile(r"^```(sh|sh parse)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "sh")], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"documents": 40, "characters": 20_000} if page.name == "own-models.md" else SMALL
    write_corpus(tmp_path / "my.jsonl", **size)
    monkeypatch.chdir(tmp_path)
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


@pytest.mark.parametrize("command", [command for page in PAGES for command in commands(page, "sh parse")])
def test_commands_that_need_more_than_a_laptop_are_spelled_right(command: str) -> None:
    words = shlex.split(command)
    words = words[words.index("instructpt") + 1 :]
    name, *rest = words
    assert name in COMMANDS
    recipe = [rest[0]] if name in ("run", "plan") else []
    assert not recipe or recipe[0] in RECIPES
    shown = help_of(name, *recipe, *(["--synthesizer"] if "--synthesizer" in rest else []))
    for word in rest:
        if word.startswith("--") and word != "--synthesizer":
            assert re.search(rf"{word}\b", shown), f"{word} is no flag of instructpt {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
