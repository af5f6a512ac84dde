"""Charts as inline SVG: rows of bars or of differences, and lines. Colours are the page's `--c0` to `--c5`.

A value is a score or an interval; None leaves its place out, and each series keeps its colour. A chart of nothing is
empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from markupsafe import Markup

from instructpt.evaluation.comparison import Interval
from instructpt.records import Score
from instructpt.report.tables import half_width, middle, number, printable

Value = Score | Interval | float
WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 34
"""Around a chart of lines."""
NAMES_WIDTH = 260
"""Most that names take, left of bars."""
CHARACTER_WIDTH = 6.6
"""Of a name, about."""
BAR_HEIGHT = 12


def bars(
    groups: Mapping[str, Sequence[Value | None]],
    *,
    label: str,
    unit: str = "",
    width: int = WIDTH,
    is_difference: bool = False,
) -> Markup:
    """One row a name, whatever its length and however many there are; its bars below one another in the legend's order.

    Thin lines are 95 % intervals, which stand in numbers behind the bar, too. is_difference: dots instead, about an
    upright line at zero.
    """
    present = [value for values in groups.values() for value in values if value is not None]
    reach = max((abs(middle(value)) + (half_width(value) or 0.0) for value in present), default=0.0) or 1.0
    left = min(NAMES_WIDTH, 16 + CHARACTER_WIDTH * max(map(len, groups), default=0))
    numbers_width = CHARACTER_WIDTH * (len(unit) + (15 if any(map(half_width, present)) else 6))
    stop = width - 24 - numbers_width
    x = _scale(-reach if is_difference else 0.0, reach, left, stop)
    shapes, top = list[Markup](), 4.0
    for name, values in groups.items():
        chosen = [(_colour(i), value) for i, value in enumerate(values) if value is not None]
        shapes.append(_words(name, x=left - 8, y=top + BAR_HEIGHT * max(1, len(chosen)) / 2 + 4, anchor="end"))
        for colour, value in chosen:
            bar, end = _bar(value, x=x, top=top, colour=colour, is_difference=is_difference)
            half = half_width(value)
            said = f"{middle(value):.3g}" if half is None else number(value, 2 + is_difference, signed=is_difference)
            place = stop if is_difference else end  # numbers beside a line in the middle would run across it
            words = _words(f"{said} {unit}".strip(), x=place + 6, y=top + BAR_HEIGHT - 2, anchor="start")
            shapes += [*bar, words]
            top += BAR_HEIGHT
        top += 7 if chosen else BAR_HEIGHT + 7
    if is_difference:
        shapes.append(_shape("path", d=f"M{x(0.0):.1f} 0V{top:.1f}", stroke="var(--soft)", stroke_dasharray="3 3"))
    return _svg(shapes, width=width, height=top, label=label) if present else Markup("")


def _bar(
    value: Value, *, x: Callable[[float], float], top: float, colour: str, is_difference: bool
) -> tuple[list[Markup], float]:
    """A bar or a dot with its interval, and where it ends."""
    end, half, centre = x(middle(value)), half_width(value), f"{top + BAR_HEIGHT / 2 - 1:.1f}"
    if is_difference:
        shapes, line = [_shape("circle", cx=f"{end:.1f}", cy=centre, r=4, fill=colour)], {"stroke": colour}
    else:
        size = {"width": f"{end - x(0.0):.1f}", "height": BAR_HEIGHT - 2}
        shapes = [_shape("rect", x=f"{x(0.0):.1f}", y=f"{top:.1f}", **size, fill=colour)]
        line = {"stroke": "var(--ink)"}
    if half:
        low, high = middle(value) - half, middle(value) + half
        start, end = x(low if is_difference else max(0.0, low)), x(high)
        shapes.append(
            _shape("path", d=f"M{start:.1f} {centre}H{end:.1f}", **line, stroke_width=2 if is_difference else 1)
        )
    return shapes, end


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> Markup:
    """One line a series over shared axes. Points are (x, y); those that are not finite are left out."""
    points = {name: [p for p in values if math.isfinite(p[1])] for name, values in series.items()}
    everything = [p for values in points.values() for p in values]
    if len(everything) < 2:
        return Markup("")
    (x_low, x_high), (y_low, y_high) = (_span([p[axis] for p in everything], pad=0.05 * axis) for axis in (0, 1))
    x, y = _scale(x_low, x_high, LEFT, WIDTH - RIGHT), _scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    middle_y = (HEIGHT - BOTTOM) / 2
    shapes = [
        _words(y_label, x=12, y=middle_y, transform=f"rotate(-90 12 {middle_y:.0f})"),
        _words(x_label, x=(WIDTH + LEFT) / 2, y=HEIGHT - 2),
    ]
    for tick in _ticks(y_low, y_high):
        shapes.append(_shape("path", d=f"M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}", stroke="var(--line)"))
        shapes.append(_words(_short(tick), x=LEFT - 6, y=y(tick) + 4, anchor="end"))
    for i, values in enumerate(points.values()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in values)
        shapes.append(_shape("polyline", points=path, fill="none", stroke=_colour(i), stroke_width=1.8))
    shapes += [_words(_short(tick), x=x(tick), y=HEIGHT - 16) for tick in _ticks(x_low, x_high)]
    return _svg(shapes, width=WIDTH, height=HEIGHT, label=f"{y_label} by {x_label}")


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """A linear map from values to pixels."""
    return lambda value: start + (value - low) / (high - low) * (stop - start)


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
