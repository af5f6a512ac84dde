"""What checks did to a corpus, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructpt.artifacts import Table
from instructpt.report.artifacts import load_one
from instructpt.report.tables import percent, print_table

if TYPE_CHECKING:
    from rich.console import Console

_REASONS = {"grounded": "not_grounded"}
"""Of checks whose reason is not called as they are."""
_ASKED = ("inconsistent", "judged_wrong")
_EXAMPLE_CHARACTERS = 120
"""Shown of an example in a pipe; on a terminal what is left of its width beside the numbers."""


def print_checks(path: str, *, console: Console) -> None:
    """Print what a `Verify`, `Consistency` or `Judged` artifact left out, a line a check, each with an example.

    Raises ArtifactError if it is not finished.
    """
    artifact = load_one(path)
    left_out, failed = artifact.named_counts("left_out"), artifact.named_counts("failed")
    checks = artifact.settings.get("checks") or [reason for reason in _ASKED if reason in left_out]
    num_pairs = artifact.tally.counts.get("checked", 0)
    most = console.width - 48 if console.is_terminal else _EXAMPLE_CHARACTERS
    rows, passed = [], []
    for check in checks:
        reason = _REASONS.get(check, check)
        number = left_out.get(reason, 0)
        if num_failed := failed.get(check, number):
            example = " ".join(next(iter(artifact.tally.samples.get(f"left_out/{reason}", ())), "").split())
            shown = example if len(example) <= most else f"{example[: max(0, most - 1)]}…"
            rows.append((check, f"{num_failed:,}", f"{number:,}", percent(number, num_pairs, 2), shown))
        else:
            passed.append(check)
    number = sum(left_out.values())
    rows.append(("all", "", f"{number:,}", percent(number, num_pairs, 2), ""))
    notes = [f"No pair failed {', '.join(passed)}."] if passed else []
    unanswered = sorted(artifact.named_counts("unanswered").items())
    notes += [f"{number:,} pairs are kept without an opinion: {name}" for name, number in unanswered]
    head = ("check", "fail", "left out", "share", "for example")
    print_table(Table(f"{artifact.name}: {num_pairs:,} pairs", head, tuple(rows), tuple(notes)), console=console)
