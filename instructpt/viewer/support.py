"""Where a passage holds an answer: the words that `overlap.supported` counts, with their places.

passage    The bridge over the Cole was built in 1843.
answer     built in 1843                       ~~~~~~~~~~~~~   in a row: "span"
answer     the Cole bridge    ~~~~~~      ~~~~                 nearly all of its words somewhere: "words"
answer     a wooden pier                                       neither: ""
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from instructpt.words import overlap


@dataclass(frozen=True, slots=True)
class Support:
    """What of a passage bears out an answer."""

    how: Literal["span", "words", ""]
    ranges: tuple[tuple[int, int], ...]
    """Half-open character ranges of the passage, ascending."""


def support(answer: str, passage: Sequence[overlap.Word]) -> Support:
    """Where the passage (`located_words`) holds the answer: its first such place, or else nearly all of its words."""
    sought = overlap.words(answer)
    if not sought:
        return Support("", ())
    held = [word.word for word in passage]
    for place in range(len(held) - len(sought) + 1):
        if held[place] == sought[0] and held[place : place + len(sought)] == sought:
            return Support("span", ((passage[place].start, passage[place + len(sought) - 1].stop),))
    if overlap.share_found(answer, held) < overlap.MIN_SUPPORTED_SHARE:
        return Support("", ())
    left, ranges = Counter(overlap.content_words(answer)), []
    for word in passage:
        if left[word.word] > 0:
            left[word.word] -= 1
            ranges.append((word.start, word.stop))
    return Support("words", tuple(ranges))


def cut_at(text: str, marks: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[str, list[int]]]:
    """The text in pieces, each with the numbers of the marks that cover it: what a page sets one after the other."""
    edges = {0, len(text), *(edge for ranges in marks for both in ranges for edge in both if edge <= len(text))}
    bounds = sorted(edges)
    pieces = []
    for start, stop in pairwise(bounds):
        over = [n for n, ranges in enumerate(marks) if any(a <= start and stop <= b for a, b in ranges)]
        pieces.append((text[start:stop], over))
    return pieces
