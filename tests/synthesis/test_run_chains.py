"""Shards from threads: `run_chains`, one after another and several on one engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from gated_engine import GatedEngine, Make, collect, passages

from instructpt.engines.event_loop import run_in_loop
from instructpt.errors import BudgetError, EngineError, StorageError
from instructpt.records import Document, Group
from instructpt.synthesis.asking import Progress, Synthesis
from instructpt.synthesis.capacity import READ_AHEAD, Capacity
from instructpt.synthesis.chains import chains
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.scheduler import cancel, run_chains
from instructpt.words.vocabulary import Vocabulary


def test_without_asyncio_the_same_groups_come_out(make: Make) -> None:
    expected = collect(chains(passages(50), shots=3), make())
    for _ in range(2):  # shards come one after another
        assert list(run_chains(chains(passages(50), shots=3), synthesis=make())) == expected


def test_the_engine_goes_on_while_the_caller_is_busy_but_not_without_bound(make: Make) -> None:
    synthesis = make(limit=4)
    groups = run_chains(chains(passages(500), shots=1), synthesis=synthesis)
    next(groups)
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    wait_until(lambda: len(asked) > 4)
    num_held = -1
    while len(asked) > num_held:  # until it waits for us
        num_held = len(asked)
        time.sleep(0.2)
    assert num_held <= (READ_AHEAD + 1) * 4 + 2
    assert len([*groups]) == 499


def test_leaving_early_stops_all_that_is_under_way(make: Make) -> None:
    synthesis = make()
    engine = synthesis.engine
    assert isinstance(engine, GatedEngine)
    groups = run_chains(chains(passages(500), shots=3), synthesis=synthesis)
    next(groups)
    groups.close()  # type: ignore[attr-defined]
    assert engine.under_way == 0
    num_asked = len(engine.asked)
    time.sleep(0.05)
    assert len(engine.asked) == num_asked < 1_500

    async def others() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert run_in_loop(others()) == set()


def test_an_interrupt_while_waiting_stops_all_that_is_under_way(make: Make) -> None:
    synthesis = make()
    engine = synthesis.engine
    assert isinstance(engine, GatedEngine)
    engine.gates["p0 is a heron."] = asyncio.Event()  # never opened
    groups = run_chains(chains(passages(20), shots=1), synthesis=synthesis)
    # A shell that starts a job in the background has it ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(groups)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert engine.under_way == 0


def test_errors_reach_a_caller_without_asyncio(make: Make) -> None:
    def failing(prompt: str) -> str:
        raise EngineError("no")

    with pytest.raises(EngineError, match="none of 3 requests"):
        list(run_chains(chains(passages(3), shots=1), synthesis=make(failing)))

    def unreadable() -> Iterator[tuple[Document, ...]]:
        yield from chains(passages(3), shots=1)
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="the disk is gone"):
        list(run_chains(unreadable(), synthesis=make()))


Shards = Callable[..., list["Future[list[Group]]"]]


@pytest.fixture
def engine(small_vocabulary: Vocabulary) -> GatedEngine:
    return GatedEngine(small_vocabulary, capacity=6)


@pytest.fixture
def capacity(engine: GatedEngine) -> Capacity:
    return Capacity(engine)


@pytest.fixture
def shards(make: Make, engine: GatedEngine, capacity: Capacity, tmp_path: Path) -> Iterator[Shards]:
    """Starts `run_chains` in a thread for each list of passages, in order, all on one engine and capacity."""
    ledgers: list[Ledger] = []

    def start(*documents: list[Document], **changes: object) -> list[Future[list[Group]]]:
        futures = []
        for given in documents:
            rank = len(ledgers)
            ledgers.append(Ledger(tmp_path / f"shard-{rank}"))
            synthesis = make(engine=engine, capacity=capacity, ledger=ledgers[-1], rank=rank, **changes)
            futures.append(threads.submit(listed, given, synthesis))
        return futures

    def listed(given: list[Document], synthesis: Synthesis) -> list[Group]:
        return list(run_chains(chains(given, shots=2), synthesis=synthesis))

    with ThreadPoolExecutor(8) as threads:
        yield start
        cancel(capacity)
    for ledger in ledgers:
        ledger.close()
    assert (capacity.num_taken, capacity.num_held) == (0, 0)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came to that")


def close_gates(engine: GatedEngine, *documents: Document) -> None:
    for document in documents:
        engine.gates[document.text] = asyncio.Event()


def open_gates(engine: GatedEngine, *documents: Document) -> None:
    async def open_them() -> None:
        for document in documents:
            engine.gates[document.text].set()

    run_in_loop(open_them())


def test_the_next_shard_takes_what_the_tail_of_the_first_leaves(shards: Shards, engine: GatedEngine) -> None:
    first, second = passages(40), passages(40, prefix="q")
    close_gates(engine, *first[32:40:2], *second[::2])
    futures = shards(first)
    # Four chains of the first shard are held back at its end: the second has the other two places, and no more.
    wait_until(lambda: engine.under_way == 4 and len(engine.asked) == 36)
    futures += shards(second)
    wait_until(lambda: engine.under_way == 6 and len(engine.asked) == 38)
    assert sum(" q" in prompt for prompt in engine.asked) == 2
    assert engine.most_under_way == 6
    open_gates(engine, *first[32:40:2])
    wait_until(lambda: engine.under_way == 6 and sum(" q" in prompt for prompt in engine.asked) == 6)
    assert futures[0].result(60)
    open_gates(engine, *second[::2])
    for future, given in zip(futures, (first, second), strict=True):
        assert [shot.document for group in future.result(60) for shot in group.shots] == given


def test_shards_with_equal_prompts_do_not_mix(shards: Shards, make: Make) -> None:
    futures = shards(passages(30), passages(30), passages(30))
    expected = collect(chains(passages(30), shots=2), make())
    assert [future.result(60) for future in futures] == [expected] * 3


def test_where_a_request_hangs_the_next_shard_goes_on_but_not_without_bound(
    shards: Shards, engine: GatedEngine, capacity: Capacity
) -> None:
    documents = [passages(400, prefix=f"s{i}-") for i in range(3)]
    close_gates(engine, documents[0][0])
    futures = shards(*documents[:2])
    assert futures[1].result(60)
    assert engine.under_way == 1
    wait_until(lambda: capacity.num_held == READ_AHEAD * 6)
    close_gates(engine, documents[2][0])
    futures += shards(documents[2])
    wait_until(lambda: capacity.num_held == 2 * READ_AHEAD * 6 and engine.under_way == 2)
    open_gates(engine, documents[0][0], documents[2][0])
    for future, given in zip(futures, documents, strict=True):
        assert [shot.document for group in future.result(60) for shot in group.shots] == given


def test_a_stop_in_one_shard_stops_all_and_loses_no_answer(shards: Shards, engine: GatedEngine, tmp_path: Path) -> None:
    def stop() -> str | None:
        return "enough" if len(engine.asked) >= 10 else None

    futures = shards(passages(500), passages(500, prefix="q"), passages(500, prefix="r"), stop=stop)
    for future in futures:
        with pytest.raises(BudgetError, match="enough"):
            future.result(60)
    counts = []
    for rank in range(3):
        with Ledger(tmp_path / f"shard-{rank}") as ledger:
            counts.append(ledger.count())
    assert sum(counts) == len(engine.asked) < 100


def test_cancelling_ends_all_shards_also_those_that_begin_later(
    shards: Shards, engine: GatedEngine, capacity: Capacity
) -> None:
    documents = passages(40)
    close_gates(engine, *documents)
    futures = shards(documents, passages(40, prefix="q"))
    wait_until(lambda: engine.under_way == 6)
    cancel(capacity)
    for future in [*futures, *shards(passages(3, prefix="late"))]:
        with pytest.raises(asyncio.CancelledError):
            future.result(60)
    assert engine.under_way == 0


LOOPS = """
import asyncio, threading
from instructpt.engines.event_loop import run_in_loop

async def here():
    return asyncio.get_running_loop()

barrier, found = threading.Barrier(16), set()

def first():
    barrier.wait()
    found.add(run_in_loop(here()))

threads = [threading.Thread(target=first) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found))
"""


def test_threads_that_come_first_at_once_find_one_loop() -> None:
    done = subprocess.run([sys.executable, "-c", LOOPS], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_an_engine_that_gives_no_answer_is_told_of(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instructpt.synthesis.scheduler._SECONDS_OF_SILENCE", 0.05)
    synthesis, told, gate = make(), [], asyncio.Event()
    (document,) = passages(1)
    synthesis.engine.gates[document.text] = gate  # type: ignore[attr-defined]

    def tell(progress: Progress) -> None:
        told.append(progress.passages)
        if len(told) == 3:
            gate.set()

    (group,) = run_chains(chains([document], shots=1), synthesis=synthesis, on_progress=tell)
    assert told[:3] == [0, 0, 0]
    assert told[-1] == len(group.shots) == 1
