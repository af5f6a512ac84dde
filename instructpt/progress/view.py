"""A run at a moment, and what there is to say of it. Words that come from a server or a corpus are shown, never obeyed.

The news of a stage that asks a model are numbers under fixed names, so that those of several engines can be added;
whatever else stands in them is shown as it is:

    passages, total, shards       done, of those in the shards begun so far, and how many shards those are
    pairs, writings, rejects, rejects/*                 accepted ones, and those that are not, also by reason
    replayed, failed              passages that the ledger answered, and those without an answer
    prompt_tokens, output_tokens  of answers that an engine gave in this command
    capacity, under_way           chains that may be, and are, with the engine
    engine_prompt_tokens, cached_tokens, endpoints      see `engines.EngineState`
    endpoint_seconds, idle/*      of all endpoints together; for how many of these they stood idle, by cause (`IDLE`)
    cost, max_cost, hours, max_hours                    see `artifacts.budget`
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from instructpt.artifacts.tally import NOT_READ, Tally

DOWN = "DOWN"
_NUM_ENDPOINTS = 4
IDLE = {
    "chain": "chains whose next turn waits for an answer",
    "disk": "the disk",
    "rate_limit": "a rate limit",
    "down": "servers that do not answer",
    "process": "this process, which reads and checks",
    "nothing_left": "nothing (nothing is left to ask)",
}
"""What endpoints that stand idle wait for."""
_LEAST_IDLE = 0.005
_OFTEN_IDLE = 0.1
"""Shares of the time below which nothing is said, of all endpoints and of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a run stands."""

    stages: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """In order: the state of each, and the counts of those that are finished."""
    stage: str | None = None
    """The one at work."""
    num_shards: int = 0
    num_sealed: int = 0
    num_sealed_before: int = 0
    """Of the sealed ones, those that were there when this command began."""
    seconds: float = 0.0
    """Since the stage at work was begun."""
    counts: Mapping[str, object] = field(default_factory=dict)
    """The last news, as they came."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Of what is counted in numbers, and of `asked` (passages that no ledger answered): so many a second of late."""

    def number(self, name: str) -> float:
        """A count, 0 where there is none."""
        value = self.counts.get(name, 0)
        return value if isinstance(value, int | float) else 0.0

    @property
    def num_passages(self) -> float | None:
        """Of all shards that this command has to do with, taken to be as large as those begun so far; None where no
        passages are counted."""
        total, num_begun = self.number("total"), self.number("shards")
        if "passages" not in self.counts or not total:
            return None
        num_waiting = max(0.0, self.num_shards - self.num_sealed_before - num_begun)
        return total + num_waiting * total / num_begun if num_begun else total

    @property
    def seconds_left(self) -> float | None:
        """By the recent pace of passages, else by that of shards; None where there is none yet."""
        if self.stage is None:
            return None
        if self.num_passages is not None:
            pace = self.rates.get("asked", 0.0)
            return (self.num_passages - self.number("passages")) / pace if pace else None
        num_sealed = self.num_sealed - self.num_sealed_before
        return self.seconds / num_sealed * (self.num_shards - self.num_sealed) if num_sealed else None

    @property
    def left(self) -> str:
        """The time left: "2h10m left"."""
        return "" if self.seconds_left is None else f"{duration(max(0.0, self.seconds_left))} left"


def place(name: str | None, stages: Sequence[str]) -> str:
    """Which of the stages it is: "3/5"."""
    return f"{stages.index(name) + 1}/{len(stages)}" if name in stages else ""


def line(view: View) -> str:
    """The stage at work in one line."""
    if view.num_passages is None:
        news = (f"{plain(name)} {_written(value)}" for name, value in view.counts.items())
        return _joined(*news, _shards(view), view.left, by="  ")
    parts = (f"{name} {words.splitlines()[0]}" for name, words in details(view, num_reasons=1).items())
    return _joined(*parts, view.left, by="  ")


def details(view: View, *, num_reasons: int = 5) -> dict[str, str]:
    """What there is to tell of a stage that asks a model, a few words each; what was not told is left out."""
    whole, engines = view.num_passages or 0.0, view.counts.get("engines")
    num_read, capacity = view.number("engine_prompt_tokens"), f"{view.number('capacity'):,.0f}"
    found = {
        "passages": _joined(
            f"{view.number('passages'):,.0f} of {'' if whole == view.number('total') else 'about '}{whole:,.0f}",
            _rate(view, "asked"),
            f"pairs {view.number('pairs'):,.0f}",
            f"writings {view.number('writings'):,.0f}" if view.number("writings") else "",
            f"failed {view.number('failed'):,.0f}" if view.number("failed") else "",
            f"from the ledger {view.number('replayed'):,.0f}" if view.number("replayed") else "",
        ),
        "tokens": _joined(
            _rate(view, "prompt_tokens", "in "),
            _rate(view, "output_tokens", "out "),
            f"cached {view.number('cached_tokens') / num_read:.0%}"
            if num_read and "cached_tokens" in view.counts
            else "",
        ),
        "under way": _joined(
            f"{view.number('under_way'):,.0f} of {capacity}" if "under_way" in view.counts else "",
            f"engines {plain(engines)}" if engines is not None else "",
            _shards(view),
        ),
        "rejects": _rejects(view, num_reasons),
        "endpoints": _endpoints(view.counts.get("endpoints")),
        "idle": idle(view),
        "spent": _joined(_spent(view, "cost", ""), _spent(view, "hours", " h")),
    }
    return {name: words for name, words in found.items() if words}


