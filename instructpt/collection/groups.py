"""Shots to groups: the examples that a synthesizer is tuned on, several shots of one source each.

    shots of source A   a1 a2 a3 a4 a5     of A+B   c1 c2
    groups of two       ( a4 a1 )  ( a3 a5 )  ( a2 )  ( c2 c1 )
    filled groups       ( a4 a1 a3 )  ( a5 a2 )  ( c2 c1 )         as many as fit so many tokens

Shots of one source come from the same sets and thus share formats, as in the paper's tuning sequences (section 1),
which are filled up to the model's length. A text that is there twice (see `balance`) is never twice in one group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from instructpt.records import Group, Shot
from instructpt.seeds import rng


def group_shots(
    shots: Iterable[Shot],
    *,
    seed: int,
    num_shots: int | None = None,
    capacity: int | None = None,
    costs: Callable[[Sequence[Shot]], Sequence[int]] | None = None,
) -> Iterator[Group]:
    """Groups of at most `num_shots` shots that cost at most `capacity` together, in random order.

    costs: of each shot in the unit of `capacity`. A shot that costs more than that is a group by itself. None for
    either limit: the other alone holds. Every shot lands in exactly one group; the last group of a source may be small.
    """
    assert num_shots is None or num_shots >= 1
    assert (capacity is None) == (costs is None)
    assert num_shots is not None or capacity is not None
    groups: list[Group] = []
    for source, rounds in _by_source(shots).items():
        number = 0
        for copy, members in rounds.items():
            rng(seed, "group_shots", source, copy).shuffle(members)
            sizes = costs(members) if costs else [0] * len(members)
            for chain in _chains(members, sizes, num_shots, capacity):
                follows = (replace(shot, follows=place) for place, shot in enumerate(chain))
                groups.append(Group(f"{source}:{number}", tuple(follows)))
                number += 1
    rng(seed, "group_order").shuffle(groups)
    yield from groups


def _by_source(shots: Iterable[Shot]) -> Mapping[str, Mapping[int, list[Shot]]]:
    """Source -> its shots: the first of each text, the second of each text..."""
    sources: defaultdict[str, defaultdict[int, list[Shot]]] = defaultdict(lambda: defaultdict(list))
    seen: Counter[tuple[str, str]] = Counter()
    for shot in shots:
        key = shot.document.source, shot.document.id
        sources[shot.document.source][seen[key]].append(shot)
        seen[key] += 1
    return sources


def _chains(
    shots: Sequence[Shot], sizes: Sequence[int], num_shots: int | None, capacity: int | None
) -> Iterator[list[Shot]]:
    chain: list[Shot] = []
    filled = 0
    for shot, size in zip(shots, sizes, strict=True):
        is_full = num_shots is not None and len(chain) == num_shots
        if chain and (is_full or (capacity is not None and filled + size > capacity)):
            yield chain
            chain, filled = [], 0
        chain.append(shot)
        filled += size
    if chain:
        yield chain
