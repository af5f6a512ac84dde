"""What a person sees of a stage at work: a few lines that are drawn anew, or one line for a log.

      4/5  groups       ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  34.1%  2h10m left
           passages     12,288 of about 36,000   8.2/s   pairs 55,123
           tokens       in 8,210/s   out 1,920/s   cached 41%
           under way    96 of 128   shards 3 of 24
           rejects      3,001: no_end_tag 1,200, duplicate 800, ungrounded 500
           endpoints    2 of 3 ok
                        DOWN http://gpu3:8000/v1   0 under way   12 failed
                        ok   http://gpu1:8000/v1   48 under way   0 failed
                        ok   http://gpu2:8000/v1   48 under way   0 failed
           spent        12.10 of 50   3.20 h of 24

All of it is drawn from a `View` alone. Words that come from a server or a corpus are shown, never obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instructpt.progress.board import View, number

if TYPE_CHECKING:
    from rich.console import RenderableType

_PLACE, _LABEL = 5, 12
_NUM_REASONS = 5
_NUM_ENDPOINTS = 4
_REJECTS, _DOWN = "rejects/", "DOWN"


def draw(view: View) -> RenderableType:
    """The stage at work as lines that fit the terminal, whatever its width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    label = Text.assemble((f"{place(view):>{_PLACE}}  ", "dim"), (f"{plain(view.stage or ''):<{_LABEL}}", "bold"))
    share = _share(view)
    if share is None:
        return Text.assemble(label, " ", line(view) or duration(view.seconds), no_wrap=True, overflow="ellipsis")
    head = Table.grid(padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    bar = ProgressBar(total=1.0, completed=share, complete_style="green", finished_style="green")
    head.add_row(label, bar, Text(f"{share:6.1%}  {_left(view)}".rstrip()))
    head.expand = True
    lines: list[RenderableType] = [head]
    for name, words in _details(view):
        body = Table.grid(padding=(0, 1))
        body.add_column(no_wrap=True)
        body.add_column(overflow="fold")
        shown = Text(words)
        shown.highlight_words([_DOWN], "bold red")
        body.add_row(Text(f"{'':>{_PLACE}}  {name:<{_LABEL}}", style="dim"), shown)
        lines.append(body)
    return Group(*lines)


def line(view: View) -> str:
    """The same in one line, for a log."""
    if view.num_passages is None:
        return "  ".join(filter(None, [_words(view.counts), _shards(view), _left(view)]))
    wanted = ("passages", "tokens", "under way", "rejects", "endpoints", "spent")
    details = dict(_details(view, num_reasons=1))
    parts = [f"{name} {details[name].splitlines()[0]}" for name in wanted if name in details]
    return "  ".join([*parts, _left(view)]).rstrip()


def place(view: View) -> str:
    """Which of the stages is at work: "3/5"."""
    if view.stage is None or view.stage not in view.stages:
        return ""
    return f"{list(view.stages).index(view.stage) + 1}/{len(view.stages)}"


def duration(seconds: float) -> str:
    """A length of time in few characters: "4.2s", "3m05s", "2h10m", "3d04h"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d{hours % 24:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{seconds:.1f}s"


def plain(text: object) -> str:
    """Words on one line whose control and format characters (terminal codes, direction marks) became blanks."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()


def _share(view: View) -> float | None:
    """How much of the stage is done; None where that is not known, and one line says all."""
    if not view.num_passages:
        return None
    return min(1.0, number(view.counts, "passages") / view.num_passages)


def _left(view: View) -> str:
    return "" if view.seconds_left is None else f"{duration(max(0.0, view.seconds_left))} left"


def _shards(view: View) -> str:
    return f"shards {view.num_sealed:,} of {view.num_shards:,}" if view.num_shards > 1 else ""


def _words(counts: Mapping[str, object]) -> str:
    return "  ".join(f"{plain(name)} {_shown(value)}" for name, value in counts.items())


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else plain(value)


def _details(view: View, *, num_reasons: int = _NUM_REASONS) -> list[tuple[str, str]]:
    """What there is to tell of a stage that asks a model, a few words each; what was not told is left out."""
    counts, rates = view.counts, view.rates
    whole = view.num_passages or 0.0
    exact = whole == number(counts, "total")
    passages = f"{number(counts, 'passages'):,.0f} of {'' if exact else 'about '}{whole:,.0f}"
    if "asked" in rates:
        passages += f"   {_rate(rates['asked'])}"
    passages += f"   pairs {number(counts, 'pairs'):,.0f}"
    if number(counts, "failed"):
        passages += f"   failed {number(counts, 'failed'):,.0f}"
    if number(counts, "replayed"):
        passages += f"   from the ledger {number(counts, 'replayed'):,.0f}"
    told = [
        ("passages", passages),
        ("tokens", _tokens(counts, rates)),
        ("under way", _under_way(view)),
        ("rejects", _rejects(counts, num_reasons)),
        ("endpoints", _endpoints(counts.get("endpoints"))),
        ("spent", _spent(counts)),
    ]
    return [(name, words) for name, words in told if words]


def _tokens(counts: Mapping[str, object], rates: Mapping[str, float]) -> str:
    parts = [
        f"{way} {_rate(rates[name])}"
        for way, name in (("in", "prompt_tokens"), ("out", "output_tokens"))
        if name in rates
    ]
    if (num_read := number(counts, "engine_prompt_tokens")) and "cached_tokens" in counts:
        parts.append(f"cached {number(counts, 'cached_tokens') / num_read:.0%}")
    return "   ".join(parts)


def _under_way(view: View) -> str:
    parts = []
    if "under_way" in view.counts:
        parts.append(f"{number(view.counts, 'under_way'):,.0f} of {number(view.counts, 'capacity'):,.0f}")
    if "engines" in view.counts:
        parts.append(f"engines {plain(view.counts['engines'])}")
    if shards := _shards(view):
        parts.append(shards)
    return "   ".join(parts)


def _rejects(counts: Mapping[str, object], num_reasons: int) -> str:
    total = number(counts, "rejects")
    reasons = {name.removeprefix(_REJECTS): number(counts, name) for name in counts if name.startswith(_REJECTS)}
    first = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:num_reasons]
    words = ", ".join(f"{plain(name)} {count:,.0f}" for name, count in first)
    return f"{total:,.0f}{f': {words}' if words else ''}" if total else ""


