"""What an artifact is: its counts, what was left out and why, what it and each record came from; charts of a sample.

texts          172 passages in, 158 texts out
  groups       172 passages in, 172 out        483 pairs; left out: not_grounded 70, no_end_tag 61
    passages   ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from instructpt.assembly.rows import Rows
from instructpt.errors import InputError
from instructpt.report.artifacts import Artifact, road
from instructpt.report.lineage import TRACED, trace_at
from instructpt.viewer.search import filters_of
from instructpt.viewer.shelf import Library, OpenArtifact, Shelf, shelf_of
from instructpt.viewer.shown import sources_of

SAMPLE_CHUNKS = 8
"""Row groups in a sample, spread evenly over all."""
SAMPLE_RECORDS = 4_096
_SHOWN_CHARACTERS = 160
"""Of a record on the way back."""
_MAX_VALUES = 30
"""Of a filter or a chart; the rest is summed up."""
_LENGTHS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Bounds of the chart of lengths, characters."""


def overview(opened: OpenArtifact) -> dict[str, Any]:
    """What the page needs to open an artifact, and all it was made from that is still there, inputs first.

    No record is read for it.
    """
    artifact = opened.artifact
    return {
        "name": artifact.name,
        "stage": artifact.stage,
        "record": opened.record,
        "num_records": len(opened.content) if opened.content is not None else 0,
        "num_shards": artifact.num_shards,
        "filters": list(filters_of(opened.content)) if isinstance(opened.content, Shelf) else [],
        "path": artifact.folder.path,
        **{name: artifact.manifest[name] for name in ("version", "fingerprint", "made_by")},
        "settings": dict(artifact.settings),
        "row_tokens": opened.content.row_tokens if isinstance(opened.content, Rows) else None,
        **_counts(artifact),
        "made_from": [
            {"name": a.name, "stage": a.stage, "inputs": list(a.inputs), "seconds": round(a.seconds, 1), **_counts(a)}
            for a in road(artifact)
        ],
    }


def way(library: Library, opened: OpenArtifact, number: int) -> list[dict[str, Any]]:
    """The hops from a record back to the rows of files, each with the number of its record in its artifact.

    Raises InputError for records that come from no file, ArtifactError if an artifact on the way is damaged.
    """
    if opened.artifact.kind not in TRACED:
        raise InputError(f"{opened.record} records are not followed back: look at the texts, groups or documents")
    return [
        {
            "depth": hop.depth,
            "artifact": hop.artifact.name,
            "stage": hop.artifact.stage,
            "row": shelf_of(library.opened(hop.artifact.name)).first_of(hop.shard) + hop.row,
            "id": hop.record.id,
            "notes": list(hop.notes),
            "text": hop.start(_SHOWN_CHARACTERS)[:_SHOWN_CHARACTERS],
        }
        for hop in trace_at(opened.artifact, *shelf_of(opened).place_of(number))
    ]


def charts(opened: OpenArtifact) -> dict[str, Any]:
    """Distributions of a sample of the records, and the values that filters may ask for."""
    shelf = opened.content
    if not isinstance(shelf, Shelf):
        return {"sampled": 0, "of": 0, "charts": [], "values": {}}
    sampled, tallies = _sample(shelf)
    values = {name: _most(tallies[name])[0] for name in filters_of(shelf)}
    rejects = opened.artifact.named_counts("rejects")
    if "reason" in values and rejects:
        values["reason"] = list(rejects.items())[:_MAX_VALUES]
    shown = [{"title": title, "bars": bars(tallies[name])} for name, title, bars in _CHARTS if tallies[name]]
    return {"sampled": sampled, "of": len(shelf), "charts": shown, "values": values}


def _counts(artifact: Artifact) -> dict[str, Any]:
    tally = artifact.tally
    return {
        "takes": artifact.takes,
        "makes": artifact.makes,
        "taken": tally.taken,
        "kept": tally.kept,
        "made": tally.made,
        "records": tally.records,
        "dropped": dict(sorted(tally.dropped.items(), key=lambda item: -item[1])),
        "samples": tally.samples,
        "counts": tally.counts,
    }


def _sample(shelf: Shelf) -> tuple[int, dict[str, Counter[Any]]]:
    """How many records were looked at, and what is in them."""
    found: dict[str, Counter[Any]] = {name: Counter() for name, *_ in _CHARTS}
    found |= {name: Counter() for name in filters_of(shelf)}
    stride, sampled = max(1, len(shelf) // SAMPLE_CHUNKS), 0
    per_chunk = max(1, SAMPLE_RECORDS // SAMPLE_CHUNKS)
    for start in range(0, len(shelf), stride):
        count = min(stride, per_chunk if len(shelf) > SAMPLE_RECORDS else stride)
        for _, row in shelf.rows(start, count):
            sampled += 1
            _tally(found, row)
    return sampled, found


def _tally(found: Mapping[str, Counter[Any]], row: Mapping[str, Any]) -> None:
    found["source"].update(sources_of(row))
    for shot in row.get("shots", ()):
        found["pairs"][len(shot["pairs"])] += 1
        found["category"].update(pair["category"] for pair in shot["pairs"] if pair["category"])
        found["reason"].update(reject["reason"] for reject in shot["rejects"])
        found["length"][_band(len(shot["document"]["text"]))] += 1
    if "text" in row and "item" not in row:  # of a match that is an excerpt
        found["length"][_band(len(row["text"]))] += 1
    for name in ("kind", "layout", "task", "metric", "model", "part"):
        if row.get(name):
            found[name][row[name]] += 1


def _band(length: int) -> int:
    """The lower bound of a length's bar."""
    return max(bound for bound in (0, *_LENGTHS) if bound <= length)


def _whole_numbers(counts: Counter[Any]) -> list[tuple[str, int]]:
    return [(str(value), counts[value]) for value in range(max(counts) + 1)]


def _bands(counts: Counter[Any]) -> list[tuple[str, int]]:
    bounds = [bound for bound in (0, *_LENGTHS) if min(counts) <= bound <= max(counts)]
    above = {low: f"{low:,} to {high - 1:,}" for low, high in pairwise((0, *_LENGTHS))}
    return [(above.get(bound, f"{bound:,} and more"), counts[bound]) for bound in bounds]


def _with_others(counts: Counter[Any]) -> list[tuple[str, int]]:
    most, rest = _most(counts)
    return [*most, ("(others)", rest)] if rest else most


def _most(counts: Counter[Any]) -> tuple[list[tuple[str, int]], int]:
    """The most frequent values, and how often there was another."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    rest = sum(count for _, count in ordered[_MAX_VALUES:])
    return [(str(value), count) for value, count in ordered[:_MAX_VALUES]], rest


_CHARTS: tuple[tuple[str, str, Callable[[Counter[Any]], list[tuple[str, int]]]], ...] = (
    ("pairs", "Passages by number of pairs", _whole_numbers),
    ("category", "Pairs by category", _with_others),
    ("reason", "Pairs left out, by reason", _with_others),
    ("length", "Texts by length in characters", _bands),
    ("kind", "Texts by kind", _with_others),
    ("layout", "Texts by layout of the template", _with_others),
    ("task", "Records by task", _with_others),
    ("source", "Texts by source", _with_others),
)
"""What is counted, the chart's title, and how the counted values become bars."""
