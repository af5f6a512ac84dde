"""Instruction data in the layouts that people have: read, or refused at once with the fields found and wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.artifacts import Run
from instructpt.collection.instructions import Instructions
from instructpt.errors import InputError
from instructpt.executors.make import make
from instructpt.records import Group

TURNS = [("user", "Q?"), ("assistant", "A."), ("user", "And?"), ("assistant", "So."), ("user", "unanswered")]
LAYOUTS: dict[str, tuple[dict[str, Any], list[tuple[str, str]], str]] = {
    "alpaca": ({"instruction": "Say hi", "input": "", "output": "Hi"}, [("Say hi", "Hi")], ""),
    "alpaca with input": ({"instruction": "Add", "input": "1, 2", "output": "3"}, [("Add", "3")], "1, 2"),
    "completion": ({"prompt": "Say hi", "completion": " Hi "}, [("Say hi", "Hi")], ""),
    "question": ({"question": "Who?", "answer": "Ada", "context": "Ada came."}, [("Who?", "Ada")], "Ada came."),
    "messages": (
        {"messages": [{"role": "system", "content": "Be short."}, *({"role": r, "content": t} for r, t in TURNS)]},
        [("Q?", "A."), ("And?", "So.")],
        "Be short.",
    ),
    "sharegpt": (
        {"conversations": [{"from": {"user": "human", "assistant": "gpt"}[r], "value": t} for r, t in TURNS]},
        [("Q?", "A."), ("And?", "So.")],
        "",
    ),
}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def made(file: str, root: Path) -> tuple[list[Group], Any]:
    stage, run = Instructions(name="instructions", files=(file,)), Run(root=str(root), workers=1)
    make(stage, run)
    return list(run.records(stage, 0)), run.manifest(stage)["tally"]


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_usual_layout_is_read(name: str, tmp_path: Path) -> None:
    row, pairs, context = LAYOUTS[name]
    groups, tally = made(write(tmp_path / "mine.jsonl", row, row), tmp_path / "out")
    assert len(groups) == 2
    (shot,) = groups[0].shots
    assert [(pair.question, pair.answer) for pair in shot.pairs] == pairs
    assert (shot.document.text, shot.document.source) == (context, "mine")
    assert (tally["taken"], tally["kept"]) == (2, 2)


def test_rows_that_are_no_instruction_are_counted_by_reason(tmp_path: Path) -> None:
    good, _, _ = LAYOUTS["alpaca"]
    bad = [{"messages": [{"role": "user", "content": "Q?"}]}, {"prompt": 1, "completion": "x"}, {"x": "y"}]
    groups, tally = made(write(tmp_path / "mine.jsonl", good, *bad), tmp_path / "out")
    assert len(groups) == 1
    assert tally["dropped"] == {"no_answered_turn": 1, "bad_field": 2}


def test_another_layout_is_refused_at_once(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", {"body": "x", "label": 1})
    with pytest.raises(InputError, match=r"fields body, label: wanted are .*instruction, input and output") as refusal:
        made(file, tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out" / "instructions").exists()
