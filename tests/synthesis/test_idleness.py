"""Endpoints that stand idle: how long, by a clock of the test's own, and what for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from gated_engine import GatedEngine, Make, passages

from instructpt.engines import Endpoint, EngineState
from instructpt.engines.event_loop import event_loop
from instructpt.progress.view import IDLE, View, idle
from instructpt.synthesis.capacity import READ_AHEAD, Capacity, WaitsFor
from instructpt.synthesis.chains import chains
from instructpt.synthesis.idleness import Cause, Idleness, cause
from instructpt.synthesis.scheduler import run_chains

IDLE_ONE = Endpoint("http://gpu1/v1", is_healthy=True, num_under_way=0, num_answered=5, num_failed=0)
BUSY_ONE = replace(IDLE_ONE, name="http://gpu2/v1", num_under_way=3)


class Told:
    """An engine whose state is what the test says."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = endpoints

    def state(self) -> EngineState:
        return EngineState(capacity=8, endpoints=self.endpoints)


def capacity_of(engine: Any, *, num_taken: int = 0, waits: WaitsFor | None = None) -> Capacity:
    """With so many chains under way, and a shard that waits for something; None: all are read."""
    capacity = Capacity(engine)
    for _ in range(num_taken):
        asyncio.run(capacity.take(0))
    if waits is not None:
        capacity.begin_to_read(0, lambda: waits)
    return capacity


@pytest.mark.parametrize(
    ("endpoint", "num_taken", "waits", "why"),
    [
        (BUSY_ONE, 3, "disk", None),
        (replace(IDLE_ONE, is_held_back=True), 3, "disk", "rate_limit"),
        (replace(IDLE_ONE, is_healthy=False), 3, "chain", "down"),
        (IDLE_ONE, 4, "chain", "process"),
        (IDLE_ONE, 3, "disk", "disk"),
        (IDLE_ONE, 3, "chain", "chain"),
        (IDLE_ONE, 3, None, "chain"),
        (IDLE_ONE, 0, None, "nothing_left"),
    ],
)
def test_why_an_endpoint_has_nothing_to_do(
    endpoint: Endpoint, num_taken: int, waits: WaitsFor | None, why: Cause | None
) -> None:
    capacity = capacity_of(Told(endpoint), num_taken=num_taken, waits=waits)
    assert cause(endpoint, capacity, num_asked=3) == why
    assert why is None or why in IDLE


def test_the_time_is_counted_by_cause_and_told_in_words() -> None:
    engine, now = Told(IDLE_ONE, BUSY_ONE), [100.0]
    capacity = capacity_of(engine, num_taken=3, waits="chain")
    idleness = Idleness(engine, capacity, clock=lambda: now[0])  # type: ignore[arg-type]
    assert (idleness.news(), idleness.shares(IDLE_ONE)) == ({}, {})
    now[0] = 130.0
    idleness.look()
    capacity.begin_to_read(0, lambda: "disk")
    now[0] = 140.0
    idleness.look()
    engine.endpoints = (replace(IDLE_ONE, num_under_way=1), replace(BUSY_ONE, num_under_way=0, is_held_back=True))
    now[0] = 200.0
    idleness.look()
    assert idleness.shares(IDLE_ONE) == {"chain": 0.3, "disk": 0.1}
    assert idleness.shares(BUSY_ONE) == {"rate_limit": 0.6}
    news = idleness.news()
    assert news == {"endpoint_seconds": 200.0, "idle/chain": 30.0, "idle/disk": 10.0, "idle/rate_limit": 60.0}
    assert idle(View(counts=news)) == (
        "50% of the time: 30% for a rate limit, 15% for chains whose next turn waits for an answer, 5% for the disk"
    )
    assert idle(View(counts={"endpoint_seconds": 200.0, "idle/chain": 0.1})) == ""


def test_it_looks_by_itself_while_it_is_entered() -> None:
    engine = Told(IDLE_ONE)
    with Idleness(engine, capacity_of(engine)) as idleness:  # type: ignore[arg-type]
        wait_until(lambda: "nothing_left" in idleness.shares(IDLE_ONE))
        assert set(idleness.shares(IDLE_ONE)) == {"nothing_left"}


def test_a_shard_waits_for_a_slow_chain_or_for_its_groups_to_be_written(make: Make) -> None:
    synthesis = make(limit=2)
    engine, capacity = synthesis.engine, synthesis.capacity
    assert isinstance(engine, GatedEngine)
    gate = engine.gates["p0 is a heron."] = asyncio.Event()
    groups = run_chains(chains(passages(40), shots=1), synthesis=synthesis)
    first = threading.Thread(target=next, args=(groups,))
    first.start()
    wait_until(lambda: capacity.num_held == READ_AHEAD * 2 and capacity.num_taken == 1)
    assert capacity.readers_wait_for() == {"chain"}
    event_loop().call_soon_threadsafe(gate.set)
    first.join()
    wait_until(lambda: capacity.readers_wait_for() == {"disk"} and capacity.num_taken == 0)  # nobody takes the groups
    assert len([*groups]) == 39
    assert capacity.readers_wait_for() == set()


def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.01)
