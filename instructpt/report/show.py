"""Records on a terminal, for human eyes. Corpus text is hostile here too: control characters are shown, not obeyed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from instructpt.errors import ArtifactError
from instructpt.progress.in_words import summary
from instructpt.records import Document, Group, Item, Match, Record, Score, Shot, Text
from instructpt.report.artifacts import load_one
from instructpt.report.scores import table
from instructpt.report.tables import print_table, printable

if TYPE_CHECKING:
    from rich.console import Console


def show(path: str, *, number: int, console: Console) -> None:
    """Print the counts of the artifact in folder `path` and its first `number` records.

    Raises ArtifactError if it is not a finished artifact.
    """
    from rich.rule import Rule
    from rich.text import Text as Line

    found = load_one(path)
    console.print(f"{found.name}  {found.stage}  {found.num_shards} shards  {summary(found.tally)}", markup=False)
    if found.kind is None:
        raise ArtifactError(f"{path} holds files, not records: look into {path}/00000")
    records = islice(found.records(found.kind), number)
    if found.kind is Score:
        print_table(table(records), console=console)
        return
    for record in records:
        console.print(Rule(printable(getattr(record, "id", ""))))
        console.print(Line(printable("\n".join(_lines(record)))))


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
