"""Files are damaged: by a disk, a power cut, by hand. Healed, or refused in one line; never passed over in silence."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from disturbed import NUM_PASSAGES, Ground, complaint

from benchmarks.reports import contents, passages


def cut(path: Path) -> None:
    """Leave the first half."""
    os.truncate(path, path.stat().st_size // 2)


def scribble(path: Path) -> None:
    """Overwrite the middle."""
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + b"\xa5" * third + data[2 * third :])


def put_garbage(path: Path) -> None:
    """Something else altogether."""
    path.write_bytes(b"no such thing " * 500)


def put_foreign_database(path: Path) -> None:
    """A file of another program."""
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE letters (text)")
    connection.close()


def remove(path: Path) -> None:
    """Delete a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


Damage = Callable[[Path], object]

HEALED: list[tuple[str, Damage]] = [
    ("groups/00001.open", remove),
    ("groups/00001.open/ledger.sqlite", remove),
    ("groups/00001.open/ledger.sqlite", lambda path: path.write_bytes(b"")),
    ("groups/00001.open/ledger.sqlite-wal", put_garbage),
    ("groups/00001.open/00001.parquet", put_garbage),
    ("groups/00001.parquet", put_garbage),
    ("groups/00000.json", remove),
    ("groups/00000.parquet", remove),
    ("groups/.00001.json.writing", put_garbage),
    ("texts", remove),
]
"""What a run sets right by itself."""

REFUSED: list[tuple[str, Damage, tuple[str, ...]]] = [
    ("groups/00001.open/ledger.sqlite", cut, ()),
    ("groups/00001.open/ledger.sqlite", scribble, ()),
    ("groups/00001.open/ledger.sqlite", put_garbage, ()),
    ("groups/00001.open/ledger.sqlite", put_foreign_database, ()),
    ("groups/recipe.json", cut, ("groups",)),
    ("groups/00000.json", cut, ()),
    ("groups/00000.parquet", cut, ("groups/manifest.json",)),
    ("groups/00000.parquet", scribble, ("groups/manifest.json",)),
    ("passages/00002.parquet", remove, ("passages/manifest.json",)),
    ("passages/00002.parquet", cut, ("passages/manifest.json",)),
    ("passages/00002.json", remove, ("passages/manifest.json",)),
    ("passages/00002.json", cut, ("passages/manifest.json",)),
    ("passages/manifest.json", cut, ()),
]
"""What it cannot know how to set right; and what else is to be removed, so that it is made anew."""


def case(values: tuple[object, ...]) -> str:
    """Its name."""
    return f"{getattr(values[1], '__name__', '')} {values[0]}"


@pytest.mark.parametrize(("name", "damage"), HEALED, ids=map(case, HEALED))
def test_what_can_be_made_anew_is_healed(ground: Ground, tmp_path: Path, name: str, damage: Damage) -> None:
    out = shutil.copytree(ground.half, tmp_path / "out")
    (out / name).parent.mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        damage(out / name)
    assert ground.run(out) == 0
    assert contents(out) == contents(ground.whole)


@pytest.mark.parametrize(("name", "damage", "more"), REFUSED, ids=map(case, REFUSED))
def test_what_is_damaged_is_named_in_one_line_that_says_what_to_remove(
    ground: Ground, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, damage: Damage, more: tuple[str, ...]
) -> None:
    out = shutil.copytree(ground.half, tmp_path / "out")
    damage(out / name)
    assert ground.run(out) in (1, 2)
    said = complaint(capfd.readouterr().err)
    assert name in said
    assert all(str(out / other) in said for other in more)
    assert any(word in said for word in ("remove", "delete", "move it away"))
    for removed in [out / name, *(out / other for other in more)]:
        if removed.exists():
            remove(removed)
    assert ground.run(out) == 0
    assert contents(out) == contents(ground.whole)
    assert len(passages(out)) == NUM_PASSAGES


@pytest.mark.parametrize("name", ["texts/00001.parquet", "groups/00001.parquet", "groups/00002.json"])
def test_a_finished_artifact_with_a_missing_file_is_not_taken_for_finished(
    ground: Ground, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    out = shutil.copytree(ground.whole, tmp_path / "out")
    (out / name).unlink()
    assert ground.run(out) == 2
    assert Path(name).name in complaint(capfd.readouterr().err)
    (out / name).with_name("manifest.json").unlink()
    assert ground.run(out) == 0
    assert contents(out) == contents(ground.whole)
