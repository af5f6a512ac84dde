"""The script for an accelerator: its commands are spelled right, and it goes on where a slice ended."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from instructpt.engines.models import read_prompting
from instructpt.models.folders import local_folder
from instructpt.recipes import RECIPES

SCRIPT = Path(__file__).parent.parent / "scripts" / "accelerator_agenda.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location("accelerator_agenda", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_all_steps_are_listed_with_flags_that_exist(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_docs import help_of

    assert script.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines[:3]] == ["reader", "writer", "exam"]
    for step in script.agenda(tmp_path, tmp_path / "out", base="base", tiny=False):
        if step.is_run:
            assert step.words[0] == "run"
            assert step.words[1] in RECIPES
            shown = help_of("run", step.words[1])
            flags = [word for word in step.words if word.startswith("--")]
            assert all(f"{flag} " in shown or f"{flag}," in shown for flag in flags), step.words


def test_in_its_tiny_form_it_tunes_a_reader_and_a_writer_and_then_has_nothing_left(
    script: ModuleType, tmp_path: Path, small_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--tiny", "--base", small_model]
    assert script.main([*words, "--minutes", "0.1"]) == 0, "a slice too short to begin"
    assert "left: reader, writer" in capsys.readouterr().out
    assert script.main(words) == 0, list(tmp_path.glob("out/*.log"))
    assert "all is done" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "out" / "agenda.json").read_text())) == {"reader", "writer"}
    writer = read_prompting(local_folder(tmp_path / "out" / "writer" / "synthesizer" / "00000"))
    assert writer.reader == str(tmp_path / "out" / "reader" / "reader" / "00000")
    assert read_prompting(local_folder(writer.reader)).unanswerable
