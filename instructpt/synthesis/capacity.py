"""Capacity: how many chains may be under way at one engine, and who gets the places as they come free.

Too few and the engine waits for us; too many only wait in its queue, where a chain's prefix grows cold. Where the
engine says what it can do (`EngineState.capacity`) that is the number. Elsewhere it is found by trying: the number
under way is changed, and kept where the tokens that come back in a second say so.

    tokens/s                    ........o......o     16 -> 32 -> 64 -> 128: each brought more, go on
       |                 . * '                       128 -> 256: nothing more, back to 128 (*)
       |           . o '                             then, from time to time: 128 -> 160? 128 -> 102?
       |      . o '                                  up if it brings more, down if it costs nothing
       |   o '
       +---16--32-----64-------128----256--- under way

What is measured is a window: so many answers that each of those under way was replaced twice, after as many that were
sent under the number before. So one slow answer is one of many that did not come, and changes nothing.

The places are shared by all shards that work with one engine, the earlier shard first:

    shard 1   ################----          the chains of shard 2 take what the tail of shard 1 leaves, so that the
    shard 2               ----########      engine is never idle between the two

All of it belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from instructpt.engines import Engine
from instructpt.errors import RecipeError

READ_AHEAD = 4
"""Chains that a shard holds, for each one that may be under way: a slow chain holds up others only once so many are
done behind it. An answer at its limit takes about three times as long as the mean one. All shards together hold twice
as many, so that another one goes on where a request hangs."""

FIRST = 16
"""Under way before anything is known: little enough for one small server."""
_MIN_ANSWERS = 64
"""In a window: of tokens/s over so many answers of mixed lengths, the error is about 8 %."""
_TURNS = 2
"""How often a window replaces what is under way."""
_RESTS = 6
"""Windows without a change between two tries: what they measure is what the next try is held against."""
_MIN_FULL = 0.8
"""A window in which fewer places were taken says nothing about the engine."""
_KEPT = {"double": 1.1, "up": 1.05, "down": 0.97}
"""Tokens/s, as a multiple of those before, at which a change stays. Twice as many places bring twice as many tokens
as long as the engine has room, a quarter more a quarter more, a fifth fewer a fifth fewer; and nothing where it has
none."""
_FACTORS = {"double": 2.0, "up": 1.25, "down": 0.8}

Try = Literal["double", "up", "down"]
WaitsFor = Literal["chain", "disk"]
"""What the next chain of a shard waits for: one before it, or to be read, or for the groups of earlier ones to be
written."""


@dataclass(slots=True)
class Search:
    """Finds the number under way beyond which an engine wins nothing. Told of every answer; knows no clock."""

    most: int
    limit: int = FIRST
    """May be under way now."""
    _trial: Try | None = "double"
    _next: Try = "up"
    _base: int = 0
    """The number from which the trial went out."""
    _base_rate: float = 0.0
    """Tokens/s there: the mean over the windows since, in a rest."""
    _num_rests: int = 0
    _num_skipped: int = 0
    _num_answers: int = 0
    _num_tokens: int = 0
    _num_taken: int = 0
    _started: float = 0.0

    def __post_init__(self) -> None:
        self.limit = min(self.limit, self.most)

    def answered(self, num_tokens: int, *, now: float, num_taken: int) -> None:
        """Count an answer. now: in seconds, by any clock that only goes forward; num_taken: places in use."""
        if self._num_skipped < self.limit:
            self._num_skipped += 1
            self._started = now
            return
        self._num_answers += 1
        self._num_tokens += num_tokens
        self._num_taken += num_taken
        if self._num_answers < max(_MIN_ANSWERS, _TURNS * self.limit) or now <= self._started:
            return
        rate, is_full = self._num_tokens / (now - self._started), self._is_full()
        self._num_answers = self._num_tokens = self._num_taken = 0
        self._started = now
        if is_full:
            self._judge(rate)

    def _is_full(self) -> bool:
        return self._num_taken >= _MIN_FULL * self.limit * self._num_answers

    def _judge(self, rate: float) -> None:
        trial = self._trial
        if trial is None:
            self._base_rate += (rate - self._base_rate) / (self._num_rests + 1)
            self._num_rests += 1
            if self._num_rests >= _RESTS:
                self._try(self._next)
                self._next = "down" if self._next == "up" else "up"
        elif rate < _KEPT[trial] * self._base_rate:
            self._rest(self._base)
        elif trial == "down":
            self._rest(self.limit)
        else:
            self._base_rate = rate
            self._try(trial)

    def _try(self, trial: Try) -> None:
        wanted = round(self.limit * _FACTORS[trial]) + (trial == "up" and self.limit < 4)
        wanted = max(1, min(wanted, self.most))
        if wanted == self.limit:
            self._rest(self.limit)
            return
        self._trial, self._base = trial, self.limit
        self._change(wanted)

    def _rest(self, limit: int) -> None:
        self._trial, self._num_rests = None, 0
        self._base_rate = 0.0
        self._change(limit)

    def _change(self, limit: int) -> None:
        self.limit, self._num_skipped = limit, 0


class Capacity:
    """The places at one engine. A chain takes one from its first request to its last."""

    def __init__(self, engine: Engine, *, most: int = 1024, clock: Callable[[], float] = time.monotonic) -> None:
        """most: never more places than this. Raises RecipeError if that is less than 1."""
        if most < 1:
            raise RecipeError(f"{most} chains in flight: give at least 1")
        self.num_answered = 0
        """Requests that the engine answered so far, for all shards."""
        self.stopped: str | None = None
        """Why no further request is to be sent, once somebody said so."""
        self._engine, self._most, self._clock = engine, most, clock
        self._search = Search(most)
        self._known = engine.state().capacity
        self._num_taken = self._num_held = self._num_waited = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_cancelled = False
        self._tell_read: Callable[[int], None] | None = None
        self._readers: dict[int, Callable[[], WaitsFor]] = {}

    @property
    def limit(self) -> int:
        """How many places there are now."""
        return self._search.limit if self._known is None else max(1, min(self._known, self._most))

    @property
    def num_taken(self) -> int:
        """Places in use."""
        return self._num_taken

    @property
    def num_held(self) -> int:
        """Chains that were let in and not released: under way, or done and waiting for one before them."""
        return self._num_held

    async def take(self, rank: int) -> None:
        """Wait for a place, and for room to hold one chain more. Of those that wait, the lowest rank goes first."""
        self._wake()
        if self._has_place():
            self._let_in()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._num_waited += 1
        heapq.heappush(self._waiting, (rank, self._num_waited, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in and cancelled in one turn of the loop
                self.leave()
            raise

    def give_back(self) -> None:
        """Leave a place: the chain is done."""
        self._num_taken -= 1
        self._wake()

    def release(self, num_chains: int = 1) -> None:
        """Hold so many chains less: their groups were taken away."""
        self._num_held -= num_chains
        self._wake()

    def leave(self) -> None:
        """Give a place back unused."""
        self.give_back()
        self.release()

    def when_read(self, tell: Callable[[int], None]) -> None:
        """Have `tell` called with the rank of each shard that needs no further place, all its chains being let in."""
        self._tell_read = tell

    def begin_to_read(self, rank: int, waits_for: Callable[[], WaitsFor]) -> None:
        """Say that this shard needs places from now on. waits_for: for what it waits; cheap, from any thread."""
        self._readers[rank] = waits_for

    def end_reading(self, rank: int) -> None:
        """Say that this shard needs no further place, because it is read or because it failed."""
        self._readers.pop(rank, None)

    def readers_wait_for(self) -> set[WaitsFor]:
        """What the shards wait for that still need places; empty if none does. From any thread."""
        return {waits_for() for waits_for in tuple(self._readers.values())}

    def read_to_end(self, rank: int) -> None:
        """Say that this shard needs no further place."""
        if self._tell_read is not None:
            self._tell_read(rank)

    def answered(self, num_tokens: int) -> None:
        """Count an answer of the engine's, to learn from."""
        self.num_answered += 1
        if self._known is None:
            self._search.answered(num_tokens, now=self._clock(), num_taken=self._num_taken)
        if self.num_answered % FIRST == 0:  # endpoints come and go
            self._known = self._engine.state().capacity

    def stop(self, reason: str) -> None:
        """From now on send no further request, in any shard; those under way are waited for."""
        self.stopped = self.stopped or reason

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Have `cancel` end this task, at once if it was called already."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cancelled:
            task.cancel()

    def cancel(self) -> None:
        """End everything that is under way in any shard, and what is begun later. From the event loop's thread."""
        self._is_cancelled = True
        for task in self._tasks:
            task.cancel()

    @property
    def is_full(self) -> bool:
        """Whether as many chains are held as may be."""
        return self._num_held >= 2 * READ_AHEAD * self.limit

    def _has_place(self) -> bool:
        return self._num_taken < self.limit and not self.is_full

    def _let_in(self) -> None:
        self._num_taken += 1
        self._num_held += 1

    def _wake(self) -> None:
        while self._waiting and self._has_place():
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                self._let_in()
                place.set_result(None)
