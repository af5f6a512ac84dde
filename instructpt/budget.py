"""What a run may take, in hours and money, and what was spent so far.

    <root>/spending.json      tokens that were paid for and hours, of all commands on this folder together;
                              only where there is a limit or a price

Before every request the budget is asked. Once it is used up no further request is sent; those under way are waited for
and kept in the ledger, and the command ends and says so. What the ledger answers costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import orjson

from instructpt.errors import RecipeError
from instructpt.storage import Folder

FILE = "spending.json"
SECONDS_BETWEEN_WRITES = 5.0
"""What a kill may forget of the money spent; writing more often would cost more than it tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may take; without limits all it wants."""

    max_hours: float | None = None
    """Stop sending requests after so many hours of this command."""
    max_cost: float | None = None
    """Stop when so much is spent, by all commands on this output folder together; in the currency of the prices."""
    price_per_hour: float = 0.0
    """Of all accelerators that answer this command, together."""
    price_per_million_prompt_tokens: float = 0.0
    price_per_million_output_tokens: float = 0.0

    def __post_init__(self) -> None:
        """Raises RecipeError for numbers below zero, and for a limit without prices."""
        for name in ("max_hours", "max_cost"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise RecipeError(f"{name} is {value}: give more than 0")
        prices = (self.price_per_hour, self.price_per_million_prompt_tokens, self.price_per_million_output_tokens)
        if min(prices) < 0:
            raise RecipeError(f"a price is {min(prices)}: give 0 or more")
        if self.max_cost is not None and not self.has_prices:
            raise RecipeError(
                f"max_cost is {self.max_cost} and nothing has a price: give --price-per-hour or --price-per-million-*"
            )

    @property
    def is_watched(self) -> bool:
        """Whether there is a limit or a price, so that what is spent is worth writing down."""
        return self.has_prices or self.max_hours is not None or self.max_cost is not None

    @property
    def has_prices(self) -> bool:
        """Whether anything costs something."""
        prices = (self.price_per_hour, self.price_per_million_prompt_tokens, self.price_per_million_output_tokens)
        return any(prices)

    def cost(self, spent: Spent) -> float:
        """What tokens and hours cost."""
        return (
            spent.hours * self.price_per_hour
            + spent.prompt_tokens / 1e6 * self.price_per_million_prompt_tokens
            + spent.output_tokens / 1e6 * self.price_per_million_output_tokens
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What was taken; tokens are those that an engine read and wrote for it, not those from a ledger."""

    hours: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Purse:
    """Counts what a stage spends against a budget. Its methods may be called from any thread."""

    budget: Budget
    root: Folder
    earlier: Spent = field(init=False)
    """By other commands on this folder, and other stages of this one."""
    spent: Spent = field(default_factory=Spent)
    """By this stage, now."""
    _began: float = field(default_factory=lambda: time.monotonic())
    _written: float = field(default_factory=lambda: time.monotonic())
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.earlier = _read(self.root)

    def pay(self, *, prompt_tokens: int, output_tokens: int) -> None:
        """An engine answered."""
        with self._lock:
            self.spent = replace(
                self.spent,
                prompt_tokens=self.spent.prompt_tokens + prompt_tokens,
                output_tokens=self.spent.output_tokens + output_tokens,
            )
            if time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
                self._write()

    def stop_reason(self) -> str | None:
        """Why no further request may be sent; None while one may."""
        budget, spent = self.budget, self._so_far()
        if budget.max_hours is not None and spent.hours >= budget.max_hours:
            return (
                f"the {budget.max_hours:g} hours of --max-hours are over: what was paid for is kept, "
                "the same command goes on"
            )
        if budget.max_cost is not None:
            total = budget.cost(_sum(self.earlier, spent))
            if total >= budget.max_cost:
                return (
                    f"{total:,.2f} is spent and --max-cost is {budget.max_cost:g}: what was paid for is kept, "
                    "the same command with a higher limit goes on"
                )
        return None

    @property
    def total_cost(self) -> float:
        """Of all commands on this folder, up to now."""
        return self.budget.cost(_sum(self.earlier, self._so_far()))

    def close(self) -> None:
        """Write what was spent."""
        with self._lock:
            self._write()

    def _so_far(self) -> Spent:
        return replace(self.spent, hours=(time.monotonic() - self._began) / 3600)

    def _write(self) -> None:
        self._written = time.monotonic()
        if not self.budget.is_watched:
            return
        total = _sum(self.earlier, self._so_far())
        row = {
            "hours": round(total.hours, 6),
            "prompt_tokens": total.prompt_tokens,
            "output_tokens": total.output_tokens,
        }
        self.root.write(FILE, orjson.dumps(row, option=orjson.OPT_INDENT_2))


def watching(budget: Budget, purse: Purse) -> Callable[[], str | None] | None:
    """What is asked before a request; None for a budget without limits, which need not be asked."""
    return purse.stop_reason if budget.max_hours is not None or budget.max_cost is not None else None


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(
        one.hours + other.hours, one.prompt_tokens + other.prompt_tokens, one.output_tokens + other.output_tokens
    )


def _read(root: Folder) -> Spent:
    if not root.exists(FILE):
        return Spent()
    row = orjson.loads(root.read(FILE))
    return Spent(float(row["hours"]), int(row["prompt_tokens"]), int(row["output_tokens"]))
