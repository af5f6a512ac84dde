"""Counts and times in a few words, for people."""

from __future__ import annotations

import time

from instructpt.artifacts.tally import NOT_READ, Tally


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
