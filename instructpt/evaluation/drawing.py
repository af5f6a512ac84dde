"""Which contexts of which sets a synthesizer is measured on, and which examples stand before each.

    sets        fairytales (900 contexts)        abstracts (40)      recipes (3)
    quotas      9                                9                   3              per_set = 9
    spread      0, 100, 200, ... 800             0, 4, 8, ... 35     0, 1, 2        evenly, whatever their order

Evenly spaced places and not the first ones: task data is often sorted. Examples are other contexts of the same set,
drawn, so that what a set asks for can be seen from them and its answer cannot.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.records import Document, Group, Shot
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


@dataclass(frozen=True, kw_only=True)
class Draw(Stage[Group]):
    """An exam: some contexts of each set, evenly spaced, each as the last shot of a group whose others are examples."""

    may_leave_nothing = True

    takes: ClassVar[str] = "contexts"
    makes: ClassVar[str] = "shots"
    is_single = True  # a set may lie in many shards

    contexts: Stage[Group] | Stage[Document]
    """Annotated sets (a set is a source), or raw passages (a set is a domain)."""
    examples: int = 0
    """Contexts of the same set before each; fewer where the set has no more."""
    contexts_per_set: int | None = None
    num_contexts: int | None = None
    """In all, shared equally among the sets."""
    seed: int = 0

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a context, set by set. Reads its input twice and holds only what is drawn."""
        sizes: dict[str, int] = {}
        for name, shot in _contexts(self.contexts, run):
            run.tally.take()
            if name is None:
                run.tally.drop("no_pairs", shot.document.text)
            else:
                sizes[name] = sizes.get(name, 0) + 1
        taken = quotas(sizes, per_set=self.contexts_per_set, total=self.num_contexts)
        drawn = {
            (name, place): examples(place, size=sizes[name], number=self.examples, seed=self.seed, name=name)
            for name in sizes
            for place in spread(sizes[name], number=taken[name])
        }
        run.tally.keep(len(drawn))
        for _ in range(sum(sizes.values()) - len(drawn)):
            run.tally.drop("not_drawn")
        wanted = drawn.keys() | {(name, other) for (name, _), others in drawn.items() for other in others}
        found: dict[tuple[str, int], Shot] = {}
        counts = dict.fromkeys(sizes, 0)
        for name, shot in _contexts(self.contexts, run):
            if name is not None:
                if (name, counts[name]) in wanted:
                    found[name, counts[name]] = shot
                counts[name] += 1
        for (name, place), others in drawn.items():
            run.tally.count(f"set/{name}")
            shots = (*(found[name, other] for other in others), found[name, place])
            yield Group(f"{name}/{place:06d}:{shots[-1].document.id}", shots)


def _contexts(stage: Stage[Any], run: Run) -> Iterator[tuple[str | None, Shot]]:
    """Every context with the name of its set; None for an annotated one without pairs, which asks nothing."""
    for record in run.records(stage):
        if isinstance(record, Document):
            yield domain(record), Shot(record)
        else:
            for shot in record.shots:
                yield shot.document.source if shot.pairs else None, shot
