"""The card of a corpus that is passed on: README.md with the header that the Hub reads, written from the artifacts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from instructpt import __version__
from instructpt.records import Document, Group, Text
from instructpt.report.artifacts import Artifact
from instructpt.report.card import markdown_table

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
_COLUMNS = {
    "Text": (
        ("id", "of the group or document that it was made from"),
        ("text", "what a model is trained on"),
        ("source", "the file or data set, as it was named when it was read"),
        ("kind", "raw, augmented, task or instruction"),
        ("spans", "character ranges that carry loss; null: all of the text"),
        ("breaks", "characters at which one sequence ends and the next begins"),
        ("layout", "the template's way to lay out passages and pairs; empty for raw text"),
    ),
    "Group": (
        ("id", "of the chain of passages"),
        ("shots", "passages in order with their pairs (question, answer, options, rationale, category) and rejects"),
    ),
    "Document": (
        ("id", "the row's own, or made from file and place"),
        ("text", "raw text"),
        ("source", "the file or data set, as it was named when it was read"),
        ("meta", "the row's other fields, as JSON"),
    ),
}  # fmt: skip


def render(road: Sequence[Artifact], *, record: str, num_records: int, characters: int, sample: str) -> str:
    """The card of the last artifact of a road (`artifacts.road`).

    record: "Text", "Group" or "Document". characters: of its texts. sample: one record for people to read.
    """
    last = road[-1]
    licences = _licences(road)
    parts = (
        _header(licences, num_records),
        f"# {last.name}\n\n{_opening(road, record)}",
        _contents(last, record, num_records, characters),
        f"## A record\n\n{_fenced(sample)}",
        _columns(record),
        _making(road),
        _sources(road, licences),
        "## Limits\n\n- Pairs can be wrong: rules or a model wrote them. What was checked and left out stands above.\n"
        "- Mistakes and prejudices of the sources are in here too.",
        f"Made with instructpt {__version__}.",
    )
    return "\n\n".join(parts) + "\n"


def hub_licence(names: Sequence[str]) -> str:
    """The one licence that these names spell, as the Hub spells it; "other" for several, or one it does not know."""
    spelled = {re.sub(r"[\s_]+", "-", name.strip().casefold()) for name in names}
    (one,) = spelled if len(spelled) == 1 else ("",)
    return one if _HUB_LICENCES.fullmatch(one) else "other"


def _header(licences: Mapping[str, int], num_records: int) -> str:
    size = next((name for most, name in _SIZES if num_records < most), "n>100M")
    lines = [
        "---",
        f"license: {hub_licence(list(licences))}",
        "task_categories:",
        "- text-generation",
        "tags:",
        "- instruction-pre-training",
        "- synthetic-data",
        "- instructpt",
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/train-*.parquet",
        "---",
    ]
    return "\n".join(lines)


def _opening(road: Sequence[Artifact], record: str) -> str:
    models = [
        str(a.settings["model"]) for a in road if a.stage == "Synthesize" and isinstance(a.settings["model"], str)
    ]
    writer = f"by the model {', '.join(map(_public, models))}" if models else "by a model of the same run"
    if any(a.stage == "Synthesize" for a in road):
        made = f"Passages of raw text with instruction-response pairs that were written {writer}"
    elif any(a.stage == "Mine" for a in road):
        made = "Passages of raw text with instruction-response pairs that rules mined from them"
    else:
        made = "Raw text"
    purpose = {"Text": ", laid out as text to pre-train on", "Group": ", to be laid out or checked further"}
    return (
        f"{made}{purpose.get(record, '')} (method: [Instruction Pre-Training](https://arxiv.org/abs/2406.14491)).\n\n"
        '```python\nfrom datasets import load_dataset\n\nrows = load_dataset("THIS_FOLDER", split="train")\n```'
    )


def _contents(last: Artifact, record: str, num_records: int, characters: int) -> str:
    rows = [(f"{record.lower()}s", f"{num_records:,}"), ("characters", f"{characters:,}")]
    rows += [(name.replace("_", " "), f"{count:,}") for name, count in last.tally.counts.items() if "/" not in name]
    text = "## Contents\n\n" + markdown_table(("", ""), rows, right=(1,))
    for prefix, title in (("mode", "layout"), ("category", "category"), ("pairs_per_passage", "pairs a passage")):
        counts = last.named_counts(prefix)
        if counts:
            total = sum(counts.values())
            shares = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in counts.items()]
            text += "\n\n" + markdown_table((title, "number", "share"), shares, right=(1, 2))
    return text


def _columns(record: str) -> str:
    return "## Columns\n\n" + markdown_table(("column", "holds"), _COLUMNS[record])


def _making(road: Sequence[Artifact]) -> str:
    """A row a stage: what went in, what came out, what was left out and why, and its settings."""
    rows = []
    for artifact in road:
        tally = artifact.tally
        reasons = [f"{reason} {count:,}" for reason, count in sorted(tally.dropped.items(), key=lambda item: -item[1])]
        reasons += [f"{reason} {count:,} (pieces)" for reason, count in artifact.named_counts("rejects").items()]
        settings = [f"{name} {_public(value)}" for name, value in artifact.settings.items() if _is_telling(value)]
        taken = f"{tally.taken:,} {artifact.takes}" if tally.taken else ""
        rows.append((artifact.name, artifact.stage, taken, ", ".join(reasons), ", ".join(settings)))
    head = ("artifact", "stage", "took", "left out", "settings")
    return "## How it was made\n\n" + markdown_table(head, rows, right=(2,))


def _sources(road: Sequence[Artifact], licences: Mapping[str, int]) -> str:
    files = [_public(name) for a in road if a.stage == "Read" for name in a.settings["files"]]
    rows = [(name, f"{count:,}") for name, count in licences.items()]
    read = f"Read from {', '.join(files)}.\n\n" if files else ""
    return f"## Sources and licences\n\n{read}" + markdown_table(
        ("licence, as the rows name it", "documents"), rows, right=(1,)
    )


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


def _fenced(text: str) -> str:
    """A block that holds any text: its fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def sample_of(record: Text | Group | Document, *, most: int = 1500) -> str:
    """A record as text for the card, its control characters left out."""
    if isinstance(record, Group):
        shot = next((shot for shot in record.shots if shot.pairs), record.shots[0])
        text = "\n\n".join([shot.document.text, *(f"{p.question}\n-> {p.answer}" for p in shot.pairs)])
    else:
        text = record.text
    shown = "".join(c for c in text[:most] if c in "\n\t" or c.isprintable())
    return shown + ("\n[...]" if len(text) > most else "")
