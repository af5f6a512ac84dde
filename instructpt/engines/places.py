"""One endpoint of an HTTP engine: which requests are under way there, and whether it is in a state to get more.

    new ---introduces itself---> up <------------ an answer ------------.
                                 |                                      |
      failures in a row, 3 failed probes, a refused connection          |
                                 v                                      |
                                down --a good probe, after a while--> trial (2 requests at a time)
                                 ^---------------- a failure ------------'

    If it was the probes that failed, a good one brings it up at once.
    An endpoint whose key, model or address is wrong (401, 404...) is out: it gets nothing more, the others go on.

One that says "too many requests" (status 429) gets half as many for now and slowly more again (additive increase,
multiplicative decrease: Chiu and Jain, 1989). All times are of the monotonic clock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from instructpt.engines import Endpoint
from instructpt.engines.addresses import Address
from instructpt.engines.openai_format import Manners
from instructpt.engines.patience import Patience
from instructpt.errors import EngineError

FAILURES_TO_GO_DOWN = 3
"""In a row; of requests, one more for each 4 that are still under way: where much goes on, much may go wrong."""
PATIENCE_WITH_LIMITS = 5
"""Times `gone_seconds` in which an endpoint may answer nothing but "too many requests": limits are often a minute's."""
_ON_TRIAL = 2
"""Requests at once for an endpoint that was down and has not answered since."""
_HOLD_SECONDS = 1.0
_MAX_HOLD_SECONDS = 30.0
"""How long an endpoint stays out whose probes are good and whose answers are not: twice as long each time."""
_MAX_WAIT_SECONDS = 60.0
"""The longest Retry-After that is honoured."""
_TOO_MANY = 'it answers "too many requests" (status 429)'


@dataclass(slots=True, eq=False)
class Flight:
    """A request under way."""

    deadline: asyncio.Timeout
    ended_by: EngineError | Literal["moved"] | None = None

    def end(self, reason: EngineError | Literal["moved"]) -> None:
        """Break it off."""
        if self.ended_by is None and not self.deadline.expired():
            self.ended_by = reason
            self.deadline.reschedule(0.0)


@dataclass(slots=True)
class CacheHits:
    """Tokens that prefix caches held, by the servers' own counters, since they were first read."""

    num_tokens: int | None = None
    _last: float | None = None

    def read(self, counter: float) -> None:
        """A counter that falls has begun anew: its server was restarted."""
        if self._last is None:
            self.num_tokens = 0
        else:
            self.num_tokens = (self.num_tokens or 0) + int(counter - self._last if counter >= self._last else counter)
        self._last = counter


