"""A sheet of pairs: drawn evenly, harmless in a spreadsheet, summed up as it was marked."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from instructpt.cli.commands import main
from instructpt.records import Document, Group, Pair, Shot
from instructpt.report.show import COLUMNS, draw, interval


@pytest.fixture
def groups(tmp_path: Path) -> str:
    """An artifact that a user made: pairs that rules mined."""
    text = "The bridge at Aldham was built in 1887. It is 20 metres long. In 1921 its pillar sank by 4 centimetres. "
    (tmp_path / "my.txt").write_text(text * 3 + "\n=HYPERLINK(0) was built in 1999. It is 7 metres long.\n")
    assert main(["augment", str(tmp_path / "my.txt"), "--mine", "--out", str(tmp_path / "mine")]) == 0
    return str(tmp_path / "mine" / "groups")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mark(path: Path, verdicts: list[str]) -> None:
    marked = rows(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row, verdict in zip(marked, verdicts, strict=True):
            table.writerow(row | {"verdict": verdict})


def test_a_sheet_is_written_marked_and_summed_up(
    groups: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.csv"
    assert main(["sheet", groups, "--pairs", "4", "--out", str(sheet)]) == 0
    assert f"instructpt verdicts {sheet}" in capsys.readouterr().out
    drawn = rows(sheet)
    assert len(drawn) == 4
    assert all(row["question"] and row["answer"] and row["passage"] and not row["verdict"] for row in drawn)
    mark(sheet, ["right", "Wrong", "right", ""])
    assert main(["verdicts", str(sheet)]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert last == ["all", "3", "2", "1", "0", "0.67", "0.21", "to", "0.94"]


def test_verdicts_that_are_there_are_never_written_over(
    groups: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("mine")
    assert main(["sheet", groups, "--out", str(sheet)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert sheet.read_text() == "mine"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a,b\n1,2\n", "has no column category or verdict"),
        ("number,verdict,category\n1,,x\n", "has no verdicts"),
        ("number,verdict,category\n1,good,x\n", "row 2: the verdict is 'good'"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_marked_sheet_is_refused_in_one_line(
    written: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if written is not None:
        (tmp_path / "s.csv").write_text(written)
    assert main(["verdicts", str(tmp_path / "s.csv")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def shot(source: str, number: int, *, pairs: int) -> Shot:
    asked = tuple(Pair(f"{source} {number} {place}?", "=1+1") for place in range(pairs))
    return Shot(Document(f"{source}{number}", "-2 degrees", source), asked)


def test_sources_take_turns_and_passages_within_them() -> None:
    many = [Group(f"a{number}", (shot("a", number, pairs=5),)) for number in range(20)]
    few = [Group("b0", (shot("b", 0, pairs=2),))]
    drawn = draw([*many, *few], pairs=12, seed=0)
    assert Counter(found.document.source for found, _ in drawn) == {"a": 10, "b": 2}
    assert len({found.document.id for found, _ in drawn if found.document.source == "a"}) == 10
    assert drawn == draw([*many, *few], pairs=12, seed=0)
    assert drawn != draw([*many, *few], pairs=12, seed=1)
    assert len(draw([*many, *few], pairs=1000, seed=0)) == 102


def test_no_cell_is_a_formula(groups: str, tmp_path: Path) -> None:
    assert main(["sheet", groups, "--out", str(tmp_path / "sheet.csv")]) == 0
    for row in rows(tmp_path / "sheet.csv"):
        assert not any(value.startswith(("=", "+", "-", "@")) for value in row.values()), row


def test_the_interval_is_wilsons() -> None:
    assert interval(117, 150) == pytest.approx((0.707, 0.839), abs=0.001)
    assert interval(0, 10)[0] == pytest.approx(0, abs=1e-9)
    assert interval(10, 10)[1] == pytest.approx(1)
