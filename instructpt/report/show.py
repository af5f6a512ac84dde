"""Records on a terminal, for human eyes, and what checks left out of them.

Corpus text is hostile here too: control characters are shown, not obeyed.

A person reads pairs in a sheet: drawn evenly from an artifact, marked in a spreadsheet, summed up.

    groups --draw--> sheet.csv --a person writes right, wrong or unclear--> sheet.csv --sum_up--> shares with intervals

The pairs are drawn by the sources of their passages in turn, so that each kind of text has its part. Corpus text is
hostile in a spreadsheet too: a cell that would be a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from instructpt.artifacts import Table
from instructpt.errors import ArtifactError, InputError
from instructpt.progress.view import summary
from instructpt.records import Document, Group, Item, Match, Pair, Record, Score, Shot, Text
from instructpt.report.artifacts import load_one
from instructpt.report.scores import table
from instructpt.report.tables import Z_95, percent, print_table, printable
from instructpt.seeds import rng

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
    checks = [*checks, *sorted(reason for reason in left_out if "/" in reason)]  # of texts in a form: facts/REASON
    num_pairs, parts = artifact.tally.counts.get("checked", 0), artifact.named_counts("parts")
    most = console.width - 48 if console.is_terminal else _EXAMPLE_CHARACTERS
    rows, passed = [], []
    for check in checks:
        reason = _REASONS.get(check, check)
        number = left_out.get(reason, 0)
        if num_failed := failed.get(check, number):
            example = " ".join(next(iter(artifact.tally.samples.get(f"left_out/{reason}", ())), "").split())
            shown = example if len(example) <= most else f"{example[: max(0, most - 1)]}…"
            share = percent(number, parts.get(check.rpartition("/")[0], num_pairs), 2)
            rows.append((check, f"{num_failed:,}", f"{number:,}", share, shown))
        else:
            passed.append(check)
    number = sum(left_out.values())
    num_checked = num_pairs + sum(parts.values())
    rows.append(("all", "", f"{number:,}", percent(number, num_checked, 2), ""))
    notes = [f"No pair failed {', '.join(passed)}."] if passed else []
    unanswered = sorted(artifact.named_counts("unanswered").items())
    notes += [f"{number:,} pairs are kept without an opinion: {name}" for name, number in unanswered]
    head = ("check", "fail", "left out", "share", "for example")
    of_texts = f", {sum(parts.values()):,} parts of texts" if parts else ""
    print_table(
        Table(f"{artifact.name}: {num_pairs:,} pairs{of_texts}", head, tuple(rows), tuple(notes)), console=console
    )


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


COLUMNS = ("number", "verdict", "category", "question", "options", "answer", "agreement", "passage", "source")
VERDICTS = ("right", "wrong", "unclear")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(artifact: str, path: Path, *, pairs: int, seed: int) -> int:
    """Write so many pairs of an artifact of groups to a new file; how many there were to write.

    Raises InputError for an artifact without pairs, and for a file that is there: it may hold somebody's verdicts.
    """
    if path.exists():
        raise InputError(f"{path} is there already, with verdicts perhaps: give --out another name, or remove it")
    drawn = draw(load_one(artifact).records(Group), pairs=pairs, seed=seed)
    if not drawn:
        raise InputError(f"{artifact} holds no pairs: give an artifact of groups, such as runs/mine/groups")
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for number, (shot, pair) in enumerate(drawn, 1):
        agreement = "" if pair.agreement is None else f"{pair.agreement:.2f}"
        texts = (pair.category or "", pair.question, " | ".join(pair.options), pair.answer)
        ends = (shot.document.text, shot.document.source)
        table.writerow([number, "", *map(_harmless, texts), agreement, *map(_harmless, ends)])
    path.write_text(written.getvalue(), "utf-8")
    return len(drawn)


def draw(groups: Iterable[Group], *, pairs: int, seed: int) -> list[tuple[Shot, Pair]]:
    """So many pairs, or all there are: the sources take turns, and within a source the passages do."""
    by_source: dict[str, list[tuple[int, float, Shot, Pair]]] = {}
    for group in groups:
        for place, shot in enumerate(group.shots):
            order = list(range(len(shot.pairs)))
            rng(seed, "pairs of a sheet", group.id, place).shuffle(order)
            for turn, number in enumerate(order):
                key = rng(seed, "passages of a sheet", group.id, place).random()
                by_source.setdefault(shot.document.source, []).append((turn, key, shot, shot.pairs[number]))
    queues = [sorted(found, key=lambda item: item[:2]) for _, found in sorted(by_source.items())]
    in_turn = filter(None, chain.from_iterable(zip_longest(*queues)))
    return [(shot, pair) for _, _, shot, pair in islice(in_turn, pairs)]


def sum_up(path: Path) -> Table:
    """How many pairs of a marked sheet are right, by category and in all, with 95 % intervals (Wilson, 1927).

    Unclear ones count as not right. Raises InputError for a file that is no sheet, a verdict that is none, or a sheet
    that nobody has marked.
    """
    counts: dict[str, Counter[str]] = {}
    for line, row in enumerate(_rows(path), 2):
        verdict = row["verdict"].strip().lower()
        if verdict not in (*VERDICTS, ""):
            raise InputError(f"{path}, row {line}: the verdict is {verdict!r}: write {', '.join(VERDICTS)} or nothing")
        for name in (row["category"] or "-", "all"):
            counts.setdefault(name, Counter())[verdict] += 1
    if not any(counts.get("all", Counter())[verdict] for verdict in VERDICTS):
        raise InputError(f"{path} has no verdicts: write {', '.join(VERDICTS)} into its second column, then try again")
    rows = []
    for name, found in sorted(counts.items(), key=lambda item: (item[0] == "all", -item[1].total(), item[0])):
        num_read = sum(found[verdict] for verdict in VERDICTS)
        shares = ("", "")
        if num_read:
            low, high = interval(found["right"], num_read)
            shares = (f"{found['right'] / num_read:.2f}", f"{low:.2f} to {high:.2f}")
        rows.append((name, str(num_read), *(str(found[verdict]) for verdict in VERDICTS), *shares))
    return Table("", ("category", "read", *VERDICTS, "share right", "95 % interval"), tuple(rows))


def interval(count: int, total: int) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence, where `count` of `total` were so."""
    share, spread = count / total, Z_95**2 / total
    middle = share + spread / 2
    half = Z_95 * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        text = path.read_text("utf-8-sig")  # some spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a file that `instructpt sheet` wrote") from error
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = {"verdict", "category"} - set(table.fieldnames or ())
    if missing:
        raise InputError(
            f"{path} has no column {' or '.join(sorted(missing))}: give a file that `instructpt sheet` wrote"
        )
    for row in table:
        yield {name: row.get(name) or "" for name in ("verdict", "category")}


def _harmless(text: str) -> str:
    shown = text.replace("\x00", "")
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
