"""`--partition`: several processes with one output folder, killed and started again, and never two at one thing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_shards
import orjson
import pytest
from conftest import corpus_rows, write_corpus
from forked import Forked, fork
from many_shards import contents, spread
from toy_stages import Count, Odd, Together

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, is_finished
from instructpt.artifacts.locking import claimed, locked_together, own_shards, parse_partition
from instructpt.artifacts.storage import Folder
from instructpt.artifacts.tally import Progress
from instructpt.errors import ArtifactError, RecipeError
from instructpt.executors.make import make, still_missing

COUNT = Count(name="count", numbers=20)
ODD = Odd(name="odd", documents=COUNT)


@pytest.mark.parametrize(("text", "partition"), [("1/1", (0, 1)), ("3/64", (2, 64)), ("64/64", (63, 64))])
def test_a_partition_is_written_from_one_on(text: str, partition: tuple[int, int]) -> None:
    assert parse_partition(text) == partition


@pytest.mark.parametrize("text", ["0/64", "65/64", "x", "3", "3/", "/3", "3/64/1", "-1/4", "1.5/4", "0/0", ""])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="from 1/64 to 64/64"):
        parse_partition(text)


@pytest.mark.parametrize("num_shards", [0, 1, 7, 64, 1000])
def test_every_shard_belongs_to_one_partition(num_shards: int) -> None:
    owned = [index for k in range(64) for index in own_shards(num_shards, (k, 64))]
    assert sorted(owned) == list(range(num_shards))


def part(tmp_path: Path, place: int, count: int = 2, **settings: Any) -> Run:
    """A partition's run, all on one root."""
    fields = {"root": str(tmp_path / "out"), "scratch": str(tmp_path / "scratch"), "workers": 1}
    return Run(**{**fields, "partition": (place - 1, count), **settings})


def alone(tmp_path: Path, name: str = "out") -> Run:
    return Run(root=str(tmp_path / name), scratch=str(tmp_path / "scratch"), workers=1)


# One after the other, where nobody waits


def test_a_partition_makes_its_shards_and_says_what_is_left_to_others(tmp_path: Path) -> None:
    first = part(tmp_path, 1)
    make(COUNT, first)
    assert not is_finished(COUNT, first)
    assert still_missing(COUNT, first) == "3 of 5 shards of count are there; the rest belongs to other partitions"
    assert sorted(p.name for p in (tmp_path / "out" / "count").glob("*.parquet")) == [
        f"{index:05d}.parquet" for index in (0, 2, 4)
    ]
    make(COUNT, part(tmp_path, 2))
    make(COUNT, alone(tmp_path, "plain"))
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_a_plain_run_finishes_what_partitions_left(tmp_path: Path) -> None:
    make(COUNT, part(tmp_path, 2))
    make(ODD, alone(tmp_path))
    make(ODD, alone(tmp_path, "plain"))
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    assert not list((tmp_path / "out").glob(".lock.*"))


def test_an_open_shard_is_gone_on_with_where_it_lies(tmp_path: Path) -> None:
    """In the machine's own scratch, for partitions; beside the artifact, for a plain run; or wherever it was begun."""
    plain, partition = alone(tmp_path), part(tmp_path, 1)
    beside = plain.workspace(COUNT, 0)
    assert beside == tmp_path / "out" / "count" / "00000.open"
    assert partition.workspace(COUNT, 0) == beside
    in_scratch = partition.workspace(COUNT, 2)
    assert in_scratch.is_relative_to(tmp_path / "scratch")
    assert plain.workspace(COUNT, 2) == in_scratch
    assert part(tmp_path, 1, root=str(tmp_path / "other")).workspace(COUNT, 2) != in_scratch


def test_more_partitions_than_shards(tmp_path: Path) -> None:
    for place in range(1, 9):
        make(COUNT, part(tmp_path, place, 8))
    assert is_finished(COUNT, part(tmp_path, 1, 8))


def test_a_changed_recipe_is_refused(tmp_path: Path) -> None:
    make(COUNT, part(tmp_path, 1))
    with pytest.raises(ArtifactError, match=r"settings.numbers: 20 -> 21"):
        make(replace(COUNT, numbers=21), part(tmp_path, 2))


def test_on_an_object_store(tmp_path: Path) -> None:
    """Where nothing can be locked, the first partition makes what is made in one piece."""
    root = f"memory://{tmp_path.name}/partitions"
    single = Count(name="single", numbers=3)
    make(single, part(tmp_path, 2, root=root))
    assert not is_finished(single, part(tmp_path, 1, root=root))
    make(single, part(tmp_path, 1, root=root))
    for place in (1, 2):
        make(COUNT, part(tmp_path, place, root=root))
    make(COUNT, Run(root=f"memory://{tmp_path.name}/plain", scratch=str(tmp_path / "scratch"), workers=1))
    store = Folder.at("memory://").fs
    for name in ("00000.parquet", "00004.json", "manifest.json"):
        there = [store.cat(f"/{tmp_path.name}/{where}/count/{name}") for where in ("partitions", "plain")]
        assert there[0] == there[1]


