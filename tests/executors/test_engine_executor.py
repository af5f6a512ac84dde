"""Shards in threads on one engine: in order, overlapping, and all ended by the first error."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_stages import Count

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run
from instructpt.errors import BudgetError, EngineError, StorageError
from instructpt.executors.local import MAX_OPEN, run_together
from instructpt.executors.make import make
from instructpt.synthesis.stages import Synthesize
from instructpt.words import vocabulary


class Recorder:
    """What the stage opened: it keeps who is told of shards that were read, and lets waiting shards go on a cancel."""

    def __init__(self) -> None:
        self.tell: Callable[[int], None] | None = None
        self.cancelled = threading.Event()

    def when_read(self, tell: Callable[[int], None]) -> None:
        self.tell = tell

    def cancel(self) -> None:
        self.cancelled.set()


class Shards:
    """Work on shards that a test reads to their end and finishes when it likes."""

    def __init__(self) -> None:
        self.shared = Recorder()
        self.begun: list[int] = []
        self.ends: dict[int, threading.Event] = {}
        self.errors: dict[int, BaseException] = {}

    def work(self, stage: Any, index: int, run: Run) -> float:
        self.ends.setdefault(index, threading.Event())
        self.begun.append(index)
        while not self.ends[index].wait(0.001):
            if self.shared.cancelled.is_set():
                raise EngineError(f"shard {index} was cancelled")
        if index in self.errors:
            raise self.errors[index]
        return index / 10

    def read(self, index: int) -> None:
        assert self.shared.tell is not None
        self.shared.tell(index)

    def finish(self, *indices: int) -> None:
        for index in indices:
            self.ends.setdefault(index, threading.Event()).set()

    def run(self, tmp_path: Path, count: int) -> list[tuple[int, float]]:
        run = Run(root=str(tmp_path), shared=self.shared)
        return list(run_together(self.work, Count(name="count"), range(count), run))


@pytest.fixture
def shards() -> Shards:
    return Shards()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("shard-", "ledger"))]


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("it never came to that")


def test_every_shard_is_built_once_and_told_of(shards: Shards, tmp_path: Path) -> None:
    shards.finish(*range(50))
    assert sorted(shards.run(tmp_path, 50)) == [(index, index / 10) for index in range(50)]
    assert shards.begun == sorted(shards.begun) == list(range(50))


def test_one_shard_waits_behind_the_one_that_is_read(shards: Shards, tmp_path: Path) -> None:
    found: list[tuple[int, float]] = []
    main = threading.Thread(target=lambda: found.extend(shards.run(tmp_path, 6)))
    main.start()
    wait_until(lambda: shards.begun == [0, 1])
    time.sleep(0.05)
    assert shards.begun == [0, 1], "the third would take a ledger and a reader for nothing"
    shards.read(0)  # its last chains are under way
    wait_until(lambda: shards.begun == [0, 1, 2])
    shards.finish(1)  # a shard that never said that it was read
    wait_until(lambda: shards.begun == [0, 1, 2, 3])
    shards.read(0)  # said twice
    time.sleep(0.02)
    assert shards.begun == [0, 1, 2, 3]
    shards.finish(*range(6))
    main.join()
    assert sorted(index for index, _ in found) == list(range(6))


def test_small_shards_are_open_in_numbers_but_not_in_any(shards: Shards, tmp_path: Path) -> None:
    main = threading.Thread(target=lambda: shards.run(tmp_path, 100))
    main.start()
    for index in range(MAX_OPEN + 5):
        wait_until(lambda index=index: len(shards.begun) > min(index, MAX_OPEN - 1))  # type: ignore[misc]
        shards.read(index)
    time.sleep(0.05)
    assert len(shards.begun) == MAX_OPEN
    shards.finish(*range(100))
    main.join()
    assert sorted(shards.begun) == list(range(100))


def test_the_first_error_ends_all_others_and_begins_no_more(shards: Shards, tmp_path: Path) -> None:
    shards.errors[1] = EngineError("the server is gone")
    shards.finish(1)
    with pytest.raises(EngineError, match="the server is gone"):
        shards.run(tmp_path, 20)
    assert shards.shared.cancelled.is_set()
    assert len(shards.begun) <= 3


def test_after_a_budget_error_the_others_end_by_themselves(shards: Shards, tmp_path: Path) -> None:
    found: list[tuple[int, float]] = []
    caught: list[BaseException] = []
    where = Run(root=str(tmp_path), shared=shards.shared)

    def run() -> None:
        try:
            found.extend(run_together(shards.work, Count(name="count"), range(9), where))
        except BudgetError as error:
            caught.append(error)

    shards.errors[0] = BudgetError("$3 of $3 are spent")
    main = threading.Thread(target=run)
    main.start()
    wait_until(lambda: len(shards.begun) == 2)
    shards.finish(0)
    time.sleep(0.05)
    assert not shards.shared.cancelled.is_set()
    assert main.is_alive()
    shards.finish(1)
    main.join()
    assert (found, str(caught[0])) == ([(1, 0.1)], "$3 of $3 are spent")
    assert shards.begun == [0, 1]


def test_an_interrupt_ends_all_shards(shards: Shards, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        wait_until(lambda: shards.begun == [0, 1])
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            shards.run(tmp_path, 5)
    finally:
        other.join()
        signal.signal(signal.SIGINT, before)
    assert shards.shared.cancelled.is_set()


def test_a_caller_that_fails_ends_all_shards(shards: Shards, tmp_path: Path) -> None:
    shards.finish(0)
    run = Run(root=str(tmp_path), shared=shards.shared)
    work = run_together(shards.work, Count(name="count"), range(5), run)
    assert next(work) == (0, 0.0)
    work.close()  # type: ignore[attr-defined]
    assert shards.shared.cancelled.is_set()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a vocabulary, which is all that the scripted engine needs of a model."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train(
        ["number 1 and number 2 <CON> </CON> <QUE> <ANS> </END> the text says " * 20], size=320, folder=folder
    )
    return str(folder)


def synthesis(model: str) -> Synthesize:
    passages = Count(name="count", numbers=60, shard_size=7)
    return Synthesize(name="pairs", passages=passages, model=model, dialect="tags", shots=2, window_tokens=2_000)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "pairs").iterdir() if path.suffix in (".parquet", ".json")}


def test_shards_that_overlap_come_out_as_those_one_by_one(model: str, tmp_path: Path) -> None:
    options = {"delay_seconds": 0.01, "error_share": 0.05, "garbage_share": 0.05}
    one_by_one = Run(root=str(tmp_path / "a"), engine=SCRIPTED, engine_options=options, chains_in_flight=1, workers=1)
    overlapping = replace(one_by_one, root=str(tmp_path / "b"), chains_in_flight=64, fingerprints={})
    for run in (one_by_one, overlapping):
        make(synthesis(model), run)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "b")) == 9 * 2 + 2
    assert not list((tmp_path / "b" / "pairs").glob("*.open"))


def test_an_error_in_one_shard_leaves_the_others_answers_and_the_next_run_goes_on(model: str, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    whole = Run(root=str(tmp_path / "a"), engine=SCRIPTED, chains_in_flight=8, workers=1)
    make(synthesis(model), whole)
    damaged = replace(whole, root=str(tmp_path / "b"), fingerprints={}, engine_options={"log": asked})
    make(synthesis(model).passages, damaged)
    in_the_way = tmp_path / "b" / "pairs" / "00003.open" / "ledger.sqlite"
    in_the_way.mkdir(parents=True)
    (tmp_path / "b" / "pairs" / "recipe.json").write_bytes((tmp_path / "a" / "pairs" / "recipe.json").read_bytes())
    with pytest.raises(StorageError, match=r"00003\.open/ledger\.sqlite"):
        make(synthesis(model), damaged)
    num_asked = len(asked.read_text().splitlines())
    in_the_way.rmdir()
    make(synthesis(model), damaged)
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    assert 0 < num_asked < len(asked.read_text().splitlines())