def idle_shares(view: View) -> dict[str, float]:
    """Shares of the time for which endpoints had nothing to do, by what they waited for, in the order of `IDLE`."""
    seconds = view.number("endpoint_seconds")
    shares = {why: view.number(f"idle/{why}") / seconds for why in IDLE} if seconds else {}
    return {why: round(share, 4) for why, share in shares.items() if share >= _LEAST_IDLE}


def idle(view: View) -> str:
    """The same in words; "" where that is hardly any."""
    found = [*idle_shares(view).items()]
    if not found:
        return ""
    if len(found) == 1:
        return f"{found[0][1]:.0%} of the time, for {IDLE[found[0][0]]}"
    words = ", ".join(f"{share:.0%} for {IDLE[why]}" for why, share in sorted(found, key=lambda item: -item[1]))
    return f"{sum(share for _, share in found):.0%} of the time: {words}"


def _idle_endpoint(shares: Mapping[str, float]) -> str:
    share = sum(shares.values())
    return f"idle {share:.0%}, for {IDLE[max(shares, key=shares.__getitem__)]}" if share >= _OFTEN_IDLE else ""


def _joined(*parts: str, by: str = "   ") -> str:
    return by.join(filter(None, parts))


def _shards(view: View) -> str:
    return f"shards {view.num_sealed:,} of {view.num_shards:,}" if view.num_shards > 1 else ""


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else plain(value)


def _rate(view: View, name: str, label: str = "") -> str:
    rate = view.rates.get(name)
    return "" if rate is None else f"{label}{rate:,.0f}/s" if rate >= 10 else f"{label}{rate:,.1f}/s"


def _rejects(view: View, num_reasons: int) -> str:
    reasons = {name: view.number(name) for name in view.counts if name.startswith("rejects/")}
    first = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:num_reasons]
    words = ", ".join(f"{plain(name.removeprefix('rejects/'))} {count:,.0f}" for name, count in first)
    total = view.number("rejects")
    return f"{total:,.0f}{f': {words}' if words else ''}" if total else ""


def _endpoints(endpoints: object) -> str:
    """How many are well, and those that are not. endpoints: `engines.Endpoint`s, or how many are well of how many."""
    if not isinstance(endpoints, Sequence) or isinstance(endpoints, str) or not endpoints:
        return plain(endpoints) if endpoints else ""
    worst = sorted(
        endpoints, key=lambda endpoint: (endpoint.is_healthy, -endpoint.num_failed, -sum(endpoint.idle.values()))
    )[:_NUM_ENDPOINTS]
    words = [f"{sum(endpoint.is_healthy for endpoint in endpoints)} of {len(endpoints)} ok"]
    for endpoint in worst:
        name = f"{'ok' if endpoint.is_healthy else DOWN:<4} {plain(endpoint.name)}"
        work = f"{endpoint.num_under_way:,} under way", f"{endpoint.num_failed:,} failed"
        words.append(_joined(name, *work, plain(endpoint.trouble or ""), _idle_endpoint(endpoint.idle)))
    return "\n".join(words + ([f"and {len(endpoints) - len(worst):,} more"] if len(worst) < len(endpoints) else []))


def _spent(view: View, name: str, unit: str) -> str:
    spent, limit = view.number(name), view.number(f"max_{name}")
    of = f" of {limit:,g}" if limit else ""
    return f"{spent:,.2f}{unit}{of}" if limit or (name == "cost" and spent) else ""


def summary(tally: Tally) -> str:
    """A tally in a few words: taken -> made, dropped, and the most telling counts."""
    parts = []
    if tally.taken or tally.made:
        parts.append(f"{tally.taken:,} -> {tally.made:,}")
    if dropped := sum(tally.dropped.values()):
        parts.append(f"dropped {dropped:,} ({', '.join(f'{k} {v:,}' for k, v in sorted(tally.dropped.items())[:3])})")
    parts += [
        f"{key} {tally.counts[key]:,}"
        for key in ("pairs", "writings", "tokens", "rows", "steps")
        if key in tally.counts
    ]
    if rejects := sum(number for name, number in tally.counts.items() if name.startswith("rejects/")):
        parts.append(f"rejected pairs {rejects:,}")
    if left_out := [f"{n:,} {k.removeprefix(NOT_READ)}" for k, n in tally.counts.items() if k.startswith(NOT_READ)]:
        parts.append(f"not read: {', '.join(left_out)}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """A length of time in few characters: "4.2s", "3m05s", "2h10m", "3d04h"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d{hours % 24:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{seconds:.1f}s"


def time_left(started: float, *, done: int, total: int) -> str:
    """How long the rest takes at the pace so far. started: by time.monotonic()."""
    return duration((time.monotonic() - started) / max(1, done) * (total - done))


def plain(text: object) -> str:
    """Words on one line whose control and format characters (terminal codes, direction marks) became blanks."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()
