"""What a run may take, in hours and money, and what was spent so far.

    <root>/spending/3f0c....json      tokens that were paid for and hours: a file each time an engine is opened, so
                    a871....json      that many machines can write; only where there is a limit or a price

Before every request the budget is asked. Once it is used up no further request is sent; those under way are waited for
and kept in the ledger, and the command ends and says so. What the ledger answers costs nothing.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from operator import add

import orjson

from instructpt.artifacts.storage import Folder, damage_named
from instructpt.errors import RecipeError

FOLDER = "spending"
SECONDS_BETWEEN_WRITES = 5.0
"""What a kill may forget of the money spent; writing more often would cost more than it tells."""
SECONDS_BETWEEN_READS = 10.0
"""How old the news of what others spend may be."""
MAX_TIMED = 10_000
"""Answers whose time is kept: of more of them, start and end are a small part."""
STEADY, MIN_STEADY = (0.1, 0.6), 8
"""The part of the tokens by which a steady pace is known, and the least answers in it."""
COMMAND_STARTED = time.monotonic()
"""When this process began, near enough: the command loads this module first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may take. There is no limit by default."""

    max_hours: float | None = None
    """Stop this command after so many hours."""
    max_cost: float | None = None
    """Stop when all commands on this output folder together have spent this much, in the currency of the prices."""
    price_per_hour: float = 0.0
    """Price of one accelerator for an hour. All accelerators that answer are counted."""
    price_per_million_prompt_tokens: float = 0.0
    """Price of a million tokens that a model reads."""
    price_per_million_output_tokens: float = 0.0
    """Price of a million tokens that a model writes."""

    def __post_init__(self) -> None:
        """Raises RecipeError for numbers below zero, and for a limit without prices."""
        for name in ("max_hours", "max_cost"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise RecipeError(f"{name} is {value}: give more than 0")
        if min(self._prices) < 0:
            raise RecipeError(f"a price is {min(self._prices)}: give 0 or more")
        if self.max_cost is not None and not self.has_prices:
            raise RecipeError(
                f"max_cost is {self.max_cost} and nothing has a price: give --price-per-hour or --price-per-million-*"
            )

    @property
    def _prices(self) -> tuple[float, float, float]:
        """Of an hour, and of a million tokens read and written."""
        return self.price_per_hour, self.price_per_million_prompt_tokens, self.price_per_million_output_tokens

    @property
    def is_watched(self) -> bool:
        """Whether there is a limit or a price, so that what is spent is worth writing down."""
        return self.has_prices or self.max_hours is not None or self.max_cost is not None

    @property
    def has_prices(self) -> bool:
        """Whether anything costs something."""
        return any(self._prices)

    def time_is_over(self) -> str | None:
        """Why the command is to end, if its hours are over."""
        if self.max_hours is None or time.monotonic() - COMMAND_STARTED < self.max_hours * 3600:
            return None
        return f"the {self.max_hours:g} hours of --max-hours are over: what is done is kept, the same command goes on"

    def cost(self, spent: Spent) -> float:
        """What tokens and accelerator hours cost: the one place that knows what a price means."""
        return (
            spent.hours * self.price_per_hour
            + spent.prompt_tokens / 1e6 * self.price_per_million_prompt_tokens
            + spent.output_tokens / 1e6 * self.price_per_million_output_tokens
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What was taken; tokens are those that an engine read and wrote for it, not those from a ledger."""

    hours: float = 0.0
    """Of one accelerator: two of them that answer for an hour are two hours."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    steady_hours: float = 0.0
    """The hours without what a start and the last answers waste: what the tokens take in the middle of a long run."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(*map(add, astuple(self), astuple(other)))


