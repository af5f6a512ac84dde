"""The card of a corpus that is passed on: README.md with the header that the Hub reads, written from the artifacts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from instructpt import __version__
from instructpt.records import Document, Group, Text
from instructpt.report.artifacts import Artifact
from instructpt.report.page import write

UNNAMED = "not named"
"""What is said of documents whose row has no licence."""
_HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd-[23]-clause|cc0-1\.0|cc-by(-sa|-nc|-nc-sa|-nd|-nc-nd)?-[234]\.[05]|odc-by|pddl|gpl-[23]\.0|unlicense"
)
"""As the Hub spells them; a licence that is none of these is "other" to it."""
_SIZES = (
    (1e3, "n<1K"),
    (1e4, "1K<n<10K"),
    (1e5, "10K<n<100K"),
    (1e6, "100K<n<1M"),
    (1e7, "1M<n<10M"),
    (1e8, "10M<n<100M"),
)


def render(road: Sequence[Artifact], *, record: str, num_records: int, characters: int, sample: str) -> str:
    """The card of the last artifact of a road (`artifacts.road`).

    record: "Text", "Group" or "Document". characters: of its texts. sample: one record for people to read.
    """
    licences = _licences(road)
    asked = [
        str(a.settings["model"])
        for a in road
        if a.stage in ("Synthesize", "Write") and isinstance(a.settings["model"], str)
    ]
    return write(
        "dataset_card.md",
        version=__version__,
        road=road,
        stages={artifact.stage for artifact in road},
        models=[_public(model) for model in asked],
        record=record,
        num_records=num_records,
        characters=characters,
        size=next((name for most, name in _SIZES if num_records < most), "n>100M"),
        licence=hub_licence(list(licences)),
        licences=licences,
        files=[_public(name) for a in road if a.stage == "Read" for name in a.settings["files"]],
        settings={a.name: [(k, _public(v)) for k, v in a.settings.items() if _is_telling(v)] for a in road},
        sample=sample,
        fence="`" * max(3, 1 + max(map(len, re.findall("`+", sample)), default=0)),  # longer than any inside
    )


def hub_licence(names: Sequence[str]) -> str:
    """The one licence that these names spell, as the Hub spells it; "other" for several, or one it does not know."""
    spelled = {re.sub(r"[\s_]+", "-", name.strip().casefold()) for name in names}
    (one,) = spelled if len(spelled) == 1 else ("",)
    return one if _HUB_LICENCES.fullmatch(one) else "other"


def _licences(road: Sequence[Artifact]) -> dict[str, int]:
    """How many of the documents that were read have which licence, most frequent first."""
    found: Counter[str] = Counter()
    for artifact in road:
        if artifact.stage == "Read":
            for document in artifact.records(Document):
                found[str(document.meta.get("licence") or document.meta.get("license") or UNNAMED)] += 1
    return dict(found.most_common()) or {UNNAMED: 0}


def _is_telling(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and value != ""


def _public(value: Any) -> str:
    """Of a path its last part alone: where it lay is nobody's business."""
    text = str(value)
    return text.rstrip("/").rpartition("/")[2] if text.startswith(("/", "~", ".")) or "://" in text else text


def sample_of(record: Text | Group | Document, *, most: int = 1500) -> str:
    """A record as text for the card, its control characters left out."""
    if isinstance(record, Group):
        shot = next((shot for shot in record.shots if shot.pairs or shot.writings), record.shots[0])
        pairs = (f"{pair.question}\n-> {pair.answer}" for pair in shot.pairs)
        text = "\n\n".join([shot.document.text, *pairs, *(f"[{w.form}]\n{w.text}" for w in shot.writings)])
    else:
        text = record.text
    shown = "".join(c for c in text[:most] if c in "\n\t" or c.isprintable())
    return shown + ("\n[...]" if len(text) > most else "")
