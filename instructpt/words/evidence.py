"""Which characters of a passage bear an answer out.

passage     The heron waits in shallow water. It eats fish, frogs and eels. Fish it swallows whole.
question    What does it eat?            answer  fish        ->  "fish" of the second sentence, whose words are asked
question    Is the heron a hunter?       answer  yes         ->  the sentence that shares most words with both
question    Who wrote the song?          answer  Bach        ->  None
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from instructpt.artifacts.tally import Tally
from instructpt.records import Group
from instructpt.words.overlap import content_words
from instructpt.words.sentences import sentence_starts

Span = tuple[int, int]
"""Half-open range of characters."""
MIN_COVERED_SENTENCES = 5
"""Of a passage, to say how many of its sentences its pairs need: any pair needs most of a shorter one."""


def sentences(passage: str) -> list[Span]:
    """The passage's sentences as ranges of characters, without the white space after them; no empty ones."""
    bounds = pairwise([0, *sentence_starts(passage), len(passage)])
    found = ((start, start + len(passage[start:stop].rstrip())) for start, stop in bounds)
    return [(start, stop) for start, stop in found if start < stop]


def bearing(passage: str, *, question: str, answer: str, within: Sequence[Span] | None = None) -> Span | None:
    """Where the passage says the answer: its own words, or the sentence that shares most with question and answer.

    Of several places with the answer's words the one is taken whose sentence shares most words with the question; of
    equals, the first. None where no sentence shares a word with the answer, nor two with the question.
    within: the passage's `sentences`, where they are known.
    """
    spans = sentences(passage) if within is None else within
    if not spans:
        return None
    starts, asked = [start for start, _ in spans], set(content_words(question))

    def shared(place: int) -> int:
        start, stop = spans[place]
        return len(asked.intersection(content_words(passage[start:stop])))

    if pieces := answer.strip().rstrip(".,;:").split():
        literal = re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, pieces)) + r"(?!\w)", re.IGNORECASE)
        if found := [match.span() for match in literal.finditer(passage)]:
            return max(found, key=lambda span: shared(max(0, bisect_right(starts, span[0]) - 1)))
    said = set(content_words(answer))
    scores = []
    for place, (start, stop) in enumerate(spans):
        told = said.intersection(content_words(passage[start:stop]))
        scores.append((len(told) + shared(place)) if told or shared(place) > 1 else 0)
    best = max(range(len(spans)), key=scores.__getitem__)
    return spans[best] if scores[best] else None


def coverage(passage: str, spans: Sequence[Span]) -> tuple[int, int]:
    """How many of the passage's sentences a span touches, and how many there are."""
    found = sentences(passage)
    touched = sum(any(start < last and first < stop for first, last in spans) for start, stop in found)
    return touched, len(found)


def count_covered(group: Group, tally: Tally) -> None:
    """Of the sentences of passages that have enough of them, how many some pair needs ("sentences_covered")."""
    for shot in group.shots:
        spans = [pair.span for pair in shot.pairs if pair.span is not None]
        num_covered, num_sentences = coverage(shot.document.text, spans)
        if num_sentences >= MIN_COVERED_SENTENCES:
            tally.count("sentences", num_sentences)
            tally.count("sentences_covered", num_covered)