# Together


class News(Progress):
    """Keeps what is awaited."""

    def __init__(self) -> None:
        self.awaited: list[str] = []

    def news(self, name: str, counts: Any) -> None:
        self.awaited.append(str(counts["waiting for"]))


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_needs_others_waits_and_says_for_what(tmp_path: Path) -> None:
    news, done = News(), threading.Event()
    target = Together(name="together", documents=ODD)
    thread = beside(lambda: (make(target, part(tmp_path, 1, progress=news)), done.set()))
    while not news.awaited:
        assert thread.is_alive()
        time.sleep(0.01)
    assert news.awaited[0] == "2 of 5 shards of count, of other partitions"
    assert not done.is_set()
    make(target, part(tmp_path, 2))
    thread.join(90)
    assert done.is_set()
    assert is_finished(target, part(tmp_path, 1))
    make(target, alone(tmp_path, "plain"))
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_what_is_made_in_one_piece_is_left_to_the_one_that_makes_it(tmp_path: Path) -> None:
    single, news = Count(name="single", numbers=3), News()
    folder = Folder.at(str(tmp_path / "out")).child("single")
    with claimed(folder, otherwise=False) as is_ours:
        assert is_ours
        make(single, part(tmp_path, 1))  # the last stage: not awaited
        thread = beside(lambda: make(Odd(name="odd", documents=single), part(tmp_path, 2, progress=news)))
        while not news.awaited:
            assert thread.is_alive()
            time.sleep(0.01)
    thread.join(90)  # the claim is free: its owner is taken for dead
    assert news.awaited[0] == "1 of 1 shards of single, of other partitions"
    assert is_finished(single, part(tmp_path, 1))


def test_a_partition_that_runs_already_is_refused(tmp_path: Path) -> None:
    root = Folder.at(str(tmp_path / "out"))
    with locked_together(root, partition=(0, 2), purpose="a recipe"):
        with locked_together(root, partition=(1, 2), purpose="a recipe"):
            pass
        with (
            pytest.raises(ArtifactError, match="partition 1/2 already works in"),
            locked_together(root, partition=(0, 2), purpose="a recipe"),
        ):
            pass
        for partition, purpose in (((0, 3), "a recipe"), ((1, 2), "another recipe")):
            with (
                pytest.raises(ArtifactError, match="partitions of something else work in"),
                locked_together(root, partition=partition, purpose=purpose),
            ):
                pass
        with pytest.raises(ArtifactError, match="another run works in"):
            make(COUNT, alone(tmp_path))
    make(COUNT, alone(tmp_path))


def test_a_partition_refuses_to_work_beside_a_plain_run(tmp_path: Path) -> None:
    class Meddler(Progress):
        def plan(self, names: Any) -> None:
            with pytest.raises(ArtifactError, match="another run, without --partition, works in"):
                make(COUNT, part(tmp_path, 1))

    make(COUNT, replace(alone(tmp_path), progress=Meddler()))


# Three processes, one of which is killed


def start(arguments: tuple[Path, Path, Path], place: int, scratch: Path, said: Path, **settings: Any) -> Forked:
    fields = {"partition": [place - 1, 3], "scratch": str(scratch), **settings}
    words = [f"{name}={orjson.dumps(value).decode()}" for name, value in fields.items()]
    return fork(many_shards.main, *map(str, arguments), *words, folder=said)


def test_three_partitions_one_of_them_killed_give_the_bytes_of_a_plain_run(
    tmp_path: Path, vocabulary_folder: Path
) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(60)), tmp_path / "out"
    arguments, slow = (corpus, vocabulary_folder, out), {"engine_options": {"delay_seconds": 0.1}}
    scratches = [tmp_path / f"machine-{place}" for place in (1, 2, 3)]
    processes = [
        start(arguments, place, scratches[place - 1], tmp_path / f"said-{place}", **slow) for place in (1, 2, 3)
    ]
    while not list(scratches[1].glob("*/*/*.open/ledger.sqlite")):  # it asks the engine
        assert processes[1].is_alive(), processes[1].complained()
        time.sleep(0.005)
    processes[1].send(signal.SIGKILL)
    processes[1].end()
    assert not (out / "groups" / "manifest.json").exists()
    processes[1] = start(arguments, 2, scratches[1], tmp_path / "said-again")
    assert [process.end() for process in processes] == [0, 0, 0], [process.complained() for process in processes]
    said = [process.said() for process in processes]
    assert said.count("") >= 1  # the last one ended the work
    assert all("shards of texts are there" in line for line in said if line)
    plain = Run(root=str(tmp_path / "plain"), scratch=str(tmp_path / "scratch"), workers=1, engine=SCRIPTED)
    make(spread(corpus, vocabulary_folder), plain)
    assert contents(out) == contents(tmp_path / "plain")
    assert not [path for scratch in scratches for path in scratch.rglob("*.open")]