def _endpoints(endpoints: Any) -> str:
    """How many are well, and those that are not. endpoints: `engines.Endpoint`s, or how many are well of how many."""
    if not isinstance(endpoints, Sequence) or isinstance(endpoints, str):
        return plain(endpoints) if endpoints else ""
    num_well = sum(endpoint.is_healthy for endpoint in endpoints)
    shown = sorted(endpoints, key=lambda endpoint: (endpoint.is_healthy, -endpoint.num_failed))[:_NUM_ENDPOINTS]
    words = [f"{num_well} of {len(endpoints)} ok"]
    for endpoint in shown:
        state, failed = "ok" if endpoint.is_healthy else _DOWN, endpoint.num_failed
        said = f"   {plain(endpoint.trouble)}" if endpoint.trouble else ""
        words.append(
            f"{state:<4} {plain(endpoint.name)}   {endpoint.num_under_way:,} under way   {failed:,} failed{said}"
        )
    if len(shown) < len(endpoints):
        words.append(f"and {len(endpoints) - len(shown):,} more")
    return "\n".join(words) if endpoints else ""


def _spent(counts: Mapping[str, object]) -> str:
    parts = []
    for name, limit, form in (("cost", "max_cost", "{:,.2f}"), ("hours", "max_hours", "{:,.2f} h")):
        if number(counts, limit) or (name == "cost" and number(counts, name)):
            parts.append(form.format(number(counts, name)))
            parts[-1] += f" of {number(counts, limit):,g}" if number(counts, limit) else ""
    return "   ".join(parts)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:,.1f}/s"
