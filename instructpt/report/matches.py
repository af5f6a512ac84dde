"""Test items that were found in a corpus, on page and terminal: how many of each set, and some beside their text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from instructpt.records import Match
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.page import Section, escape, printable, table

if TYPE_CHECKING:
    from rich.console import Console

NUM_EXAMPLES = 3
"""Shown of each test set, those of which most was found."""
_HEAD = ("test set", "rows", "rows found", "share", "matches")


def matches(artifacts: Mapping[str, Artifact]) -> Section:
    """Each test set's numbers, and examples of what was found."""
    body = ""
    for artifact in artifacts.values():
        if artifact.stage == "Overlap":
            shown = [
                (match.task, f"{match.num_ngrams} of {match.num_item_ngrams}", match.item, match.text, match.id)
                for found in _examples(artifact).values()
                for match in found
            ]
            body += f"<h3>{escape(artifact.name)}</h3>" + table(_HEAD, _rows(artifact), numeric=range(1, 5))
            body += table(("test set", "runs of words", "test item", "text", "id of the text"), shown) if shown else ""
    return Section("Test items in the texts", body)


def print_matches(path: str, *, console: Console) -> None:
    """Print the numbers of an `Overlap` artifact and examples. Raises ArtifactError if it is not finished."""
    from rich.table import Table

    artifact = load_one(path)
    shown = Table(*_HEAD, box=None, pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in _rows(artifact):
        shown.add_row(*map(printable, row))
    console.print(shown)
    for task, found in _examples(artifact).items():
        for match in found:
            place = f"{task}, row {match.places[0]}, {match.field}: {match.num_ngrams} of {match.num_item_ngrams} runs"
            lines = (place, f"  item: {_line(match.item)}", f"  text: {_line(match.text)}  ({match.id})")
            for line in lines:
                console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _line(text: str) -> str:
    return " ".join(text.split())


def _rows(artifact: Artifact) -> Iterator[tuple[str, ...]]:
    """A row a test set."""
    rows, found, counts = (artifact.named_counts(name) for name in ("rows", "rows_found", "matches"))
    for task in sorted(rows):
        numbers = rows[task], found.get(task, 0), counts.get(task, 0)
        share = f"{100 * numbers[1] / numbers[0]:.2f} %"
        yield task, f"{numbers[0]:,}", f"{numbers[1]:,}", share, f"{numbers[2]:,}"


def _examples(artifact: Artifact) -> dict[str, list[Match]]:
    """Of each test set, the matches of which most was found, each of another item."""
    best: dict[str, dict[tuple[int, ...], Match]] = {}
    for match in artifact.records(Match):
        found = best.setdefault(match.task, {})
        known = found.get(match.places)
        if match.text and (known is None or known.num_ngrams < match.num_ngrams):
            found[match.places] = match
            if len(found) > NUM_EXAMPLES:
                del found[min(found, key=lambda places: found[places].num_ngrams)]
    return {task: sorted(found.values(), key=lambda match: -match.num_ngrams) for task, found in sorted(best.items())}
