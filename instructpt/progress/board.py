"""How a run stands at a moment: what the panel draws, and what `status.json` tells machines.

    plan, found, started, news, sealed, finished  -->  Board  --view()-->  View  -->  panel.py, status.py

Whoever works says how far it is; the board keeps the last word of it and finds out the pace, over the last minute and
not since the start, so that an hour of waiting for a server does not weigh on the days after it:

    passages   0 .... 600 ............ 600 ....... 1,200      the window is the last 60 seconds
    seconds    0      60               3,600       3,660      pace 10/s, time left by it
                                       [---- here ----]
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from instructpt.artifacts.tally import Tally

WINDOW_SECONDS = 60.0
_SECONDS_BETWEEN_MARKS = 1.0

StageState = Literal["waiting", "running", "found", "done"]


@dataclass(slots=True)
class Pace:
    """How fast counts grow, over the last `WINDOW_SECONDS`."""

    _marks: deque[tuple[float, Mapping[str, float]]] = field(default_factory=deque)

    def add(self, counts: Mapping[str, float], *, now: float) -> None:
        """What the counts are at the time `now`, in seconds by any clock that only goes forward."""
        if len(self._marks) > 1 and now - self._marks[-2][0] < _SECONDS_BETWEEN_MARKS:
            self._marks.pop()
        self._marks.append((now, counts))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()

    def per_second(self, name: str, *, now: float) -> float | None:
        """How fast this count grows; None before it was told twice. Without news it falls towards 0."""
        if len(self._marks) < 2:
            return None
        (began, first), (_, last) = self._marks[0], self._marks[-1]
        return max(0.0, (last.get(name, 0.0) - first.get(name, 0.0)) / max(now - began, 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A run at a moment."""

    stages: Mapping[str, StageState]
    """In order."""
    tallies: Mapping[str, Tally]
    """Of those that are finished."""
    stage: str | None
    """The one at work."""
    num_shards: int
    num_sealed: int
    seconds: float
    """Since the stage at work was begun."""
    counts: Mapping[str, object]
    """The last news, as they came."""
    rates: Mapping[str, float]
    """Of what is counted in numbers: so many a second, over the last minute."""
    num_passages: float | None
    """Of the whole stage, estimated from the shards begun so far; None where no passages are counted."""
    seconds_left: float | None
    """By the recent pace of passages, else by that of shards; None where there is none yet."""


@dataclass(slots=True)
class Board:
    """Keeps how things stand. A `progress.Progress`; its methods may be called from any thread."""

    clock: Callable[[], float] = time.monotonic
    _states: dict[str, StageState] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _stage: str | None = None
    _began: float = 0.0
    _num_shards: int = 0
    _num_sealed: int = 0
    _num_sealed_here: int = 0
    _counts: Mapping[str, object] = field(default_factory=dict)
    _pace: Pace = field(default_factory=Pace)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""
        with self._lock:
            self._states = dict.fromkeys(names, "waiting")

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before."""
        with self._lock:
            self._states[name], self._tallies[name] = "found", tally

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins."""
        with self._lock:
            self._states[name], self._stage, self._began = "running", name, self.clock()
            self._num_shards, self._num_sealed, self._num_sealed_here = num_shards, num_sealed, 0
            self._counts, self._pace = {}, Pace()

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How the open shards of a stage stand."""
        with self._lock:
            if name == self._stage:
                self._counts = dict(counts)
                self._pace.add(_growing(counts), now=self.clock())

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""
        del tally
        with self._lock:
            if name == self._stage:
                self._num_sealed += 1
                self._num_sealed_here += 1

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""
        with self._lock:
            self._states[name], self._tallies[name] = "done", tally
            self._stage = None if name == self._stage else self._stage

    def view(self) -> View:
        """How things stand now."""
        with self._lock:
            now = self.clock()
            rates = {name: self._pace.per_second(name, now=now) for name in _growing(self._counts)}
            known = {name: rate for name, rate in rates.items() if rate is not None}
            whole = self._whole()
            return View(
                stages=dict(self._states),
                tallies=dict(self._tallies),
                stage=self._stage,
                num_shards=self._num_shards,
                num_sealed=self._num_sealed,
                seconds=now - self._began if self._stage else 0.0,
                counts=self._counts,
                rates=known,
                num_passages=whole,
                seconds_left=self._left(whole, known, now) if self._stage else None,
            )

    def _whole(self) -> float | None:
        """Passages of all shards that this command has to do with, as large as those begun so far."""
        total, num_begun = number(self._counts, "total"), number(self._counts, "shards")
        if "passages" not in self._counts or not total:
            return None
        num_waiting = self._num_shards - (self._num_sealed - self._num_sealed_here) - num_begun
        return total + max(0.0, num_waiting) * total / num_begun if num_begun else total

    def _left(self, whole: float | None, rates: Mapping[str, float], now: float) -> float | None:
        if whole is not None:
            pace = rates.get("asked", 0.0)
            return (whole - number(self._counts, "passages")) / pace if pace else None
        if not self._num_sealed_here:
            return None
        return (now - self._began) / self._num_sealed_here * (self._num_shards - self._num_sealed)


def number(counts: Mapping[str, object], name: str) -> float:
    """A count, 0 where there is none."""
    value = counts.get(name, 0)
    return value if isinstance(value, int | float) else 0.0


def _growing(counts: Mapping[str, object]) -> dict[str, float]:
    """The counts that are numbers, and `asked`: passages that no ledger answered, by which the time left is told."""
    found = {name: float(value) for name, value in counts.items() if isinstance(value, int | float)}
    if "passages" in found:
        found["asked"] = found["passages"] - found.get("replayed", 0.0)
    return found
