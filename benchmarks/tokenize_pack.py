"""Texts to packed rows, beside the bare tokenizer and beside datatrove's DocumentTokenizer, in one run.

    python benchmarks/tokenize_pack.py                           the passages that ship with the package
    python benchmarks/tokenize_pack.py corpus.jsonl.zst ...      JSON Lines with a field "text", plain or zstd

Everybody gets the same texts in memory, the same vocabulary of 32k trained on them, and as many threads as there are
cores (RAYON_NUM_THREADS changes it for all). "bare" is one call of `tokenizers` that makes its encodings and keeps
nothing; datatrove writes its token file and index, and is spared its shuffling; ours writes token files and the row
index and opens them. The three take turns. A ratio is above 1 where ours is faster: the median over the rounds, and
the least and largest as its spread.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import zstandard

from instructpt import sample
from instructpt.assembly.rows import Packed, open_rows, pack
from instructpt.assembly.tokenize import tokenize
from instructpt.records import Text
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

SAMPLE = Path(sample.__file__).parent / "passages.jsonl.zst"
VOCABULARY_SIZE = 32_000
CAPACITIES = (512, 2048)


def measure(
    paths: Sequence[Path] = (SAMPLE,), *, limit_bytes: int = 20_000_000, num_rounds: int = 7
) -> dict[str, float | int | str]:
    """Speeds in MB of text a second, ratios, how full rows are, and tokens lost (which must be 0).

    limit_bytes: of text in all, each file giving as much as any other.
    """
    texts = [text for path in paths for text in read(path, limit_bytes=limit_bytes // len(paths))]
    num_bytes = sum(len(text.text.encode()) for text in texts)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        vocabulary.train((text.text for text in texts), size=VOCABULARY_SIZE, folder=folder / "vocabulary")
        words = vocabulary.load(folder / "vocabulary")
        halves = [with_spans(text) for text in texts]
        contestants: dict[str, Callable[[], object]] = {
            "bare": lambda: words.tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False),
            "ours": lambda: ours(texts, words, folder / "ours"),
            "ours_spans": lambda: ours(halves, words, folder / "spans"),
            "datatrove": lambda: datatrove(texts, folder / "vocabulary" / "tokenizer.json", folder / "datatrove"),
        }
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for name in list(contestants) * num_rounds:
            started = time.perf_counter()
            contestants[name]()
            speeds[name].append(num_bytes / 1e6 / (time.perf_counter() - started))
        results: dict[str, float | int | str] = {
            "texts": len(texts),
            "MB": num_bytes / 1e6,
            "vocabulary": words.size,
            "threads": int(os.environ.get("RAYON_NUM_THREADS", 0)) or os.cpu_count() or 1,
            "path": "tiktoken" if words.byte_pairs and words.byte_pairs.is_fast else "tokenizers",
        }
        for name, values in speeds.items():
            results[f"{name} MB/s"] = statistics.median(values)
        for name, peer in (("ours", "bare"), ("ours_spans", "bare"), ("ours", "datatrove")):
            ratios = [a / b for a, b in zip(speeds[name], speeds[peer], strict=True)]
            results[f"{name} / {peer}"] = statistics.median(ratios)
            results[f"{name} / {peer}, spread"] = f"{min(ratios):.2f} ... {max(ratios):.2f}"
        return results | packing(texts, words, folder / "ours")


def packing(texts: Sequence[Text], words: Vocabulary, folder: Path) -> dict[str, float | int | str]:
    """How full rows are and what is lost, by policy and capacity."""
    results: dict[str, float | int | str] = {}
    wanted = sum(len(ids) + 2 for ids in words.encode([text.text for text in texts]))
    lost = 0
    for capacity in CAPACITIES:
        for policy in ("best-fit", "filled", "concat"):
            packed = index(words, folder, capacity=capacity, policy=policy)
            rows = open_rows(folder / "joined")
            placed = sum(int((rows.batch([row]).documents >= 0).sum()) for row in range(len(rows)))
            lost += abs(wanted - placed)
            results[f"fill %, {policy}, L = {capacity}"] = 100 * packed.fill
            results[f"cuts, {policy}, L = {capacity}"] = packed.pieces - packed.documents
    return results | {"tokens": wanted, "tokens lost": lost}


def read(path: Path, *, limit_bytes: int) -> list[Text]:
    """The first texts of a file of JSON Lines."""
    texts: list[Text] = []
    opened = zstandard.open(path, "rb") if path.suffix == ".zst" else path.open("rb")
    with opened as file:
        for line in io.BufferedReader(file):
            row = orjson.loads(line)
            texts.append(Text(str(row.get("id", len(texts))), row["text"], path.name, "raw"))
            limit_bytes -= len(row["text"].encode())
            if limit_bytes <= 0:
                break
    return texts


def with_spans(text: Text) -> Text:
    """The same text with loss on its second half alone, and a break before that, as task data has."""
    middle, end = len(text.text) // 2, len(text.text)
    return Text(text.id, text.text, text.source, "task", ((middle, end),), (middle,))


def ours(texts: Sequence[Text], words: Vocabulary, folder: Path) -> int:
    """Texts to rows that can be trained on; how many."""
    tokenize(texts, vocabulary=words, folder=folder / "00000")
    index(words, folder, capacity=2048, policy="best-fit")
    return len(open_rows(folder / "joined"))


def index(words: Vocabulary, folder: Path, *, capacity: int, policy: str) -> Packed:
    """Pack the one shard in `folder`."""
    fingerprint, joined = words.fingerprint, folder / "joined"
    return pack([folder / "00000"], capacity=capacity, policy=policy, folder=joined, vocabulary_fingerprint=fingerprint)


def datatrove(texts: Sequence[Text], tokenizer: Path, folder: Path) -> None:
    """The same texts through datatrove's pipeline step, with its own defaults but for the shuffling."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.utils.logging import logger

    logger.remove()
    step = DocumentTokenizer(str(folder), str(tokenizer), eos_token="</s>", shuffle_documents=False)
    step.run(Document(text.text, text.id) for text in texts)


def main(paths: Sequence[str]) -> None:
    """Print what was measured, a line a number."""
    for key, value in measure([Path(path) for path in paths] or [SAMPLE]).items():
        print(f"{key:34} {value:,.4g}" if isinstance(value, float) else f"{key:34} {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
