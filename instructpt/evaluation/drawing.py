"""Which contexts of which sets a synthesizer is measured on, and which examples stand before each.

    sets        fairytales (900 contexts)        abstracts (40)      recipes (3)
    quotas      9                                9                   3              per_set = 9
    spread      0, 100, 200, ... 800             0, 4, 8, ... 35     0, 1, 2        evenly, whatever their order

Evenly spaced places and not the first ones: task data is often sorted. Examples are other contexts of the same set,
drawn, so that what a set asks for can be seen from them and its answer cannot.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from instructpt.records import Document
from instructpt.seeds import rng


def domain(document: Document) -> str:
    """The set that a document of a raw corpus belongs to: its meta's "domain", or its file's name up to the first dot.

    "corpora/legal.jsonl.zst" -> "legal".
    """
    return str(document.meta.get("domain") or posixpath.basename(document.source.rstrip("/")).partition(".")[0])


def quotas(sizes: Mapping[str, int], *, per_set: int | None, total: int | None) -> dict[str, int]:
    """How many contexts of each set are taken: at most `per_set` of each, at most `total` in all.

    The total is shared equally; what a small set leaves goes to the larger ones. None sets no bound.
    """
    capped = {name: size if per_set is None else min(size, per_set) for name, size in sizes.items()}
    if total is None:
        return capped
    taken: dict[str, int] = {}
    left = total
    for place, (name, size) in enumerate(sorted(capped.items(), key=lambda item: (item[1], item[0]))):
        taken[name] = min(size, left // (len(capped) - place))
        left -= taken[name]
    return {name: taken[name] for name in sizes}


def spread(size: int, *, number: int) -> list[int]:
    """`number` places of range(size), evenly spaced from 0; all of them if there are no more."""
    return [place * size // number for place in range(number)] if number < size else list(range(size))


def examples(place: int, *, size: int, number: int, seed: int, name: str) -> tuple[int, ...]:
    """Up to `number` places of the set `name` besides `place` itself, drawn without repetition."""
    others = rng(seed, "examples", name, place).sample(range(size - 1), min(number, size - 1))
    return tuple(other + (other >= place) for other in others)