@dataclass(slots=True, eq=False)
class Place:
    """One endpoint and how it is doing. Whoever speaks with it reports what came of it."""

    address: Address
    max_in_flight: int
    is_bounded: bool = False
    """Whether `max_in_flight` is what somebody wants, and not only what cannot be helped."""
    manners: Manners | None = None
    """None until it has introduced itself."""
    state: Literal["new", "up", "down", "trial", "out"] = "new"
    down_since: float | None = field(default_factory=monotonic)
    """Since when it has neither answered nor come up; None if it is up."""
    flights: set[Flight] = field(default_factory=set)
    num_answered: int = 0
    num_failed: int = 0
    last_error: str = "it was not asked yet"
    takes: int | None = None
    """Requests at once beyond which it lets some wait, as far as it tells."""
    hits: CacheHits = field(default_factory=CacheHits)
    patience: Patience = field(default_factory=Patience)
    limit: float | None = None
    """What "too many requests" left of the requests at once."""
    not_before: float = 0.0
    failures_in_a_row: int = 0
    failed_probes: int = 0
    was_gone: bool = False
    """Whether nobody listened there the last time it went down."""
    suspicion: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it goes down: its health is worth a look at once."""
    pushed_back_since: float | None = None
    """When it first said "too many requests" after its last answer."""
    num_pushed_back: int = 0
    """Times since then."""
    has_warned: bool = False
    """Of these."""
    hold_seconds: float = _HOLD_SECONDS
    hold_until: float = 0.0
    _limit_cut: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether it may be sent requests."""
        return self.state in ("up", "trial")

    @property
    def most(self) -> float:
        """Requests at once that it may be sent."""
        most = float(_ON_TRIAL if self.state == "trial" else self.max_in_flight)
        return most if self.limit is None else min(most, self.limit)

    def capacity(self) -> int | None:
        """Requests at once beyond which nothing is won, as far as known."""
        known = [bound for bound in (self.takes, self.limit) if bound is not None]
        if not known and not self.is_bounded:
            return None
        return max(1, int(min([*known, self.max_in_flight])))

    def introduce(self, manners: Manners) -> None:
        """It is there, and this is what it is."""
        self.manners, self.was_gone, self.failed_probes = manners, False, 0
        if self.state == "new":
            self.state, self.down_since = "up", None

    def answer(self) -> None:
        """It answered, be it with a refusal."""
        self.num_answered += 1
        self.failures_in_a_row = self.failed_probes = self.num_pushed_back = 0
        self.pushed_back_since = self.down_since = None
        self.has_warned = False
        if self.state != "out":
            self.state, self.hold_seconds = "up", _HOLD_SECONDS
        if self.limit is not None:
            self.limit += 1 / self.limit

    def fail(self, reason: str, *, is_gone: bool = False) -> None:
        """A request failed there. is_gone: nobody listens there at all."""
        self.num_failed += 1
        self.failures_in_a_row += 1
        self.last_error = self.address.blot(reason)
        self.was_gone = self.was_gone or is_gone
        too_many = FAILURES_TO_GO_DOWN + len(self.flights) // 4
        if is_gone or self.state == "trial" or self.failures_in_a_row >= too_many:
            self.go_down()

    def go_down(self) -> None:
        """Take it out until it is known to be well again."""
        now = monotonic()
        if self.is_usable:
            self.state = "down"
            self.suspicion.set()
            self.hold_until = now + self.hold_seconds
            self.hold_seconds = min(2 * self.hold_seconds, _MAX_HOLD_SECONDS)
        if self.down_since is None:
            self.down_since = now

    def probe_well(self) -> None:
        """A probe found it well. If probes found it ill before, they tell the truth; else its answers have to."""
        has_recovered, self.failed_probes = self.failed_probes > 0, 0
        if self.state != "down":
            return
        if self.was_gone:
            self.was_gone = False
            move(self)  # it is another process by now, which knows nothing of them
        if has_recovered:
            self.state, self.down_since, self.failures_in_a_row = "up", None, 0
        elif monotonic() >= self.hold_until:
            self.state = "trial"

    def probe_badly(self, reason: str, *, is_gone: bool) -> None:
        """A probe got no good answer."""
        self.failed_probes += 1
        self.last_error = self.address.blot(reason)
        self.was_gone = self.was_gone or is_gone
        if is_gone or self.failed_probes >= FAILURES_TO_GO_DOWN or self.state == "trial":
            self.go_down()

    def push_back(self, wait_seconds: float) -> None:
        """It said "too many requests": fewer at once, and none for so long."""
        now = monotonic()
        self.num_pushed_back += 1
        self.last_error = _TOO_MANY
        if self.pushed_back_since is None:
            self.pushed_back_since = now
        if self.limit is None or now - self._limit_cut > 1.0:  # what was sent together is answered together
            self.limit = max(1.0, min(self.most, len(self.flights) + 1) / 2)
            self._limit_cut = now
        self.hold_back(wait_seconds)

    def hold_back(self, wait_seconds: float) -> None:
        """Nothing more for it for so long."""
        self.not_before = max(self.not_before, monotonic() + min(wait_seconds, _MAX_WAIT_SECONDS))

    def is_gone(self, gone_seconds: float) -> bool:
        """Whether there is no more hope for it."""
        if self.state == "out":
            return True
        now = monotonic()
        if self.pushed_back_since is not None and now - self.pushed_back_since > PATIENCE_WITH_LIMITS * gone_seconds:
            return True
        is_silent = self.state in ("new", "down") and (self.failed_probes > 0 or not self.flights)
        return self.down_since is not None and is_silent and now - self.down_since > gone_seconds

    def told(self) -> Endpoint:
        """As people are told of it."""
        trouble = "" if self.is_usable and self.pushed_back_since is None else self.last_error
        return Endpoint(
            self.address.name,
            self.is_usable,
            len(self.flights),
            self.num_answered,
            self.num_failed,
            trouble,
            is_held_back=self.not_before > monotonic(),
        )


def move(place: Place) -> None:
    """Break off all requests under way at `place`: they will be sent elsewhere."""
    for flight in tuple(place.flights):
        flight.end("moved")
