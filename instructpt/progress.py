"""What a person sees while a recipe runs: a live panel on a terminal, plain lines elsewhere, nothing in workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from instructpt.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_LINES = 10.0
"""Plain output: at most one line of news in this time, so that a log of a week stays readable."""


class Progress(Protocol):
    """Told by the artifact layer and by long stages how things go."""

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before; nothing is done."""

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins, some of its shards being there already."""

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How an open shard stands: passages, tokens/s, loss..."""

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""


class Silent:
    """No output."""

    def plan(self, names: Sequence[str]) -> None: ...
    def found(self, name: str, tally: Tally) -> None: ...
    def started(self, name: str, num_shards: int, num_sealed: int) -> None: ...
    def news(self, name: str, counts: Mapping[str, object]) -> None: ...
    def sealed(self, name: str, tally: Tally) -> None: ...
    def finished(self, name: str, tally: Tally) -> None: ...


class Panel:
    """One line a stage on standard error: what it does now, then what it made. On a terminal the line moves."""

    def __init__(self, console: Console) -> None:
        from rich.status import Status

        self._console = console
        self._status = Status("", console=console) if console.is_terminal else None
        self._names: list[str] = []
        self._started = self._last_line = 0.0
        self._num_shards = self._num_sealed = self._sealed_here = 0

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""
        self._names = list(names)

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before; nothing is done."""
        self._line(name, f"[green]found[/]  {summary(tally)}")

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins, some of its shards being there already."""
        self._started = self._last_line = time.monotonic()
        self._num_shards, self._num_sealed, self._sealed_here = num_shards, num_sealed, 0
        if self._status:
            self._status.start()
            self._status.update(f"{self._label(name)} ...")

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How an open shard stands."""
        words = "  ".join(f"{key} {_number(value)}" for key, value in counts.items())
        if self._status:
            self._status.update(f"{self._label(name)} {words}{self._shards()}")
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(name, words + self._shards())

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""
        self._num_sealed += 1
        self._sealed_here += 1
        if self._num_shards > 1:
            self.news(name, {"last": summary(tally)})

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""
        if self._status:
            self._status.stop()
        self._line(name, f"[green]done[/]   {summary(tally)}  [dim]{duration(time.monotonic() - self._started)}[/]")

    def _label(self, name: str) -> str:
        place = f"{self._names.index(name) + 1}/{len(self._names)}" if name in self._names else ""
        return f"[dim]{place:>5}[/]  [bold]{name:<24}[/]"

    def _line(self, name: str, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(f"{self._label(name)} {text}", highlight=False, soft_wrap=True)

    def _shards(self) -> str:
        if self._num_shards <= 1:
            return ""
        left = ""
        if self._sealed_here:
            seconds = (time.monotonic() - self._started) / self._sealed_here * (self._num_shards - self._num_sealed)
            left = f", {duration(seconds)} left"
        return f"  shards {self._num_sealed}/{self._num_shards}{left}"


def summary(tally: Tally) -> str:
    """A tally in a few words: taken -> made, dropped, and the most telling counts."""
    parts = []
    if tally.taken or tally.made:
        parts.append(f"{tally.taken:,} -> {tally.made:,}")
    if dropped := sum(tally.dropped.values()):
        parts.append(f"dropped {dropped:,} ({', '.join(f'{k} {v:,}' for k, v in sorted(tally.dropped.items())[:3])})")
    parts += [f"{key} {tally.counts[key]:,}" for key in ("pairs", "tokens", "rows", "steps") if key in tally.counts]
    if rejects := sum(number for name, number in tally.counts.items() if name.startswith("rejects/")):
        parts.append(f"rejected pairs {rejects:,}")
    return "  ".join(parts)


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def time_left(started: float, *, done: int, total: int) -> str:
    """How long the rest takes at the pace so far. started: by time.monotonic()."""
    return duration((time.monotonic() - started) / max(1, done) * (total - done))


def duration(seconds: float) -> str:
    """A length of time in few characters: "4.2s", "3m05s", "2h10m"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{seconds:.1f}s"
