"""Endpoints: where an HTTP engine's model runs, and which of them gets the next request.

A request goes where its prefix is known to lie, since a server reads a prefix that it holds at no cost; unless that
endpoint is down or far more loaded than the least loaded one, which gets it then and holds its prefix from now on.
With no endpoint left for `gone_seconds`, all requests fail. `places` says how each of them is doing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from instructpt.engines.places import PATIENCE_WITH_LIMITS, Place, move
from instructpt.errors import EngineError, EngineGoneError

_log = logging.getLogger(__name__)

_SECONDS_BEFORE_WARNING = 15.0
"""Of nothing but "too many requests"; shorter ones are how such servers work."""
_FAR_MORE_LOADED = 1.5
_FEW_REQUESTS = 8
"""An endpoint holds on to its prefixes up to this many times the least load, and this many requests more."""
_MAX_PREFIXES = 1 << 16


class Endpoints:
    """The places, the choice between them, and the requests that wait for one. Used in one event loop alone."""

    def __init__(self, places: Sequence[Place], *, gone_seconds: float) -> None:
        self.places = tuple(places)
        self._gone_seconds = gone_seconds
        self._homes: OrderedDict[bytes, Place] = OrderedDict()
        """Where a prefix lies."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._end = asyncio.Event()
        self._ended_by: EngineError | None = None

    async def acquire(self, prefix: bytes, *, avoid: Place | None = None) -> Place:
        """The place for the next request that begins with `prefix`; another than `avoid` if there is one.

        Waits for one. Raises what `end` was given. The caller adds its Flight before it awaits anything.
        """
        has_waited = False
        while True:
            if self._ended_by is not None:
                raise type(self._ended_by)(*self._ended_by.args)  # one of its own for each, since tracebacks grow
            place = self.choose(prefix, avoid=avoid)
            if place is not None:
                self.wake()  # there may be room for more; if not, that one waits on
                return place
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._waiting.appendleft if has_waited else self._waiting.append)(waiter)
            has_waited = True
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self.wake()  # the place that was meant for this one is another's now
                raise

    def choose(self, prefix: bytes, *, avoid: Place | None = None) -> Place | None:
        """The best place that has room at this moment; none before each was looked at once, lest the first gets all."""
        if any(place.state == "new" and place.failed_probes == 0 for place in self.places):
            return None
        now = monotonic()
        free = [
            place
            for place in self.places
            if place.is_usable and place.not_before <= now and len(place.flights) < place.most
        ]
        if avoid is not None and any(place is not avoid and place.is_usable for place in self.places):
            free = [place for place in free if place is not avoid]
        if not free:
            return None
        least = min(free, key=lambda place: (len(place.flights), place.num_answered))
        home = self._homes.get(prefix)
        too_many = _FAR_MORE_LOADED * len(least.flights) + _FEW_REQUESTS
        chosen = home if home in free and home is not None and len(home.flights) <= too_many else least
        self._homes[prefix] = chosen
        self._homes.move_to_end(prefix)
        if len(self._homes) > _MAX_PREFIXES:
            self._homes.popitem(last=False)
        return chosen

    def wake(self, count: int = 1) -> None:
        """Let so many of those that wait look again."""
        while self._waiting and count > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def wake_all(self) -> None:
        """Let all that wait look again: something about a place has changed."""
        self.wake(len(self._waiting))

    def check(self) -> None:
        """Move requests off places that are down, and end all if no place is left."""
        if all(place.is_gone(self._gone_seconds) for place in self.places):
            self.end(self._gone())
            return
        for place in self.places:
            self._warn(place)
            has_another = any(other is not place and other.state == "up" for other in self.places)
            if place.state == "down" and place.failed_probes and has_another:
                move(place)

    def take_out(self, place: Place, error: EngineError) -> None:
        """`place` can answer nothing, whatever is asked: the others go on without it. If it is the last, all ends."""
        if self._ended_by is not None or place.state == "out":
            return
        place.state, place.last_error = "out", place.address.blot(str(error))
        if all(other.state == "out" for other in self.places):
            self.end(error)
            return
        _log.warning("%s. It gets no more requests; the other endpoints go on.", place.last_error)
        move(place)
        self.wake_all()
        self.check()

    def end(self, error: EngineError) -> None:
        """All requests, under way, waiting or to come, raise `error`."""
        self._ended_by = self._ended_by or error
        for place in self.places:
            for flight in tuple(place.flights):
                flight.end(self._ended_by)
        self._end.set()
        self.wake_all()

    async def wait_for_end(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._end.wait()

    def _warn(self, place: Place) -> None:
        """Say once that an endpoint answers nothing but "too many requests", and how long that may go on."""
        since = place.pushed_back_since
        if since is None or place.has_warned or monotonic() - since < _SECONDS_BEFORE_WARNING:
            return
        place.has_warned = True
        _log.warning(
            "%s: %s. It is asked again, one request at a time, for %g seconds.",
            place.address.name,
            place.last_error,
            PATIENCE_WITH_LIMITS * self._gone_seconds,
        )

    def _gone(self) -> EngineGoneError:
        shown = [f"{place.address.name} ({place.last_error})" for place in self.places[:4]]
        if len(self.places) > 4:
            shown.append(f"{len(self.places) - 4} more")
        has_limits = any(place.pushed_back_since is not None for place in self.places)
        seconds = (PATIENCE_WITH_LIMITS if has_limits else 1) * self._gone_seconds
        return EngineGoneError(
            f"no endpoint gave an answer for {seconds:g} seconds: {', '.join(shown)}; see that they run and"
            " that the addresses are right, then give the same command again, which goes on from here"
        )
