"""What checks did to a corpus, and how good they are, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructpt.records import Score
from instructpt.report.artifacts import load_one
from instructpt.report.page import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_REASONS = {"grounded": "not_grounded"}
"""Of checks whose reason is not called as they are."""
MAX_WAYS = 6
_ASKED = ("inconsistent", "judged_wrong")


def print_checks(path: str, *, console: Console) -> None:
    """Print what a `Verify`, `Consistency` or `Judged` artifact left out, a line a check, each with an example.

    Raises ArtifactError if it is not finished.
    """
    artifact = load_one(path)
    left_out, failed = artifact.named_counts("left_out"), artifact.named_counts("failed")
    checks = artifact.settings.get("checks") or [reason for reason in _ASKED if reason in left_out]
    num_pairs = artifact.tally.counts.get("checked", 0)
    table = _table("check", "fail", "left out", "share", "for example", numeric=range(1, 4))
    for check in checks:
        reason = _REASONS.get(check, check)
        number = left_out.get(reason, 0)
        if failed.get(check, number):
            example = next(iter(artifact.tally.samples.get(f"left_out/{reason}", ())), "")
            table.add_row(
                check,
                *_numbers(failed.get(check, number), number, num_pairs),
                printable(_line(example, characters=console.width - 48)),
            )
    table.add_row("all", *_numbers(None, sum(left_out.values()), num_pairs), "")
    console.print(f"{artifact.name}: {num_pairs:,} pairs", markup=False)
    console.print(table)
    if passed := [check for check in checks if not failed.get(check, left_out.get(_REASONS.get(check, check), 0))]:
        console.print(f"No pair failed {', '.join(passed)}.", markup=False)
    for name, number in sorted(artifact.named_counts("unanswered").items()):
        console.print(f"{number:,} pairs are kept without an opinion: {name}", markup=False)


def print_check_quality(path: str, *, console: Console) -> None:
    """Print a `CheckQuality` artifact: precision, recall and false rejects of each check with 95 % intervals.

    Raises ArtifactError if it is not finished.
    """
    by_check: dict[str, dict[str, Score]] = {}
    for score in load_one(path).records(Score):
        by_check.setdefault(score.task, {})[score.metric] = score
    heads = ("check", "rejects", "precision", "false", "recall", "finds, of those spoilt so")
    table = _table(*heads, numeric=range(1, 5))
    for place in range(5):
        table.columns[place].no_wrap = True
    for check, found in by_check.items():
        rejects = found["precision"].count if "precision" in found else 0
        cells = [_share(found.get(metric)) for metric in ("precision", "false", "recall")]
        ways = {metric.removeprefix("recall/"): s.value for metric, s in found.items() if metric.startswith("recall/")}
        hits = sorted(((way, share) for way, share in ways.items() if share), key=lambda item: -item[1])
        if len(hits) > MAX_WAYS:  # of a long list what is missed is worth reading
            hits = [(way, share) for way, share in ways.items() if share < 1]
        table.add_row(check, str(rejects), *cells, ", ".join(f"{way}\u00a0{100 * share:.0f}" for way, share in hits))
    console.print(table)
    console.print(
        "In percent, with 95 % intervals. Half of the pairs are spoilt; false: rejected of the other half. The last"
        " column says what of each way is found; of a check that finds many ways, those that it misses."
    )


def _numbers(failed: int | None, left_out: int, num_pairs: int) -> tuple[str, str, str]:
    share = f"{100 * left_out / num_pairs:.2f} %" if num_pairs else ""
    return "" if failed is None else f"{failed:,}", f"{left_out:,}", share


def _line(text: str, *, characters: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= characters else f"{plain[: max(0, characters - 1)]}…"


def _table(*heads: str, numeric: range) -> Table:
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False)
    for place in numeric:
        table.columns[place].justify = "right"
    return table


def _share(score: Score | None) -> str:
    """A share with its interval in percent, "87 (79-93)"; blank where there was no case."""
    from instructpt.verification.check_quality import interval

    if score is None:
        return ""
    low, high = interval(score.value, score.count)
    return f"{100 * score.value:.0f} ({100 * low:.0f}-{100 * high:.0f})"
