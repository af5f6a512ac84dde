"""A corpus of short reports in several shards, for runs that are disturbed: made in a moment, its passages numbered.

    Report 17 of the river bridge county ... In 1827 the mill stone archive ...

A report is a passage, a file is a shard, and the server's answers are drawn from a file. What a run made of them is
read back by `contents` and `passages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from instructpt.artifacts import Stage
from instructpt.corpus.stages import Read
from instructpt.recipes.augment import augment
from instructpt.seeds import rng
from instructpt.templates.stages import Template
from instructpt.words import vocabulary

APART = (".inputs", "timing", "status.json", "spending.json", "report.html", ".lock", ".claim")
"""How files begin that tell of the run, not of its result."""
_WORDS = """
river bridge county engineer valley railway pillar wooden timber winter harbour repair measure village mill stone
archive letter council bishop orchard copper market tunnel meadow lantern ferry quarry garden workshop
"""
MAX_NEW_TOKENS = 120


def sharded(
    *, files: tuple[str, ...], model: str, shard_bytes: int = 1 << 16, shots: int = 2, passage_tokens: int = 400
) -> Template:
    """`augment` in small shards, so that a small corpus has some of them.

    Args:
        files: As of augment.
        model: As of augment.
        shard_bytes: Text a shard.
        shots: As of augment.
        passage_tokens: As of augment.
    """
    recipe = augment(
        files,
        model=model,
        dialect="tags",
        shots=shots,
        passage_tokens=passage_tokens,
        window_tokens=2048,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    resized: Template = _resized(recipe, shard_bytes)
    return resized


def _resized(stage: Any, shard_bytes: int) -> Any:
    """The tree with another size of shards at its root."""
    if isinstance(stage, Read):
        return replace(stage, shard_bytes=shard_bytes)
    values = {f.name: getattr(stage, f.name) for f in fields(stage)}
    return replace(stage, **{k: _resized(v, shard_bytes) for k, v in values.items() if isinstance(v, Stage)})


@dataclass(frozen=True, slots=True)
class Corpus:
    """Files of short texts, each its own passage and each one shard, and a model for them that has no weights."""

    files: tuple[Path, ...]
    shard_bytes: int
    num_passages: int
    model: Path
    answers: Path
    """What the server says."""


def write_corpus(folder: Path, *, num_passages: int, num_files: int, seed: int = 0) -> Corpus:
    """Texts that say their number: "Report 17 of ..."."""
    stream, words = rng(seed, "storm", "corpus"), _WORDS.split()
    paths: list[Path] = []
    written: list[str] = []
    for index in range(num_files):
        lines = []
        for number in range(num_passages * index // num_files, num_passages * (index + 1) // num_files):
            first, second = stream.choices(words, k=12), stream.choices(words, k=12)
            written.append(f"Report {number} of the {' '.join(first)}. In 18{number % 90 + 10} the {' '.join(second)}.")
            lines.append(orjson.dumps({"id": f"report-{number}", "text": written[-1]}) + b"\n")
        paths.append(folder / f"reports-{index:03d}.jsonl")
        paths[-1].write_bytes(b"".join(lines))
    model, answers = folder / "model", folder / "answers.jsonl"
    vocabulary.train(written[:500], size=1000, folder=model)
    said = [_answer(stream.sample(words, 6)) for _ in range(256)]
    answers.write_bytes(b"".join(orjson.dumps(answer) + b"\n" for answer in said))
    return Corpus(tuple(paths), max(path.stat().st_size for path in paths), num_passages, model, answers)


def _answer(words: Sequence[str]) -> str:
    return (
        f"<QUE> What stands by the {words[0]}? <ANS> The {words[1]} and the {words[2]}. </END>\n\n"
        f"<QUE> Who built the {words[3]}? <ANS> The {words[4]} of the {words[5]}. </END>"
    )


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a result."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(APART)
    }


def passages(out: Path) -> list[str]:
    """The texts of all passages that came out of synthesis, in order."""
    return [text for path in sorted((out / "groups").glob("*.parquet")) for text in texts(path)]


def texts(path: Path) -> Iterator[str]:
    """The texts of the passages in one shard of groups."""
    for row in pq.read_table(path).to_pylist():
        yield from (shot["document"]["text"] for shot in row["shots"])
