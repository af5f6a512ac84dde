"""What `instructpt plan` says of a run, beside what the run then takes: requests, tokens, what is kept, seconds.

    python -m benchmarks.plan corpora/books.jsonl.zst corpora/law.jsonl.zst ...     about 1,000 passages
    instructpt bench plan                                                           of the sample that ships

Both add a line to results.jsonl.

Three forms are written by the scripted server, which answers eight requests at a time and takes as long for each: so
it is the server that the time hangs on, not this machine. A ratio above 1 says that the plan told too much.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks import keep
from benchmarks.scripted_server import started_server
from instructpt.artifacts import Run, Table
from instructpt.artifacts.budget import Budget, spent_in
from instructpt.artifacts.storage import Folder
from instructpt.engines.models import SHIPPED
from instructpt.executors.make import make
from instructpt.files import streams
from instructpt.recipes.augment import augment
from instructpt.report.estimate import Wishes, estimates

SAMPLE = "sample:passages.jsonl.zst"
FORMS = "pairs=1,facts=1,paraphrase=1"
NUM_PASSAGES = 1_000
PASSAGE_CHARACTERS = 1_900
"""Of a passage of 512 tokens, about."""
DOCUMENT_CHARACTERS = 8_000
SAMPLES = (20, 50)
DELAY_MS, MAX_RUNNING = 1_500, 8
COUNTS = ("requests", "prompt_tokens", "output_tokens")


def measure(paths: Sequence[str] = ()) -> dict[str, float | int | str]:
    """For each size of a sample what was told, as a multiple of what was then taken."""
    with tempfile.TemporaryDirectory() as folder, started_server(SHIPPED, **_server()) as server:
        corpus = Path(folder) / "corpus.jsonl"
        write_corpus(corpus, paths or [SAMPLE])
        run = Run(
            root=f"{folder}/run",
            workers=1,
            engine="http",
            engine_options={"endpoints": (server.url,)},
            budget=Budget(price_per_hour=3600.0),  # so that costs are seconds
        )
        target = augment((str(corpus),), model="remote:scripted", forms=FORMS, window_tokens=8192)
        tables = {number: next(estimates(target, run, Wishes(sample=number))) for number in SAMPLES}
        make(target, run)
        groups, texts = (
            orjson.loads(Path(run.root, name, "manifest.json").read_bytes()) for name in ("groups", "texts")
        )
        taken: dict[str, Any] = {name: groups["tally"]["counts"][name] for name in COUNTS}
        taken |= {"texts": texts["tally"]["made"], "seconds": spent_in(Folder.at(run.root)).hours * 3600}
        values: dict[str, float | int | str] = {"passages": groups["tally"]["made"], **taken}
        for number, table in tables.items():
            print("\n".join("  ".join(row) for row in (table.columns, *table.rows)), *table.notes, sep="\n")
            for name, told in _told(table).items():
                values[f"{name} told of {number} passages: ratio"] = told / taken[name]
    return values


def write_corpus(path: Path, files: Sequence[str]) -> None:
    """Documents of several files in turn, cut short, with about as many characters of each."""
    room, rows = NUM_PASSAGES * PASSAGE_CHARACTERS // len(files), list[tuple[int, bytes]]()
    for file in files:
        left = room
        for place, line in enumerate(streams.lines(file)):
            text = orjson.loads(line)["text"][: min(left, DOCUMENT_CHARACTERS)]
            rows.append((place, orjson.dumps({"id": f"{Path(file).name}-{place}", "text": text})))
            left -= len(text)
            if left <= 0:
                break
    path.write_bytes(b"".join(row + b"\n" for _, row in sorted(rows, key=lambda item: item[0])))


def _server() -> dict[str, Any]:
    return {"served_model": "scripted", "delay_ms": DELAY_MS, "max_running": MAX_RUNNING}


def _told(table: Table) -> dict[str, float]:
    rows = {label: cells for label, *cells in table.rows}
    numbers = [float(cell.strip("~").split()[0].replace(",", "")) for cell in rows["groups"][:3]]
    texts, seconds = rows["texts"][3].strip("~").split()[0], rows["groups"][-1]
    found = {"texts": texts, "seconds": seconds}
    return dict(zip(COUNTS, numbers, strict=True)) | {
        name: float(told.replace(",", "")) for name, told in found.items()
    }


if __name__ == "__main__":
    keep("plan", found := measure(sys.argv[1:]))
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
