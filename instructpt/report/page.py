"""The page's templates: whatever is put into them is escaped, and its control characters are spelled out.

templates/report.html    the frame: one file, no script, no request; its style is report.css
          macros.html    a table, a legend, a pair
          front.html     the first screen
          *.html         a section each; one that comes out empty is left out
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from instructpt.report import charts
from instructpt.report.tables import number, numeric, percent, printable


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("instructpt.report"),
        autoescape=select_autoescape(disabled_extensions=("md",), default=True),
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "numeric": numeric,
        "count": "{:,}".format,
        "cell": lambda text: " ".join(text.replace("|", "\\|").split()),
        "quoted": lambda text: orjson.dumps(text).decode(),
        "pretty": lambda settings: orjson.dumps(dict(settings), option=orjson.OPT_INDENT_2).decode(),
    }
    environment.globals |= {"percent": percent, "bars": charts.bars, "lines": charts.lines}
    return environment


def write(template: str, **context: Any) -> str:
    """A Markdown template of this room; what stands in its tables passes through the filter `cell`."""
    return _environment().get_template(template).render(context)


def draw(template: str, **context: Any) -> Markup:
    """An HTML template of this room."""
    return Markup(_environment().get_template(template).render(context))  # noqa: S704 (escaped by the environment)


def _shown(value: object) -> object:
    """What an expression of a template becomes, before it is escaped."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
