"""Make the sample data that ship in `instructpt/sample/`, again byte for byte, from the full data folder.

    python scripts/make_sample.py DATA [--out instructpt/sample]

DATA holds `corpora/*.jsonl.zst`, `tasks/*.jsonl.zst`, `eval/*.jsonl` and `closed_book/*.jsonl`; DATA.md says where they
come from.

    eval/         --draw--> sample/eval/            first, since the rest must not overlap what is scored
    corpora/      --draw--> sample/held_out         no 13 words in a row with an eval item, no coarse language
                  --draw--> sample/passages         the same, and from other articles and books than held_out
    tasks/        --draw--> sample/tasks            short contexts, no test parts, no overlap with eval or held_out
    closed_book/  --draw--> sample/exam_*           the shortest passage of each article, and questions about it

Every draw is a named stream of one seed. The bytes also depend on the zstandard version (written with 0.25).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
import zstandard

from instructpt.seeds import digest, rng

SEED = 20_261_122
OVERLAP_WORDS = 13
"""Words in a row that count as overlap; the usual number since GPT-3."""

CORPORA = {
    "biomedical_medquad": {"passages": 150, "held_out": 10},
    "biomedical_pmc_trials": {"passages": 220, "held_out": 15},
    "finance_earnings_calls": {"passages": 270, "held_out": 25},
    "general_books": {"passages": 140, "held_out": 15},
    "general_wikipedia": {"passages": 130, "held_out": 10},
    "legal_dc_law": {"passages": 420, "held_out": 25},
}
"""Documents of each corpus, so that the four domains are about equal in characters."""
PASSAGE_CHARACTERS = (600, 4000)
MAX_FROM_ONE_PARENT = {"passages": 4, "held_out": 1}
"""Documents of one article, call or book: enough for chains of one source, few enough for breadth."""

TASKS = {
    "abstract_roles": (80, 5),
    "anem": (120, 1),
    "biocreative_genes": (120, 1),
    "comparative_sentences": (120, 1),
    "copa": (150, 1),
    "dbpedia14": (150, 1),
    "dc_code_heading": (150, 1),
    "e2e_nlg": (120, 1),
    "e2e_slot_filling": (150, 1),
    "evidence_inference": (140, 3),
    "evidence_span": (140, 3),
    "fairytaleqa": (420, 5),
    "gsm8k_train": (500, 1),
    "jnlpba": (120, 1),
    "medquad_question_from_text": (120, 1),
    "medquad_question_type": (150, 1),
    "mnli": (150, 1),
    "personachat": (100, 1),
    "product_reviews": (130, 5),
    "pros_cons": (150, 1),
    "quoref": (100, 4),
    "scitldr": (130, 1),
    "scitldr_title": (130, 1),
    "sentence_polarity": (150, 1),
    "strategyqa": (450, 1),
    "subjectivity": (150, 1),
    "trial_pico": (140, 3),
    "wikigold": (150, 1),
    "wikitablequestions": (220, 5),
}
"""Task set -> (contexts, pairs of a context at most). BIG-bench, BBQ and exam sets are left out although their licences
would allow them: their authors ask that they stay out of training data."""
CONTEXT_CHARACTERS = (20, 1500)
TEST_PARTS = ("test", "val", "dev", "pristine-seen-tables")
SHARED_DRAWS = {"scitldr_title": "scitldr", "evidence_span": "evidence_inference", "trial_pico": "evidence_inference"}
"""Sets over the same texts draw the same ones, so that their pairs meet in one shot."""
NO_TRAINING_PART = ("e2e_nlg", "e2e_slot_filling")
"""Sets of which only development and test parts are at hand; the development part is taken."""

EVAL = {
    "arc_challenge": 150,
    "arc_easy": 300,
    "boolq": 250,
    "medqa": 120,
    "mmlu_dev": 285,
    "mmlu_test": 228,
    "piqa": 250,
    "pubmedqa": 80,
    "winogrande": 250,
}
"""Benchmark file -> items. mmlu_test takes as many of each of its 57 subjects; mmlu_dev (5 a subject) is whole."""

EXAM_PASSAGES = 40
EXAM_CHARACTERS = (300, 1000)
EXAM_QUESTIONS = 4
"""Of a passage: the first of those that people asked."""

_WORD = re.compile(r"\w+")
_COARSE = re.compile(
    r"\b(fuck\w*|shit\w*|bitch\w*|cunt\w*|nigg\w+|negro\w*|darky|darkies|whore\w*|slut\w*|faggot\w*|bastard\w*|rape[ds]?|"
    r"raping|savages?|half-breed\w*|jew(ess|s)?|gyps(y|ies)|squaw\w*|chinam[ae]n|coolies?|mulatto\w*|heathens?|porn\w*|"
    r"suicid\w+|slaves?|lynch\w*|crap\w*|damn\w*|piss\w*|asshole\w*|dick|sexy?)\b",
    re.IGNORECASE,
)
"""Texts with one of these are left out, of all sources: a sample that many will read can do without them."""


def main() -> None:
    """Write every file of the sample and say how large it became."""
    parser = argparse.ArgumentParser(description="Make instructpt/sample from the full data folder.")
    parser.add_argument("data", type=Path, help="folder with corpora/, tasks/, eval/ and closed_book/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "instructpt" / "sample")
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    (out / "eval").mkdir(parents=True, exist_ok=True)

    scored: set[bytes] = set()
    for name, count in EVAL.items():
        rows = list(read(data / "eval" / f"{name}.jsonl"))
        write(out / "eval" / f"{name}.jsonl.zst", draw_items(rows, name=name, count=count))
        for row in rows:  # all of them: the whole benchmarks can be scored too
            scored |= shingles(" ".join(strings(row)))
    held_out = draw_documents(data / "corpora", "held_out", scored, taken_parents=set())
    write(out / "held_out.jsonl.zst", held_out)
    for row in held_out:
        scored |= shingles(row["text"])
    parents = {parent(row["id"]) for row in held_out}
    write(out / "passages.jsonl.zst", draw_documents(data / "corpora", "passages", scored, taken_parents=parents))
    write(out / "tasks.jsonl.zst", draw_tasks(data / "tasks", scored))
    exam = draw_exam(list(read(data / "closed_book" / "passages.jsonl")))
    write(out / "exam_passages.jsonl.zst", exam)
    questions = list(read(data / "closed_book" / "questions.jsonl"))
    write(out / "exam_questions.jsonl.zst", draw_questions(questions, {row["id"] for row in exam}))


def draw_items(rows: list[dict[str, Any]], *, name: str, count: int) -> Iterator[dict[str, Any]]:
    """`count` of the rows in their order, the same number of each subject where there are subjects."""
    subjects: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        subjects.setdefault(row.get("subject", ""), []).append(i)
    chosen: list[int] = []
    for subject, places in subjects.items():
        chosen += rng(SEED, "eval", name, subject).sample(places, min(len(places), count // len(subjects)))
    for i in sorted(chosen):
        yield rows[i]


def draw_documents(
    folder: Path, kind: Literal["passages", "held_out"], scored: set[bytes], *, taken_parents: set[str]
) -> list[dict[str, Any]]:
    """Documents of all corpora, none of an article, call or book in `taken_parents`."""
    chosen: list[dict[str, Any]] = []
    most = MAX_FROM_ONE_PARENT[kind]
    for corpus, counts in CORPORA.items():
        parents: dict[str, list[dict[str, Any]]] = {}
        for row in read(folder / f"{corpus}.jsonl.zst"):
            if PASSAGE_CHARACTERS[0] <= len(row["text"]) <= PASSAGE_CHARACTERS[1] and is_prose(row["text"]):
                parents.setdefault(parent(row["id"]), []).append(row)
        names = sorted(set(parents) - taken_parents)
        rng(SEED, kind, corpus).shuffle(names)
        rows = (row for name in names for row in islice(filter(partial(clean, scored=scored), parents[name]), most))
        chosen += islice(rows, counts[kind])
    rng(SEED, kind, "order").shuffle(chosen)  # so that the first rows are a sample of all corpora
    return chosen


def draw_tasks(folder: Path, scored: set[bytes]) -> Iterator[dict[str, Any]]:
    """Rows of every set of TASKS, whole contexts up to the number of pairs, in the order of the sets and their rows."""
    for name, (num_contexts, num_pairs) in TASKS.items():
        stream = SHARED_DRAWS.get(name, name)
        contexts: dict[str, list[dict[str, Any]]] = {}
        for row in read(folder / f"{name}.jsonl.zst"):
            if usable(row, name):
                contexts.setdefault(row["context"] or row["question"], []).append(row)
        # By the digest of the text and not by a shuffle, so that sets over the same texts choose the same ones.
        order = sorted(contexts, key=lambda context: digest(SEED, "tasks", stream, context))
        chosen = (context for context in order if all(clean(row, scored=scored) for row in contexts[context]))
        for context in islice(chosen, num_contexts):
            yield from contexts[context][:num_pairs]


def draw_exam(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The shortest passage of each article that is long enough, the shortest ones first to be taken, then mixed."""
    low, high = EXAM_CHARACTERS
    articles: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: len(row["text"])):
        if low <= len(row["text"]) <= high and clean(row, scored=set()):
            articles.setdefault(row["title"], row)
    chosen = list(articles.values())[:EXAM_PASSAGES]
    rng(SEED, "exam", "order").shuffle(chosen)
    return chosen


