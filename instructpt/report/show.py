"""Records on a terminal, for human eyes, and what checks left out of them.

Corpus text is hostile here too: control characters are shown, not obeyed.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from instructpt.artifacts import Table
from instructpt.errors import ArtifactError
from instructpt.progress.view import summary
from instructpt.records import Document, Group, Item, Match, Record, Score, Shot, Text
from instructpt.report.artifacts import load_one
from instructpt.report.scores import table
from instructpt.report.tables import percent, print_table, printable

if TYPE_CHECKING:
    from rich.console import Console


_REASONS = {"grounded": "not_grounded"}
"""Of checks whose reason is not called as they are."""
_ASKED = ("inconsistent", "judged_wrong")
_EXAMPLE_CHARACTERS = 120
"""Shown of an example in a pipe; on a terminal what is left of its width beside the numbers."""


def show(path: str, *, number: int, console: Console) -> None:
    """Print the counts of the artifact in folder `path` and its first `number` records, or a table of all its scores.

    Raises ArtifactError if it is not a finished artifact.
    """
    from rich.rule import Rule
    from rich.text import Text as Line

    found = load_one(path)
    console.print(f"{found.name}  {found.stage}  {found.num_shards} shards  {summary(found.tally)}", markup=False)
    if found.kind is None:
        raise ArtifactError(f"{path} holds files, not records: look into {path}/00000")
    if found.kind is Score:  # all: a part of them would be a table of the first model alone
        print_table(table(found.records(Score)), console=console)
        return
    for record in islice(found.records(found.kind), number):
        console.print(Rule(printable(getattr(record, "id", ""))))
        console.print(Line(printable("\n".join(_lines(record)))))


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


def _lines(record: Record) -> list[str]:
    match record:
        case Document():
            why = f"   reason: {record.meta['reason']}" if "reason" in record.meta else ""
            return [record.text, "", f"source: {record.source}{why}"]
        case Text():
            return [record.text, "", f"source: {record.source}   kind: {record.kind}   layout: {record.layout or '–'}"]
        case Group():
            return [line for shot in record.shots for line in (shot.document.text, "", *_written(shot), "")]
        case Item():
            values = "  ".join(f"{name} {value:.4f}" for name, value in record.values.items())
            where = f"{record.task}, row {record.place}{f', {record.part}' if record.part else ''}"
            return [where, f"gold:   {record.gold}", f"answer: {record.answer}", values]
        case Match():
            runs = f"{record.num_ngrams} of {record.num_item_ngrams} runs of words"
            where = f"{record.task}, row {record.places[0]}, {record.field}: {runs}"
            return [where, f"item: {record.item}", f"text: {record.text}", f"source: {record.source}"]
        case _:
            return [repr(record)]


def _written(shot: Shot) -> list[str]:
    lines = []
    for pair in shot.pairs:
        lines += [f"Q: {pair.question}", *(f"   - {option}" for option in pair.options)]
        lines += [f"   ({pair.rationale})"] if pair.rationale else []
        lines += [f"A: {pair.answer}"]
    for writing in shot.writings:
        lines += ["", f"[{writing.form} {writing.variant}]", writing.text]
    return lines
