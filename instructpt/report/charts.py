"""Charts as inline SVG: lines, bars upright or lying, histograms, whiskers. Colours are the page's `--c0` to `--c5`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from instructpt.report.page import escape

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 34
NAMES_WIDTH = 260
"""Most that names take, left of lying bars."""
CHARACTER_WIDTH = 6.6
"""Of a name, about."""
BAR_HEIGHT = 12
"""Of a lying one."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> str:
    """One line a series over shared axes. Points are (x, y); those that are not finite are left out."""
    points = {name: [p for p in values if math.isfinite(p[1])] for name, values in series.items()}
    everything = [p for values in points.values() for p in values]
    if len(everything) < 2:
        return ""
    x = Scale(*_span([p[0] for p in everything], pad=0.0), LEFT, WIDTH - RIGHT)
    y = Scale(*_span([p[1] for p in everything], pad=0.05), HEIGHT - BOTTOM, TOP)
    shapes = []
    for i, values in enumerate(points.values()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in values)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="var(--c{i % 6})" stroke-width="1.8"/>')
    return _frame(x, y, "".join(shapes), x_label=x_label, y_label=y_label)


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with half the width of its 95 % interval, if it has one."""

    value: float
    error: float | None = None


def bars(groups: Mapping[str, Sequence[Bar | None]], *, y_label: str) -> str:
    """Bars side by side in named groups, in the order of the legend; thin lines are 95 % intervals."""
    present = [bar for group in groups.values() for bar in group if bar]
    if not present:
        return ""
    top = max(bar.value + (bar.error or 0.0) for bar in present)
    y = Scale(0.0, top * 1.08 or 1.0, HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    is_tight = any(CHARACTER_WIDTH * len(name) > room for name in groups)
    shapes = []
    for g, (name, group) in enumerate(groups.items()):
        width = min(42.0, room * 0.8 / len(group))
        left = LEFT + g * room + (room - width * len(group)) / 2
        for i, bar in enumerate(group):
            if bar:
                shapes.append(_bar(bar, x=left + i * width, width=width * 0.86, y=y, colour=i))
        lower = 12 if is_tight and g % 2 else 0  # names that would run into one another stand in two rows
        shapes.append(_words(name, x=LEFT + (g + 0.5) * room, y=HEIGHT - 18 + lower))
    return _frame(None, y, "".join(shapes), x_label="", y_label=y_label)


def lying_bars(groups: Mapping[str, Sequence[float | None]], *, label: str, unit: str, width: int = WIDTH) -> str:
    """One row a name, whatever its length and however many there are; each with its bars in the order of the legend."""
    names_width = _names_width(groups)
    present = [value for values in groups.values() for value in values if value is not None]
    if not present:
        return ""
    x = Scale(0.0, max(present) or 1.0, names_width, width - 24 - CHARACTER_WIDTH * (len(unit) + 6))
    parts, top = [], 4.0
    for name, values in groups.items():
        parts.append(_words(name, x=names_width - 8, y=top + BAR_HEIGHT * len(values) / 2 + 4, anchor="end"))
        for i, value in enumerate(values):
            if value is not None:
                size = f'width="{x(value) - names_width:.1f}" height="{BAR_HEIGHT - 2}"'
                place = f'x="{names_width:.1f}" y="{top:.1f}" {size}'
                parts.append(f'<rect {place} fill="var(--c{i % 6})"/>')
                parts.append(_words(f"{_short(value)} {unit}", x=x(value) + 6, y=top + BAR_HEIGHT - 2, anchor="start"))
            top += BAR_HEIGHT
        top += 6
    return f'<svg viewBox="0 0 {width} {top:.0f}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _names_width(names: Iterable[str]) -> float:
    return min(NAMES_WIDTH, 16 + CHARACTER_WIDTH * max(map(len, names), default=0))


def whiskers(groups: Mapping[str, Sequence[Bar | None]], *, label: str, width: int = WIDTH) -> str:
    """Differences as dots with their 95 % intervals, a row a name, about an upright line at zero.

    The dots of a row stand below one another in the order of the legend.
    """
    present = [bar for group in groups.values() for bar in group if bar]
    if not present:
        return ""
    reach = max(abs(bar.value) + (bar.error or 0.0) for bar in present) or 1.0
    names_width = _names_width(groups)
    x = Scale(-reach * 1.05, reach * 1.05, names_width, width - 12)
    parts, top = [], 6.0
    for name, group in groups.items():
        height = BAR_HEIGHT * max(1, sum(bar is not None for bar in group))
        parts.append(_words(name, x=names_width - 8, y=top + height / 2 + 4, anchor="end"))
        for i, bar in enumerate(group):
            if bar:
                parts.append(_whisker(bar, x=x, y=top + BAR_HEIGHT / 2, colour=i))
                top += BAR_HEIGHT
        top += 8
    ticks = [_words(_short(tick), x=x(tick), y=top + 12) for tick in _ticks(x.low, x.high)]
    zero = f'<path d="M{x(0.0):.1f} 0V{top:.1f}" stroke="var(--soft)" stroke-dasharray="3 3"/>'
    shapes = zero + "".join(ticks) + "".join(parts)
    return f'<svg viewBox="0 0 {width} {top + 18:.0f}" role="img" aria-label="{escape(label)}">{shapes}</svg>'


def _whisker(bar: Bar, *, x: Scale, y: float, colour: int) -> str:
    ink = f'"var(--c{colour % 6})"'
    dot = f'<circle cx="{x(bar.value):.1f}" cy="{y:.1f}" r="4" fill={ink}/>'
    if bar.error is None:
        return dot
    low, high = x(bar.value - bar.error), x(bar.value + bar.error)
    return f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke={ink} stroke-width="2"/>{dot}'


def histogram(counts: Mapping[str, Mapping[int, int]], *, x_label: str, y_label: str) -> str:
    """How often each whole number occurs, as shares in percent, side by side for several series."""
    largest = max((number for values in counts.values() for number in values), default=-1)
    groups: dict[str, list[Bar | None]] = {}
    for number in range(largest + 1):
        shares = [100.0 * v.get(number, 0) / max(1, sum(v.values())) for v in counts.values()]
        groups[str(number)] = [Bar(share) for share in shares]
    return bars(groups, y_label=y_label).replace("</svg>", f"{_x_title(x_label)}</svg>") if groups else ""


def _bar(bar: Bar, *, x: float, width: float, y: Scale, colour: int) -> str:
    top, height = y(bar.value), max(0.0, y(0.0) - y(bar.value))
    place = f'x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
    shape = f'<rect {place} fill="var(--c{colour % 6})"/>'
    if bar.error:
        low, high, middle = y(max(0.0, bar.value - bar.error)), y(bar.value + bar.error), x + width / 2
        ends = f"M{middle - 4:.1f} {low:.1f}h8M{middle - 4:.1f} {high:.1f}h8"
        shape += f'<path d="M{middle:.1f} {low:.1f}V{high:.1f}{ends}" stroke="var(--ink)"/>'
    return shape


def _frame(x: Scale | None, y: Scale, shapes: str, *, x_label: str, y_label: str) -> str:
    parts = []
    for tick in _ticks(y.low, y.high):
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="var(--line)"/>')
        parts.append(_words(_short(tick), x=LEFT - 6, y=y(tick) + 4, anchor="end"))
    if x:
        parts += [_words(_short(tick), x=x(tick), y=HEIGHT - 16) for tick in _ticks(x.low, x.high)]
    centre = (HEIGHT - BOTTOM) / 2
    parts.append(_words(y_label, x=12, y=centre, turn=f' transform="rotate(-90 12 {centre:.0f})"'))
    label = escape(f"{y_label} by {x_label}" if x_label else y_label)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}{_x_title(x_label)}{shapes}</svg>"
    )


def _words(words: str, *, x: float, y: float, anchor: str = "middle", turn: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(words)}</text>'


def _x_title(label: str) -> str:
    return _words(label, x=(WIDTH + LEFT) / 2, y=HEIGHT - 2) if label else ""


def _span(values: Sequence[float], *, pad: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * pad or (0.0 if high > low else 1.0)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    step = _nice((high - low) / 5)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten that is not below `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(f * power for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * power >= value * (1 - 1e-9))


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
