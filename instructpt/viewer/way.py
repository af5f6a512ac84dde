"""Where a record came from, as links: each hop of `lineage` with the number of its record in its artifact."""

from __future__ import annotations

from typing import Any

from instructpt.assembly.rows import Rows
from instructpt.errors import InputError
from instructpt.records import Group
from instructpt.report.lineage import Hop, trace_at
from instructpt.viewer.library import Library, shelf_of

TRACED = ("Document", "Group", "Text")
"""Records that can be followed back."""
_SHOWN_CHARACTERS = 160


def way(library: Library, name: str, number: int) -> dict[str, Any]:
    """The hops from a record back to the rows of files.

    Raises InputError for records that come from no file, ArtifactError if an artifact on the way is damaged.
    """
    opened = library.opened(name)
    if opened.record not in TRACED:
        raise InputError(f"{opened.record} records are not followed back: look at the texts, groups or documents")
    shard, row = shelf_of(opened).place_of(number)
    return {"hops": [_shown(library, hop) for hop in trace_at(library.path_of(name), shard=shard, row=row)]}


def text_of(library: Library, name: str, *, shard: int, document: int) -> dict[str, Any] | None:
    """The record that a packed document was: its artifact and number. None where that is no longer there."""
    opened = library.opened(name)
    assert isinstance(opened.content, Rows), name
    texts = opened.artifact.settings["texts"]["artifact"]
    if texts not in library.names():
        return None
    return {"artifact": texts, "row": shelf_of(library.opened(texts)).first_of(shard) + document}


def _shown(library: Library, hop: Hop) -> dict[str, Any]:
    record = hop.record
    text = record.shots[0].document.text if isinstance(record, Group) else record.text
    return {
        "depth": hop.depth,
        "artifact": hop.artifact,
        "stage": hop.stage,
        "row": shelf_of(library.opened(hop.artifact)).first_of(hop.shard) + hop.row,
        "id": record.id,
        "notes": list(hop.notes),
        "text": " ".join(text[: 2 * _SHOWN_CHARACTERS].split())[:_SHOWN_CHARACTERS],
    }
