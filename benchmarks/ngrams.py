"""Test items looked for in text: MB a second on one core and on two, beside plain Python on one, in the same run.

    python benchmarks/ngrams.py                           the passages that ship with the package, over and over
    python benchmarks/ngrams.py corpus.jsonl.zst ...      JSON Lines with a field "text", plain or zstd

The index holds 50,000 items of 40 words, drawn from the words of the texts so that none stands there, and one that
does: it is planted once in 100 MB of the texts. The peer does what most scripts do: a set of tuples of 13 words, and
every run of 13 words of a text asked for. The contestants take turns. A ratio is above 1 where ours is faster: the
median over the rounds, and the least and largest as its spread.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.tokenize_pack import SAMPLE, read
from instructpt.seeds import rng
from instructpt.words.ngrams import Index, index
from instructpt.words.overlap import CONTAMINATION_GRAM

NUM_ITEMS = 50_000
ITEM_WORDS = 40
NUM_PORTIONS = 32
PLANTED = (
    "In the year 1921 the western pillar of the railway bridge sank by four centimetres overnight, and for a month "
    "every train between the two halves of the county was stopped, until the county had paid for the repair."
)
_WORDS = re.compile(r"\w+")

_INDEX: list[Index] = []
"""Of a worker process."""


def measure(
    paths: Sequence[Path] = (SAMPLE,), *, num_mb: int = 100, peer_mb: int = 10, num_rounds: int = 5
) -> dict[str, float | int | str]:
    """Speeds in MB of text a second, their ratio, and what was found: the planted item once, and nothing else."""
    texts = [text.text for path in paths for text in read(path, limit_bytes=num_mb * 1_000_000 // len(paths))]
    items = [*drawn_items(texts), PLANTED]
    started = time.perf_counter()
    looked_for = index(items)
    results: dict[str, float | int | str] = {"items": len(items), "index seconds": time.perf_counter() - started}
    corpus = repeated(texts, num_bytes=num_mb * 1_000_000)
    small = repeated(texts, num_bytes=peer_mb * 1_000_000)
    corpus.insert(len(corpus) // 2, f"{small[0][:200]} {PLANTED} {small[-1][:200]}")
    sizes = {"one core": megabytes(corpus), "two cores": megabytes(corpus), "plain Python": megabytes(small)}
    wanted = plain_index(items)
    speeds: dict[str, list[float]] = {name: [] for name in sizes}
    num_found: set[tuple[int, int]] = set()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=become_worker, initargs=(looked_for,)) as pool:
        list(pool.map(found_in_worker, [small, small]))  # both are there
        for name in list(speeds) * num_rounds:
            started = time.perf_counter()
            if name == "one core":
                found = len(looked_for.search(corpus))
            elif name == "two cores":
                found = sum(pool.map(found_in_worker, portions(corpus)))
            else:
                found = plain_search(small, wanted)
            speeds[name].append(sizes[name] / (time.perf_counter() - started))
            num_found.add((name != "plain Python", found))
    assert num_found == {(True, 1), (False, 0)}, f"the planted item once, and nothing else: {num_found}"
    results |= {"MB": sizes["one core"], "found": 1, "found by mistake": 0}
    for name, values in speeds.items():
        results[f"{name} MB/s"] = statistics.median(values)
        results[f"{name} MB/s, spread"] = f"{min(values):.1f} ... {max(values):.1f}"
    ratios = [a / b for a, b in zip(speeds["one core"], speeds["plain Python"], strict=True)]
    results["one core / plain Python"] = statistics.median(ratios)
    results["one core / plain Python, spread"] = f"{min(ratios):.2f} ... {max(ratios):.2f}"
    return results


def drawn_items(texts: Sequence[str]) -> list[str]:
    """Texts of drawn words, as frequent as they are in the texts."""
    words = [word for text in texts[:2000] for word in text.split() if word.isalpha()]
    draw = rng(1, "benchmark", "ngrams")
    return [" ".join(draw.choices(words, k=ITEM_WORDS)) for _ in range(NUM_ITEMS)]


def repeated(texts: Sequence[str], *, num_bytes: int) -> list[str]:
    """The texts, over and over, as far as `num_bytes` go."""
    found = []
    for text in itertools.cycle(texts):
        found.append(text)
        num_bytes -= len(text.encode())
        if num_bytes <= 0:
            break
    return found


def megabytes(texts: Sequence[str]) -> float:
    """Of UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def portions(texts: Sequence[str]) -> list[Sequence[str]]:
    """All of the texts, in portions that go to the workers one by one."""
    size = -(-len(texts) // NUM_PORTIONS)
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def become_worker(made: Index) -> None:
    """Keep the index for all that is searched later."""
    _INDEX.append(made)


def found_in_worker(texts: Sequence[str]) -> int:
    """How many items a worker finds; its texts come to it by a pipe, as records come from a disk."""
    return len(_INDEX[0].search(texts))


def plain_index(items: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Every run of words of every item."""
    return frozenset(run for item in items for run in plain_runs(item))


def plain_runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of words of a text."""
    words = _WORDS.findall(text.lower())
    return zip(*(words[place:] for place in range(CONTAMINATION_GRAM)), strict=False)


def plain_search(texts: Sequence[str], wanted: frozenset[tuple[str, ...]]) -> int:
    """How many texts hold a run of words of an item."""
    return sum(any(run in wanted for run in plain_runs(text)) for text in texts)


def main(paths: Sequence[str]) -> None:
    """Print what was measured, a line a number."""
    for key, value in measure([Path(path) for path in paths] or [SAMPLE]).items():
        print(f"{key:34} {value:,.4g}" if isinstance(value, float) else f"{key:34} {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