@dataclass(slots=True)
class Purse:
    """Counts what is spent on an engine against a budget. Its methods may be called from any thread."""

    budget: Budget
    root: Folder
    num_accelerators: int = 1
    """That this engine answers with; each engine of a cluster has a purse of its own."""
    spent: Spent = field(default_factory=Spent)
    """On this engine, from when it was opened."""
    _paid: list[tuple[float, int]] = field(default_factory=list)
    """Hours and tokens up to each of the first answers."""
    _name: str = field(default_factory=lambda: f"{uuid.uuid4().hex}.json")
    _others: Spent = field(init=False)
    _began: float = field(default_factory=lambda: time.monotonic())
    _written: float = field(default_factory=lambda: time.monotonic())
    _read: float = field(default_factory=lambda: time.monotonic())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Raises ArtifactError if what was spent before cannot be read."""
        self._others = self._read_others()

    def pay(self, *, prompt_tokens: int, output_tokens: int) -> None:
        """An engine answered."""
        with self._lock:
            self.spent += Spent(prompt_tokens=prompt_tokens, output_tokens=output_tokens)
            if len(self._paid) < MAX_TIMED:
                self._paid.append((self.hours, self.spent.output_tokens))
            if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
                self._write()

    def stop_reason(self) -> str | None:
        """Why no further request may be sent; None while one may."""
        if reason := self.budget.time_is_over():
            return reason
        if self.budget.max_cost is None or (total := self.total_cost) < self.budget.max_cost:
            return None
        return (
            f"{total:,.2f} is spent and --max-cost is {self.budget.max_cost:g}: what was paid for is kept, "
            "the same command with a higher limit goes on"
        )

    @property
    def hours(self) -> float:
        """Since this purse was opened, however many accelerators answer."""
        return (time.monotonic() - self._began) / 3600

    @property
    def _spent_now(self) -> Spent:
        return replace(self.spent, hours=round(self.hours * self.num_accelerators, 6))

    @property
    def total_cost(self) -> float:
        """Of all commands on this folder, up to now."""
        if time.monotonic() - self._read >= SECONDS_BETWEEN_READS:
            self._read = time.monotonic()
            self._others = self._read_others()
        return self.budget.cost(self._others + self._spent_now)

    def close(self) -> None:
        """Write what was spent."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self.budget.is_watched:
            steady = steady_hours(self._paid, self.hours) if len(self._paid) < MAX_TIMED else self.hours
            row = asdict(replace(self._spent_now, steady_hours=round(steady * self.num_accelerators, 6)))
            self.root.child(FOLDER).write(self._name, orjson.dumps(row, option=orjson.OPT_INDENT_2))

    def _read_others(self) -> Spent:
        """What other purses wrote, of other commands and other machines."""
        return spent_in(self.root, besides=self._name) if self.budget.is_watched else Spent()


def steady_hours(paid: Sequence[tuple[float, int]], hours: float) -> float:
    """How long all tokens take at the pace of the middle, never longer than they took. paid: hours and tokens up to
    each answer.

    Before a tenth is answered an engine warms up; after six tenths of a small run it has less and less to do.
    """
    from statistics import linear_regression

    total = paid[-1][1] if paid else 0
    middle = [(when, tokens) for when, tokens in paid if STEADY[0] * total <= tokens <= STEADY[1] * total]
    if len(middle) < MIN_STEADY or middle[0][0] == middle[-1][0]:
        return hours
    pace = linear_regression(*zip(*middle, strict=True)).slope
    return min(hours, total / pace) if pace > 0 else hours


def spent_in(root: Folder, *, besides: str = "") -> Spent:
    """What all purses of a folder wrote, but for one. Raises ArtifactError if it cannot be read."""
    total, folder = Spent(), root.child(FOLDER)
    for name in folder.names():
        if name != besides and not name.startswith("."):
            with damage_named(folder.join(name), remove=folder.join(name)):
                total += Spent(**orjson.loads(folder.read(name)))
    return total


def watching(budget: Budget, purse: Purse) -> Callable[[], str | None] | None:
    """What is asked before a request; None for a budget without limits, which need not be asked."""
    return purse.stop_reason if budget.max_hours is not None or budget.max_cost is not None else None
