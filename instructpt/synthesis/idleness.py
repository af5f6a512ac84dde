"""Idleness: how much of the time endpoints have nothing to do, and what for lack of.

    endpoint 1   ##########..####--####      # a request is under way there
    endpoint 2   ####......####--######      . the next turns of all chains wait for answers from elsewhere
                                             - the disk: passages are read, or groups written, more slowly

A thread looks a few times a second, so that the moment has nothing to do with what happens just then (an answer that
has come always leaves a place free for an instant), and a slow disk that holds up the event loop is seen, too.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

from instructpt.engines import Endpoint, Engine
from instructpt.synthesis.capacity import Capacity

Cause = Literal["chain", "disk", "rate_limit", "down", "process", "nothing_left"]
"""Keys of `progress.view.IDLE`, which says them in words."""
_SECONDS_BETWEEN_LOOKS = 0.2


class Idleness(AbstractContextManager["Idleness"]):
    """Looks at the endpoints of `engine` while it is entered; at none where the model runs in this process.

    clock: of seconds, for `look`.
    """

    def __init__(self, engine: Engine, capacity: Capacity, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._capacity, self._clock = engine, capacity, clock
        self._last = clock()
        self._seconds = 0.0
        self._idle: dict[str, Counter[Cause]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Idleness:
        if self._engine.state().endpoints:
            self._thread = threading.Thread(target=self._go_on, name="idleness", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Count the time since the last look as what is the case now."""
        now, endpoints = self._clock(), self._engine.state().endpoints
        passed, self._last = now - self._last, now
        num_asked = sum(endpoint.num_under_way for endpoint in endpoints)
        for endpoint in endpoints:
            idle = self._idle.setdefault(endpoint.name, Counter())
            if (why := cause(endpoint, self._capacity, num_asked=num_asked)) is not None:
                idle[why] += passed  # type: ignore[assignment]  # a Counter adds whatever numbers it is given
        self._seconds += passed

    def shares(self, endpoint: Endpoint) -> dict[str, float]:
        """Shares of the time so far for which an endpoint stood idle, by cause, the largest first."""
        if not self._seconds:
            return {}
        return {why: seconds / self._seconds for why, seconds in self._idle.get(endpoint.name, Counter()).most_common()}

    def news(self) -> dict[str, object]:
        """Seconds of all endpoints together, by cause: numbers that those of other engines can be added to."""
        if not self._idle:
            return {}
        news: dict[str, object] = {"endpoint_seconds": self._seconds * len(self._idle)}
        total: Counter[Cause] = sum(tuple(self._idle.values()), Counter())
        return news | {f"idle/{why}": seconds for why, seconds in total.items()}

    def _go_on(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            self.look()


def cause(endpoint: Endpoint, capacity: Capacity, *, num_asked: int) -> Cause | None:
    """Why an endpoint has nothing to do at this moment; None if it has. num_asked: requests at all endpoints."""
    if endpoint.num_under_way:
        return None
    if endpoint.is_held_back:
        return "rate_limit"
    if not endpoint.is_healthy:
        return "down"
    if capacity.num_taken > num_asked:
        return "process"
    waits = capacity.readers_wait_for()
    if "disk" in waits:
        return "disk"
    return "chain" if waits or capacity.num_taken else "nothing_left"
