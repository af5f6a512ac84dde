"""What checks find and what they break: pairs that people annotated, half of them spoilt in named ways.

    annotated shots --labelled--> 150 pairs as they are    label ""
                                  150 spoilt               "number", "other_answer", "option" ...
                                          |
                                 a check rejects some --rates--> precision  of those rejected, how many were spoilt
                                                                 recall     of those spoilt in a way, how many rejected
                                                                 false      of those as they are, how many rejected

A label is in the meta of the shot's document ("labels", one a pair), where no check looks. Half are spoilt, so a check
that rejects at random has a precision of a half. Annotators err too: a "false" reject may be a right one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from instructpt.records import Document, Pair, Shot
from instructpt.seeds import rng
from instructpt.verification.spoiling import EASY, WAYS
from instructpt.words.overlap import words

LABELS = "labels"
"""Of a document's meta: one string a pair, "" for a pair as people wrote it."""
SAMPLE_PAIRS = 300
Z_95 = 1.959964
"""Of a normal distribution: 95 in 100 lie within so many deviations."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of a few cases."""

    number: int
    """Of those that count."""
    count: int
    """Of all."""

    @property
    def share(self) -> float:
        """The part that counts. There must be a case."""
        return self.number / self.count


def interval(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence (Wilson 1927), for `share` of `count` cases."""
    centre = share + Z_95**2 / (2 * count)
    spread = Z_95 * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    return max(0.0, (centre - spread) / (1 + Z_95**2 / count)), min(1.0, (centre + spread) / (1 + Z_95**2 / count))


def labelled(shots: Sequence[Shot], *, num_pairs: int = SAMPLE_PAIRS, seed: int = 0) -> list[Shot]:
    """A sample of the pairs of annotated shots, half as they are, half spoilt, equally many in each way.

    Of ways that are easily found there are fewer. Every shot of the result has one pair, or those before it that a way
    needs, labelled as they are.
    Pairs come from all sources equally, as far as they go, and each shot serves once. There are fewer than asked for
    where a way fits too few pairs.
    """
    order = list(_in_turns(shots, seed=seed))
    by_source: dict[str, list[Shot]] = {}
    for shot in order:
        by_source.setdefault(shot.document.source, []).append(shot)
    wanted = num_pairs // 2
    easy = max(1, wanted // 50)
    others = len(WAYS) - len(EASY)
    quotas = {
        name: easy if name in EASY else (wanted - easy * len(EASY) + place) // others for place, name in enumerate(WAYS)
    }
    used: set[int] = set()
    spoilt: list[Shot] = []
    num_clean = 0
    for name, way in WAYS.items():
        left = quotas[name]
        for number, shot in enumerate(order):
            if not left:
                break
            if number in used:
                continue
            stream = rng(seed, "spoil", name, number)
            place = stream.randrange(len(shot.pairs))
            pairs = way(shot, place, by_source[shot.document.source], stream)
            if pairs is None:
                continue
            used.add(number)
            left -= 1
            num_clean += len(pairs) - 1
            spoilt.append(_labelled(shot, pairs, ("",) * (len(pairs) - 1) + (name,)))
    rest = [shot for number, shot in enumerate(order) if number not in used][: wanted - num_clean]
    clean = [_labelled(s, (s.pairs[rng(seed, "clean", n).randrange(len(s.pairs))],), ("",)) for n, s in enumerate(rest)]
    found = clean + spoilt
    rng(seed, "labelled order").shuffle(found)
    return found


def rates(shots: Sequence[Shot], rejected: Sequence[Sequence[bool]]) -> dict[str, Rate]:
    """How often a check was right: "precision", "recall", "recall/WAY", "false", "false/SOURCE"; none for no cases.

    rejected: for each shot, for each of its pairs, whether the check rejected it.
    """
    cases = [
        (label, shot.document.source, is_rejected)
        for shot, flags in zip(shots, rejected, strict=True)
        for label, is_rejected in zip(shot.document.meta[LABELS], flags, strict=True)
    ]
    picked: dict[str, list[bool]] = {"precision": [bool(label) for label, _, is_rejected in cases if is_rejected]}
    for label, source, is_rejected in cases:
        names = ("recall", f"recall/{label}") if label else ("false", f"false/{source}")
        for name in names:
            picked.setdefault(name, []).append(is_rejected)
    return {name: Rate(sum(flags), len(flags)) for name, flags in sorted(picked.items()) if flags}


def is_rejected(before: Shot, after: Shot) -> list[bool]:
    """Of each pair of a shot, whether it is gone; what is left is in the same order."""
    left = list(after.pairs)
    flags = []
    for pair in before.pairs:
        is_kept = bool(left) and left[0] == pair
        if is_kept:
            left.pop(0)
        flags.append(not is_kept)
    return flags


def _labelled(shot: Shot, pairs: tuple[Pair, ...], labels: tuple[str, ...]) -> Shot:
    meta: Mapping[str, object] = {**shot.document.meta, LABELS: list(labels)}
    return Shot(Document(shot.document.id, shot.document.text, shot.document.source, meta), pairs)


def _in_turns(shots: Sequence[Shot], *, seed: int) -> Iterator[Shot]:
    """The shots with a text and pairs, each source's in drawn order, a shot of each source in turn."""
    by_source: dict[str, list[Shot]] = {}
    for shot in shots:
        if shot.pairs and words(shot.document.text):
            by_source.setdefault(shot.document.source, []).append(shot)
    for source, members in by_source.items():
        rng(seed, "turns", source).shuffle(members)
    for turn in range(max(map(len, by_source.values()), default=0)):
        for source in sorted(by_source):
            if turn < len(by_source[source]):
                yield by_source[source][turn]
