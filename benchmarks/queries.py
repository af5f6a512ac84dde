"""Real questions matched back to their passages: how often the right one is first, and among ten, beside plain BM25.

    python -m benchmarks.queries tasks/squad_train_part.jsonl.zst tasks/covid_qa.jsonl.zst ...     neutral task data
    instructpt bench queries                                                                       some sets that ship

Both add a line to results.jsonl.

All passages of all sets are one corpus; the questions are drawn evenly from the sets, and come without their passages.
People asked them about one passage, and many fit others as well ("What did the king say?"): nobody finds them all. The
peer is bm25s as it comes: its own way to cut words, its own stop words and settings.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from benchmarks import keep
from instructpt.files import streams
from instructpt.queries.index import Search, build
from instructpt.seeds import rng

NUM_QUESTIONS = 2_000
MOST = 10
SAMPLE = "sample:tasks.jsonl.zst"
SAMPLE_SETS = ("evidence_inference", "fairytaleqa", "quoref")

Find = Callable[[str], list[int]]
"""From a question to the numbers of passages, best first."""
Question = tuple[str, str, int]
"""Its set, what is asked, the number of its passage."""


def measure(paths: Sequence[str] = (), *, num_questions: int = NUM_QUESTIONS) -> dict[str, float | int | str]:
    """Shares of questions whose passage is first and among ten, by contestant and set, and what each takes."""
    passages, questions = drawn(paths, num_questions=num_questions)
    values: dict[str, float | int | str] = {"passages": len(passages), "questions": len(questions)}
    for name, make in {"ours": ours, "bm25s": bm25s_as_it_comes}.items():
        started = time.process_time()
        find = make(passages)
        values[f"{name}: index, CPU seconds"] = time.process_time() - started
        started = time.process_time()
        places = [place_of(right, find(asked)) for _, asked, right in questions]
        values[f"{name}: CPU ms a question"] = 1000 * (time.process_time() - started) / len(questions)
        for part in ("all", *dict.fromkeys(known for known, _, _ in questions)):
            own = [place for place, (known, _, _) in zip(places, questions, strict=True) if part in ("all", known)]
            values[f"{name}: first, {part}"] = sum(place == 0 for place in own) / len(own)
            values[f"{name}: in ten, {part}"] = sum(place < MOST for place in own) / len(own)
    return values


def drawn(paths: Sequence[str], *, num_questions: int) -> tuple[list[str], list[Question]]:
    """The passages of all sets, each once, and so many questions."""
    numbers, asked = dict[str, int](), dict[str, dict[str, int]]()
    for path in paths or [SAMPLE]:
        for line in streams.lines(path):
            row = orjson.loads(line)
            if row["context"] and row["question"] and (paths or row["dataset"] in SAMPLE_SETS):
                number = numbers.setdefault(row["context"], len(numbers))
                asked.setdefault(row["dataset"], {}).setdefault(row["question"], number)
    chosen: list[Question] = []
    for place, (name, own) in enumerate(sorted(asked.items(), key=lambda item: len(item[1]))):
        wanted = (num_questions - len(chosen)) // (len(asked) - place)  # what a small set lacks, larger ones give
        texts = rng(0, "queries", name).sample(sorted(own), min(wanted, len(own)))
        chosen += [(name, text, own[text]) for text in texts]
    return list(numbers), chosen


def place_of(right: int, found: Sequence[int]) -> int:
    """Where the right passage is among those found; `MOST` where it is not."""
    return list(found).index(right) if right in found else MOST


def ours(passages: Sequence[str]) -> Find:
    """As `augment --queries` does it."""
    with tempfile.TemporaryDirectory() as folder:
        build(passages, Path(folder) / "index")
        search = Search([Path(folder) / "index"])
    return lambda question: [hit.row for hit in search.find(question, most=MOST)]


def bm25s_as_it_comes(passages: Sequence[str]) -> Find:
    """The library with its defaults."""
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(passages), show_progress=False), show_progress=False)

    def find(question: str) -> list[int]:
        words = bm25s.tokenize([question], return_ids=False, show_progress=False)
        return [int(row) for row in index.retrieve(words, k=MOST, show_progress=False).documents[0]]

    return find


if __name__ == "__main__":
    measured = measure(sys.argv[1:])
    keep("queries", measured)
    for key, value in measured.items():
        print(f"{key:<44} {value}")