def draw_questions(rows: Iterable[dict[str, Any]], passages: set[str]) -> Iterator[dict[str, Any]]:
    """The first questions on each of the passages."""
    asked: dict[str, int] = {}
    for row in rows:
        name = row["passage_id"]
        if name in passages and asked.get(name, 0) < EXAM_QUESTIONS:
            asked[name] = asked.get(name, 0) + 1
            yield row


def clean(row: Mapping[str, Any], *, scored: set[bytes]) -> bool:
    """Whether no text of the row is coarse or shares OVERLAP_WORDS words in a row with what is scored."""
    return not any(_COARSE.search(text) or not scored.isdisjoint(shingles(text)) for text in strings(row))


def usable(row: Mapping[str, Any], name: str) -> bool:
    """Whether a task row is short enough and from no test part."""
    split = row["meta"].get("split", "train")
    parts = TEST_PARTS if name not in NO_TRAINING_PART else tuple(part for part in TEST_PARTS if part != "dev")
    length = len(row["context"] or row["question"])
    return split not in parts and CONTEXT_CHARACTERS[0] <= length <= CONTEXT_CHARACTERS[1] and bool(row["answer"])


def parent(name: str) -> str:
    """The article, call or book that a document is a piece of."""
    return name.rpartition("#")[0]


def is_prose(text: str) -> bool:
    """Whether most of the text is letters; tables of figures and lists of codes teach a small model little."""
    return sum(character.isalpha() or character == " " for character in text) >= 0.9 * len(text)


def strings(value: object) -> Iterator[str]:
    """All texts inside a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def shingles(text: str) -> set[bytes]:
    """All runs of OVERLAP_WORDS words, without case and punctuation."""
    words = _WORD.findall(text.casefold())
    return {" ".join(words[i : i + OVERLAP_WORDS]).encode() for i in range(len(words) - OVERLAP_WORDS + 1)}


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, packed or not."""
    opener: Callable[..., Any] = zstandard.open if path.suffix == ".zst" else open
    with opener(path, "rb") as file:
        for line in file.read().split(b"\n"):
            if line:
                yield orjson.loads(line)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as packed JSON lines; one frame with its size, no clock and no name in it."""
    lines = [orjson.dumps(row) + b"\n" for row in rows]
    data = b"".join(lines)
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(data))
    sys.stdout.write(
        f"{path.name}: {len(lines):,} rows, {len(data) / 1e6:.2f} MB, {path.stat().st_size / 1e6:.2f} MB packed\n"
    )


if __name__ == "__main__":
    main()
