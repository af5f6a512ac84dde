"""Numbers that make no sense are refused by name, and no numeric flag is without a range."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from instructpt.cli.commands import main
from instructpt.cli.flags import RANGES, Where
from instructpt.engines.serving.vllm import serve_until_stopped
from instructpt.recipes import RECIPES, open_recipe
from instructpt.report.estimate import Wishes
from instructpt.viewer.server import view_until_stopped


def numeric(owner: Any) -> Iterator[tuple[str, Any]]:
    """Names and defaults of the numbers among the arguments or fields, those of groups of flags included."""
    hints = typing.get_type_hints(owner)
    if dataclasses.is_dataclass(owner):
        defaults: Mapping[str, Any] = {field.name: field.default for field in dataclasses.fields(owner)}
    else:
        defaults = {name: value.default for name, value in inspect.signature(owner).parameters.items()}
    for name in defaults:
        yield from _numbers(name, hints[name], defaults[name])


def _numbers(name: str, hint: Any, default: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(hint):
        yield from numeric(hint)
    elif hint in (int, float):
        yield name, default
    else:
        for inner in typing.get_args(hint):
            yield from _numbers(name, inner, default)


OWNERS = {name: open_recipe(name) for name in RECIPES} | {
    "where": Where,
    "plan": Wishes,
    "serve": serve_until_stopped,
    "view": view_until_stopped,
}


@pytest.mark.parametrize("owner", OWNERS)
def test_every_numeric_flag_has_a_range_that_holds_its_default(owner: str) -> None:
    for name, default in numeric(OWNERS[owner]):
        assert name in RANGES, f"{owner} has a flag {name} without a range: add it to cli/flags.py"
        if isinstance(default, int | float):
            assert RANGES[name].holds(default), f"{name} is {default} by default, outside its range"


def test_no_range_is_stale() -> None:
    """`number` is that of `show`."""
    assert set(RANGES) == {name for owner in OWNERS.values() for name, _ in numeric(owner)} | {"number"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "0"], "--limit is 0: give at least 1"),
        (["--limit", "-1"], "--limit is -1: give at least 1"),
        (["--passage-tokens", "0"], "--passage-tokens is 0: give at least 1"),
        (["--window-tokens", "0"], "--window-tokens is 0"),
        (["--shard-bytes", "1"], "--shard-bytes is 1: give at least 4,096"),
        (["--shots", "0"], "--shots is 0"),
        (["--workers", "0"], "--workers is 0"),
        (["--chains-in-flight", "-3"], "--chains-in-flight is -3"),
        (["--max-hours", "nan"], "--max-hours is nan: give more than 0"),
    ],
    ids=" ".join,
)
def test_a_number_that_makes_no_sense_is_refused_by_name(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["augment", "sample:passages.jsonl.zst", "--mine", "--out", str(out), *words]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "general", "--augmented-share", "0"], "--augmented-share is 0.0: give more than 0 and at most 1"),
        (["run", "compare", "--seeds", "0"], "--seeds is 0"),
        (["show", "somewhere", "-5"], "--number is -5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_so_it_is_in_other_commands(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if words[0] == "show" else ["--out", str(tmp_path / "out")]
    assert main([*words, *where]) == 2
    assert message in capsys.readouterr().err
