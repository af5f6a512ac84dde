"""Test items that were found in a corpus, on page and terminal: how many of each set, and some beside their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instructpt.artifacts import Table
from instructpt.records import Match
from instructpt.report.artifacts import Artifact, load_one
from instructpt.report.tables import percent, print_table, printable

if TYPE_CHECKING:
    from rich.console import Console

NUM_EXAMPLES = 3
"""Shown of each test set, those of which most was found."""


def print_matches(path: str, *, console: Console) -> None:
    """Print the numbers of an `Overlap` artifact and examples. Raises ArtifactError if it is not finished."""
    artifact = load_one(path)
    print_table(counts(artifact), console=console)
    for match in examples(artifact):
        place = (
            f"{match.task}, row {match.places[0]}, {match.field}: {match.num_ngrams} of {match.num_item_ngrams} runs"
        )
        item, text = (" ".join(each.split()) for each in (match.item, match.text))
        for line in (place, f"  item: {item}", f"  text: {text}  ({match.id})"):
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def counts(artifact: Artifact) -> Table:
    """A row a test set."""
    rows, found, matches = (artifact.named_counts(name) for name in ("rows", "rows_found", "matches"))
    lines = [
        (task, f"{rows[task]:,}", f"{found.get(task, 0):,}", percent(found.get(task, 0), rows[task], 2), f"{count:,}")
        for task, count in sorted((task, matches.get(task, 0)) for task in rows)
    ]
    return Table("", ("test set", "rows", "rows found", "share", "matches"), tuple(lines))


def examples(artifact: Artifact) -> list[Match]:
    """Of each test set, the matches of which most was found, each of another item."""
    best: dict[str, dict[tuple[int, ...], Match]] = {}
    for match in artifact.records(Match):
        found = best.setdefault(match.task, {})
        known = found.get(match.places)
        if match.text and (known is None or known.num_ngrams < match.num_ngrams):
            found[match.places] = match
            if len(found) > NUM_EXAMPLES:
                del found[min(found, key=lambda places: found[places].num_ngrams)]
    return [m for _, found in sorted(best.items()) for m in sorted(found.values(), key=lambda match: -match.num_ngrams)]
