"""Measured values as people read them: with half of their 95 % interval."""

from __future__ import annotations

from instructpt.evaluation.comparison import Interval
from instructpt.records import Score

Z_95 = 1.96
"""Standard errors in half of a 95 % interval."""


def half_width(value: Score | Interval | float) -> float | None:
    """Half of the 95 % interval; None if there is none."""
    if isinstance(value, int | float):
        return None
    if isinstance(value, Interval):
        return value.half
    return None if value.stderr is None else Z_95 * value.stderr


def middle(value: Score | Interval | float) -> float:
    """The value itself."""
    if isinstance(value, int | float):
        return value
    return value.mean if isinstance(value, Interval) else value.value


def number(value: Score | Interval | float | None, digits: int, *, signed: bool = False) -> str:
    """The value ± half of its interval: "0.871 ± 0.020"; a dash where there is none."""
    if value is None:
        return "–"
    rounded, half = round(middle(value), digits) + 0.0, half_width(value)  # + 0.0: no "-0.000"
    shown = f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"
    return shown if half is None else f"{shown} ± {half:.{digits}f}"


def percent(part: float, whole: float, digits: int = 0) -> str:
    """A share: "12 %"; a small one that would read as none is "under 1 %"."""
    share = 100 * part / max(1, whole)
    return "under 1 %" if not digits and 0 < share < 0.5 else f"{share:.{digits}f} %"
