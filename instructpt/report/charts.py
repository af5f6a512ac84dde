"""Charts as inline SVG: lines, bars upright or lying, histograms, whiskers. Colours are the page's `--c0` to `--c5`.

A value is a score or an interval; None leaves a gap, so that each series keeps its colour. A chart of nothing is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from instructpt.evaluation.comparison import Interval
from instructpt.records import Score
from instructpt.report.tables import printable
from instructpt.report.values import half_width, middle, number

Value = Score | Interval | float
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


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> Markup:
    """One line a series over shared axes. Points are (x, y); those that are not finite are left out."""
    points = {name: [p for p in values if math.isfinite(p[1])] for name, values in series.items()}
    everything = [p for values in points.values() for p in values]
    if len(everything) < 2:
        return Markup("")
    x = Scale(*_span([p[0] for p in everything], pad=0.0), LEFT, WIDTH - RIGHT)
    y = Scale(*_span([p[1] for p in everything], pad=0.05), HEIGHT - BOTTOM, TOP)
    shapes = []
    for i, values in enumerate(points.values()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in values)
        shapes.append(_shape("polyline", points=path, fill="none", stroke=_colour(i), stroke_width=1.8))
    shapes += [_words(_short(tick), x=x(tick), y=HEIGHT - 16) for tick in _ticks(x.low, x.high)]
    return _over_axis(y, shapes, label=f"{y_label} by {x_label}", x_label=x_label, y_label=y_label)


def bars(groups: Mapping[str, Sequence[Value | None]], *, y_label: str, x_label: str = "") -> Markup:
    """Bars side by side in named groups, in the order of the legend; thin lines are 95 % intervals."""
    if not any(value for group in groups.values() for value in group):
        return Markup("")
    y = Scale(0.0, _reach(groups) * 1.08 or 1.0, HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    is_tight = any(CHARACTER_WIDTH * len(name) > room for name in groups)
    shapes = []
    for g, (name, group) in enumerate(groups.items()):
        width = min(42.0, room * 0.8 / len(group))
        left = LEFT + g * room + (room - width * len(group)) / 2
        for i, value in enumerate(group):
            if value:
                shapes += _bar(value, x=left + i * width, width=width * 0.86, y=y, colour=_colour(i))
        lower = 12 if is_tight and g % 2 else 0  # names that would run into one another stand in two rows
        shapes.append(_words(name, x=LEFT + (g + 0.5) * room, y=HEIGHT - 18 + lower))
    return _over_axis(y, shapes, label=y_label, x_label=x_label, y_label=y_label)


def histogram(counts: Mapping[str, Mapping[int, int]], *, x_label: str, y_label: str) -> Markup:
    """How often each whole number occurs, as shares in percent, side by side for several series."""
    largest = max((number for values in counts.values() for number in values), default=-1)
    groups = {
        str(number): [Interval(100.0 * v.get(number, 0) / max(1, sum(v.values())), None, 1) for v in counts.values()]
        for number in range(largest + 1)
    }
    return bars(groups, y_label=y_label, x_label=x_label)


def lying_bars(groups: Mapping[str, Sequence[Value | None]], *, label: str, unit: str, width: int = WIDTH) -> Markup:
    """One row a name, whatever its length and however many there are; each with its bars in the order of the legend.

    Thin lines are 95 % intervals, which stand in numbers behind the bar, too.
    """
    present = any(value is not None for values in groups.values() for value in values)
    halves = any(half_width(value) for values in groups.values() for value in values if value is not None)
    left, words_width = _names_width(groups), CHARACTER_WIDTH * (len(unit) + (13 if halves else 6))
    x = Scale(0.0, _reach(groups) or 1.0, left, width - 24 - words_width)

    def draw(value: Value, y: float, colour: str) -> list[Markup]:
        end, half = x(middle(value)), half_width(value)
        size = {"width": f"{end - left:.1f}", "height": BAR_HEIGHT - 2}
        shapes = [_shape("rect", x=f"{left:.1f}", y=f"{y:.1f}", **size, fill=colour)]
        if half:
            low, far = x(max(0.0, middle(value) - half)), x(middle(value) + half)
            centre = y + BAR_HEIGHT / 2 - 1
            shapes.append(_shape("path", d=f"M{low:.1f} {centre:.1f}H{far:.1f}", stroke="var(--ink)"))
            end = far
        said = number(value, 2) if half else _short(middle(value))
        return [*shapes, _words(f"{said} {unit}", x=end + 6, y=y + BAR_HEIGHT - 2, anchor="start")]

    shapes, height = _rows(groups, draw, left=left, keeps_gaps=True)
    return _svg(shapes, width=width, height=height, label=label) if present else Markup("")


def whiskers(groups: Mapping[str, Sequence[Value | None]], *, label: str, width: int = WIDTH) -> Markup:
    """Differences as dots with their 95 % intervals, a row a name, about an upright line at zero.

    The dots of a row stand below one another in the order of the legend.
    """
    present = any(value for group in groups.values() for value in group)
    reach, left = _reach(groups) or 1.0, _names_width(groups)
    x = Scale(-reach * 1.05, reach * 1.05, left, width - 12)

    def draw(value: Value, y: float, colour: str) -> list[Markup]:
        half, y = half_width(value), y + BAR_HEIGHT / 2
        dot = _shape("circle", cx=f"{x(middle(value)):.1f}", cy=f"{y:.1f}", r=4, fill=colour)
        if half is None:
            return [dot]
        low, high = x(middle(value) - half), x(middle(value) + half)
        return [_shape("path", d=f"M{low:.1f} {y:.1f}H{high:.1f}", stroke=colour, stroke_width=2), dot]

    shapes, height = _rows(groups, draw, left=left, keeps_gaps=False)
    shapes += [_words(_short(tick), x=x(tick), y=height + 12) for tick in _ticks(x.low, x.high)]
    zero = _shape("path", d=f"M{x(0.0):.1f} 0V{height:.1f}", stroke="var(--soft)", stroke_dasharray="3 3")
    return _svg([zero, *shapes], width=width, height=height + 18, label=label) if present else Markup("")


def _rows(
    groups: Mapping[str, Sequence[Any | None]],
    draw: Callable[[Any, float, str], list[Markup]],
    *,
    left: float,
    keeps_gaps: bool,
) -> tuple[list[Markup], float]:
    """Named rows of one drawing a value, from the top down, and where they end."""
    shapes, top = list[Markup](), 4.0
    for name, group in groups.items():
        height = BAR_HEIGHT * max(1, sum(keeps_gaps or value is not None for value in group))
        shapes.append(_words(name, x=left - 8, y=top + height / 2 + 4, anchor="end"))
        for i, value in enumerate(group):
            if value is not None:
                shapes += draw(value, top, _colour(i))
            top += BAR_HEIGHT if keeps_gaps or value is not None else 0
        top += 7
    return shapes, top


def _names_width(names: Iterable[str]) -> float:
    return min(NAMES_WIDTH, 16 + CHARACTER_WIDTH * max(map(len, names), default=0))


def _reach(groups: Mapping[str, Sequence[Value | None]]) -> float:
    """How far values and intervals lead from zero, at most."""
    present = [value for group in groups.values() for value in group if value]
    return max((abs(middle(value)) + (half_width(value) or 0.0) for value in present), default=0.0)


def _bar(value: Value, *, x: float, width: float, y: Scale, colour: str) -> list[Markup]:
    top, height, half = y(middle(value)), max(0.0, y(0.0) - y(middle(value))), half_width(value)
    size = {"width": f"{width:.1f}", "height": f"{height:.1f}"}
    shapes = [_shape("rect", x=f"{x:.1f}", y=f"{top:.1f}", **size, fill=colour)]
    if half:
        low, high, centre = y(max(0.0, middle(value) - half)), y(middle(value) + half), x + width / 2
        ends = f"M{centre - 4:.1f} {low:.1f}h8M{centre - 4:.1f} {high:.1f}h8"
        shapes.append(_shape("path", d=f"M{centre:.1f} {low:.1f}V{high:.1f}{ends}", stroke="var(--ink)"))
    return shapes


def _over_axis(y: Scale, shapes: Sequence[Markup], *, label: str, x_label: str, y_label: str) -> Markup:
    """Shapes over lines at round values of y, with the names of both axes."""
    parts, centre = list[Markup](), (HEIGHT - BOTTOM) / 2
    for tick in _ticks(y.low, y.high):
        parts.append(_shape("path", d=f"M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}", stroke="var(--line)"))
        parts.append(_words(_short(tick), x=LEFT - 6, y=y(tick) + 4, anchor="end"))
    parts.append(_words(y_label, x=12, y=centre, transform=f"rotate(-90 12 {centre:.0f})"))
    if x_label:
        parts.append(_words(x_label, x=(WIDTH + LEFT) / 2, y=HEIGHT - 2))
    return _svg([*parts, *shapes], width=WIDTH, height=HEIGHT, label=label)


def _svg(shapes: Iterable[Markup], *, width: int, height: float, label: str) -> Markup:
    inside = Markup("").join(shapes)
    return _shape("svg", inside, viewBox=f"0 0 {width} {height:.0f}", role="img", aria_label=printable(label))


def _words(words: str, *, x: float, y: float, anchor: str = "middle", **attributes: str) -> Markup:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text_anchor": anchor}
    return _shape("text", Markup.escape(printable(words)), **place, **attributes)


def _shape(tag: str, inside: Markup | None = None, /, **attributes: object) -> Markup:
    """An element; values of attributes are escaped here."""
    pairs = Markup("").join(Markup(' {}="{}"').format(k.replace("_", "-"), v) for k, v in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(tag, pairs, inside or Markup(""))


def _colour(number: int) -> str:
    return f"var(--c{number % 6})"


def _span(values: Sequence[float], *, pad: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * pad or (0.0 if high > low else 1.0)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Some five round values: steps of 1, 2, 2.5 or 5 times a power of ten."""
    fifth = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(fifth))
    step = next(f * power for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * power >= fifth * (1 - 1e-9))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
