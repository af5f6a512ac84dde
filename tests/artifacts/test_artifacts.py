"""What a user relies on: run once, resume, refuse, and nothing lost without a count."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from toy_stages import Count, Odd, Pick, Together

from instructpt.artifacts import Run, inputs, tree
from instructpt.artifacts.locking import locked
from instructpt.artifacts.storage import Folder
from instructpt.errors import ArtifactError, RecipeError, RunError, StorageError
from instructpt.executors import make as artifacts
from instructpt.executors.make import make

COUNT = Count(name="count")
ODD = Odd(name="odd", documents=COUNT)


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a root but the timings and the lock."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in {"timing.jsonl", ".lock", "died"}
    }


def test_a_stage_gives_its_records_and_a_manifest_that_adds_up(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(ODD, run)
    assert [document.id for i in range(3) for document in run.records(ODD, i)] == ["1", "3", "5", "7", "9"]
    tally = run.manifest(ODD)["tally"]
    assert tally["taken"] == 10
    assert tally["kept"] == tally["made"] == 5
    assert tally["dropped"] == {"even": 5}
    assert tally["samples"]["even"] == ["number 0", "number 2", "number 4"]


def test_the_second_run_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(ODD, run)
    before = contents(tmp_path)
    monkeypatch.setattr(artifacts, "build_shard", lambda *_: pytest.fail("a shard was built again"))
    make(ODD, run)
    assert contents(tmp_path) == before


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    make(ODD, Run(root=str(tmp_path / "one"), workers=1))
    make(ODD, Run(root=str(tmp_path / "two"), workers=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_killed_worker_stops_the_run_and_the_next_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    dying = dataclasses.replace(ODD, die_at="6")
    run = Run(root=str(tmp_path / "killed"), workers=2)
    with pytest.raises(RunError, match="a worker process of odd was killed"):
        make(dying, run)
    assert not artifacts.is_finished(dying, run)
    make(dying, run)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "died").touch()
    make(dying, Run(root=str(tmp_path / "whole"), workers=1))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_sealed_shards_are_not_built_again(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(ODD, run)
    (tmp_path / "odd" / "manifest.json").unlink()
    (tmp_path / "odd" / "00001.json").unlink()
    make(ODD, run)
    lines = [orjson.loads(line) for line in (tmp_path / "odd" / "timing.jsonl").read_bytes().splitlines()]
    assert [line["shard"] for line in lines] == [0, 1, 2, 1]


def test_other_settings_under_the_same_name_are_refused_naming_them(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(COUNT, run)
    with pytest.raises(ArtifactError, match=r"settings.numbers: 10 -> 11.*another output folder") as error:
        make(Count(name="count", numbers=11), run)
    assert "\n" not in str(error.value)


def test_a_changed_input_is_refused_before_any_work(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    make(ODD, run)
    changed = Odd(name="new", documents=Odd(name="odd", documents=Count(name="count", shard_size=5)))
    with pytest.raises(ArtifactError, match=r"settings.shard_size: 4 -> 5"):
        make(changed, run)
    assert not (tmp_path / "new").exists()


def test_a_changed_file_outside_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "outside"
    source.write_text("before")
    stage = Count(name="count", outside=str(source))
    make(stage, Run(root=str(tmp_path / "runs"), workers=1))
    source.write_text("after")
    with pytest.raises(ArtifactError, match=r'sources.outside: "before" -> "after"'):
        make(stage, Run(root=str(tmp_path / "runs"), workers=1))


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "thesis.tex").touch()
    with pytest.raises(ArtifactError, match=r"thesis.tex but no recipe.json"):
        make(COUNT, Run(root=str(tmp_path)))


def test_a_document_lost_without_a_count_is_our_mistake_and_is_not_sealed(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    with pytest.raises(AssertionError, match="does not add up"):
        make(dataclasses.replace(ODD, forget=True), run)
    assert not (tmp_path / "odd" / "00000.json").exists()


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="two different stages are called 'count'"):
        tree(Odd(name="count", documents=COUNT))
    with pytest.raises(RecipeError, match="two different stages are called 'count'"):
        tree(Pick(name="pick", first=COUNT, others=(Count(name="count", numbers=3),)))


def test_inputs_are_found_inside_tuples_and_each_stage_runs_once() -> None:
    pick = Pick(name="pick", first=ODD, others=(COUNT, ODD))
    assert inputs(pick) == [ODD, COUNT, ODD]
    assert [stage.name for stage in tree(pick)] == ["count", "odd", "pick"]


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with locked(Folder.at(str(tmp_path))), pytest.raises(ArtifactError, match="another run works in"):
        make(COUNT, Run(root=str(tmp_path)))


def test_folders_and_what_is_joined_from_them(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), workers=1)
    stage = Together(name="together", documents=ODD)
    make(stage, run)
    assert (run.product(stage, "joined") / "names").read_text() == "1 3 5 7 9"
    assert not list((tmp_path / "together").glob("*.open"))


def test_a_root_by_url(tmp_path: Path) -> None:
    stage = Together(name="together", documents=ODD)
    run = Run(root="memory://bucket/runs", workers=1, scratch=str(tmp_path))
    make(stage, run)
    assert (run.product(stage, "joined") / "names").read_text() == "1 3 5 7 9"
    assert [document.id for document in run.records(ODD, 1)] == ["5", "7"]


def test_a_file_in_the_way_of_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        make(COUNT, Run(root=str(tmp_path / "file")))


def test_a_full_disk_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A real refusal of the kernel (a file size limit), in a process of its own: limits cannot be raised again."""
    code = f"""
import resource, signal, sys
sys.path[:0] = {sys.path!r}
from toy_stages import Count
from instructpt.artifacts import Run
from instructpt.executors.make import make
from instructpt.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = Run(root={str(tmp_path)!r}, workers=1)
make(Count(name="small"), run)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    make(Count(name="count", numbers=200_000, shard_size=100_000), run)
except StorageError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the file size limit is reached; mend that and run the same command again" in result.stdout
    assert (tmp_path / "small" / "manifest.json").exists()
    assert not (tmp_path / "count" / "00000.json").exists()
    make(Count(name="count", numbers=200_000, shard_size=100_000), Run(root=str(tmp_path), workers=1))
    assert (tmp_path / "count" / "manifest.json").exists()


def test_a_setting_that_came_later_changes_nothing_at_its_default(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Count2(Count):
        step: int | None = dataclasses.field(default=None, metadata={"later": True})

    run = Run(root=str(tmp_path), workers=1)
    make(COUNT, run)
    Count2.__name__ = "Count"
    assert artifacts.differences(Count2(name="count"), run) == []
    assert artifacts.fingerprint(Count2(name="count"), run) == artifacts.fingerprint(COUNT, run)
    assert artifacts.differences(Count2(name="count", step=2), run) == ["settings.step: null -> 2"]
    make(Count2(name="stepped", step=2), run)
    assert artifacts.differences(dataclasses.replace(COUNT, name="stepped"), run) == ["settings.step: 2 -> null"]


# Files that appear whole


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    folder, data = Folder.at(str(tmp_path)), b"the same bytes" * 1000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: folder.write("manifest.json", data), range(100)))
    assert folder.names() == ["manifest.json"]
    assert folder.read("manifest.json") == data


@pytest.mark.parametrize("url", ["{}/root", "memory://{}"])
def test_what_is_published_takes_the_place_of_what_was_there(tmp_path: Path, url: str) -> None:
    folder = Folder.at(url.format(tmp_path)).child("together")
    for number in (1, 2):
        for name in ("joined", "joined/sub"):
            (tmp_path / name).mkdir()
        (tmp_path / "joined" / "sub" / f"new-{number}").write_text("new")
        (tmp_path / "joined" / "names").write_text(str(number))
        folder.publish(tmp_path / "joined", "joined")
        assert not (tmp_path / "joined").exists()
    assert folder.read("joined/names") == b"2"
    assert folder.names() == ["joined"]


def test_a_shard_from_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system has it: nothing is renamed from one disk to another."""
    rename = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if Path(target).parent != self.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    stage = Together(name="together", documents=ODD)
    run = Run(root=str(tmp_path / "copied"), workers=1)
    make(stage, run)
    monkeypatch.undo()
    make(stage, Run(root=str(tmp_path / "renamed"), workers=1))
    assert contents(tmp_path / "copied") == contents(tmp_path / "renamed")


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path / "left"), workers=1)
    make(COUNT, run)
    make(COUNT, Run(root=str(tmp_path / "whole"), workers=1))
    folder = tmp_path / "left" / "count"
    for name in ("manifest.json", "00001.json"):
        (folder / name).unlink()
    for name in (".00001.parquet.0123456789ab.writing", ".manifest.json.0123456789ab.writing"):
        (folder / name).write_bytes(b"half")
    (tmp_path / "left" / ".status.json.0123456789ab.writing").write_bytes(b"half")
    (folder / ".joined.0123456789ab.writing").mkdir()
    make(COUNT, run)
    assert contents(tmp_path / "left") == contents(tmp_path / "whole")
    assert not list((tmp_path / "left").rglob("*.writing"))


def test_a_remote_product_is_copied_once_and_anew_after_a_kill(tmp_path: Path) -> None:
    stage = Together(name="together", documents=ODD)
    run = Run(root=f"memory://{tmp_path.name}/runs", workers=1, scratch=str(tmp_path))
    make(stage, run)
    half = tmp_path / artifacts.fingerprint(stage, run)[:16] / ".joined.copying"
    half.mkdir(parents=True)
    (half / "names").write_text("half")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: run.product(stage, "joined"), range(8)))
    assert len(set(paths)) == 1
    assert [path.name for path in paths[0].iterdir()] == ["names"]
    assert (paths[0] / "names").read_text() == "1 3 5 7 9"
    assert not half.exists()
