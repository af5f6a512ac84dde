"""How one record looks in a cell or a chart of the report."""

from __future__ import annotations

from instructpt.records import Pair, Score
from instructpt.report.charts import Bar
from instructpt.report.page import Html, escape

Z_95 = 1.96
"""Standard errors in half of a 95 % interval."""


def question(pair: Pair) -> Html:
    """A pair's question with its options and rationale."""
    options = "".join(f"<br>- {escape(option)}" for option in pair.options)
    rationale = f"<br><span class=soft>{escape(pair.rationale)}</span>" if pair.rationale else ""
    return Html(escape(pair.question) + options + rationale)


def bar(score: Score | None) -> Bar | None:
    """A score with its 95 % interval."""
    return Bar(score.value, None if score.stderr is None else Z_95 * score.stderr) if score else None


def number(score: Score | None, *, digits: int) -> str:
    """A score and half of its 95 % interval."""
    if score is None:
        return "–"
    return f"{score.value:.{digits}f}" + (f" ± {Z_95 * score.stderr:.{digits}f}" if score.stderr is not None else "")
