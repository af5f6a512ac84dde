"""Contexts too long for a synthesizer, cut into windows, each pair into the window that answers it.

    context     |paragraph one. Long.|   |paragraph two.|   |paragraph three.|
    windows     [-------------- 1 --------------------]   [ ------ 2 -------]
    pairs        "Who ...?" Mary Ashworth (in 1)             "When ...?" 1921 (in 2)        "Summarize." -> 1

A window ends at a paragraph end that leaves it at least half full, else at a sentence end; at a line end in a text
whose sentences fit no window (lists, speeches, text in small letters). One long line without a sentence end cannot be
cut, and a table is never cut: what a column means, and what is the most of it, is nowhere in a part.

Where a pair goes says its set's `answers` in the catalog:

* "span" and "free": to the window that holds the answer, word for word or most of its words; of several such windows,
  to the one that has most of the question's words. To none, if a name in the question stands in another window alone:
  from such pairs a synthesizer learns to name what its passage does not.
* a question that offers options or asks for a label: to the window that has most words of its rationale, if it has one
  (the evidence), else of the question.
* a label or text asked for the whole context, in the catalog's words (its topic, its title, a summary): to the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from instructpt.collection.catalog import Answers
from instructpt.collection.neutral import TaskRecord
from instructpt.records import Group, Shot, Text
from instructpt.words import overlap
from instructpt.words.vocabulary import Vocabulary

MIN_TABLE_LINES = 3
MIN_FREE_SHARE = 0.5
"""Of the words of an answer in words of its own, or of a question: half of a good paraphrase is the text's."""

_NAME = re.compile(r"(?<=\w )[A-Z][^\W\d_]+")
"""A capital after another word: the first word of a question has one anyway."""
_LINE_END = re.compile(r"\n\s*")
_PARAGRAPH_END = re.compile(r"\n[ \t\r\f\v]*\n\s*")

Sentences = Callable[[str], Sequence[int]]
"""Text -> the characters at which its sentences begin."""


def cut(
    texts: Sequence[str], *, limit: int, lengths: Callable[[Sequence[str]], list[int]], sentence_starts: Sentences
) -> list[list[str] | None]:
    """For each text its windows of at most `limit` by `lengths`; None where it cannot be cut."""
    bounds = [_bounds(text, sentence_starts) for text in texts]
    windows = _cut(texts, bounds, limit, lengths)
    left = [place for place, row in enumerate(windows) if row is None and not _is_table(texts[place])]
    by_line = [dict.fromkeys(_ends(_LINE_END, texts[place]), False) | bounds[place] for place in left]
    for place, row in zip(left, _cut([texts[place] for place in left], by_line, limit, lengths), strict=True):
        windows[place] = row
    return windows


def assign(records: Sequence[TaskRecord], windows: Sequence[str], answers: Sequence[Answers]) -> list[int | None]:
    """For each record (with its set's `answers`) the window it goes to; None where no window answers it."""
    window_words = [overlap.words(window) for window in windows]
    return [_window(record, window_words, kind) for record, kind in zip(records, answers, strict=True)]


def _cut(
    texts: Sequence[str],
    bounds: Sequence[Mapping[int, bool]],
    limit: int,
    lengths: Callable[[Sequence[str]], list[int]],
) -> list[list[str] | None]:
    units = [[text[a:b] for a, b in pairwise(sorted(ends))] for text, ends in zip(texts, bounds, strict=True)]
    sizes = iter(lengths([unit for row in units for unit in row]))
    windows: list[list[str] | None] = []
    for text, ends, row in zip(texts, bounds, units, strict=True):
        starts = _fill([next(sizes) for _ in row], [ends[start] for start in sorted(ends)], limit)
        places = [*(sorted(ends)[start] for start in starts or ()), len(text)]
        windows.append([text[a:b].strip() for a, b in pairwise(places)] if starts else None)
    # What units have together may differ from what they have apart.
    measured = iter(lengths([window for row in windows for window in row or ()]))
    longest = [max((next(measured) for _ in row or ()), default=0) for row in windows]
    return [row if length <= limit else None for row, length in zip(windows, longest, strict=True)]


def _bounds(text: str, sentence_starts: Sentences) -> dict[int, bool]:
    """Where a window may begin or end, and whether a paragraph begins there."""
    bounds = {0: True, len(text): True}
    if _is_table(text):
        return bounds
    bounds |= dict.fromkeys(sentence_starts(text), False)
    return bounds | dict.fromkeys(_ends(_PARAGRAPH_END, text), True)


def _ends(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    return (match.end() for match in pattern.finditer(text))


def _is_table(text: str) -> bool:
    lines = text.split("\n")
    return len(lines) >= MIN_TABLE_LINES and sum("|" in line for line in lines) > len(lines) / 2


def _fill(sizes: Sequence[int], is_paragraph: Sequence[bool], limit: int) -> list[int] | None:
    """The units at which windows begin; None if a unit fits no window. is_paragraph: one more than units."""
    starts, first, filled = [0], 0, 0
    unit = 0
    while unit < len(sizes):
        if sizes[unit] > limit:
            return None
        if filled + sizes[unit] <= limit:
            filled += sizes[unit]
            unit += 1
            continue
        kept = filled
        for place in range(unit, first, -1):
            if kept < limit / 2:
                break
            if is_paragraph[place]:
                unit = place
                break
            kept -= sizes[place - 1]
        first, filled = unit, 0
        starts.append(first)
    return starts


def _window(record: TaskRecord, windows: Sequence[Sequence[str]], answers: Answers) -> int | None:
    if not record.question.strip() and answers != "span":
        return 0
    asked = [overlap.share_found(record.question, window) for window in windows]
    if record.options or answers == "label" or not record.answer.strip():
        found = [overlap.share_found(record.rationale, window) for window in windows] if record.rationale else asked
        best = max(range(len(windows)), key=found.__getitem__)
        return best if found[best] >= MIN_FREE_SHARE else None
    holding = [place for place, window in enumerate(windows) if overlap.is_span(record.answer, window)]
    if not holding:
        found = [overlap.share_found(record.answer, window) for window in windows]
        least = overlap.MIN_SUPPORTED_SHARE if answers == "span" else MIN_FREE_SHARE
        holding = [place for place, share in enumerate(found) if share == max(found) >= least]
    found_in = max(holding, key=asked.__getitem__, default=None)
    return None if found_in is None or _names_missing(record.question, windows, found_in) else found_in


def _names_missing(question: str, windows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a name in the question stands in another window, and not in this one."""
    names = {word for name in _NAME.findall(question) for word in overlap.words(name)}
    return any(name not in windows[place] and any(name in window for window in windows) for name in names)


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """Two limits and the measures they are counted in. Made by `in_characters` or `in_tokens`."""

    context: int
    """Of a context alone."""
    shot: int
    """Of a context with its pairs."""
    lengths: Callable[[Sequence[str]], list[int]]
    """Of plain texts."""
    costs: Callable[[Sequence[Shot]], list[int]]
    """Of shots."""


def in_characters(*, context: int, shot: int) -> LengthLimits:
    """Characters of contexts, questions, options, rationales and answers, without markup."""

    def costs(shots: Sequence[Shot]) -> list[int]:
        return [len(shot.document.text) + sum(_parts(shot)) for shot in shots]

    return LengthLimits(context, shot, lambda texts: list(map(len, texts)), costs)


def in_tokens(vocabulary: Vocabulary, *, context: int, shot: int, write: Callable[[Group], Text]) -> LengthLimits:
    """Tokens of a vocabulary; of a shot, those of all that a dialect's `write` makes of it, BOS and EOS included."""
    ends = 1 if vocabulary.bos is None else 2

    def lengths(texts: Sequence[str]) -> list[int]:
        return list(map(len, vocabulary.encode_arrays(texts)))

    def costs(shots: Sequence[Shot]) -> list[int]:
        written = [write(Group("", (shot,))).text for shot in shots]
        return [length + ends for length in lengths(written)]

    return LengthLimits(context, shot, lengths, costs)


def _parts(shot: Shot) -> list[int]:
    return [sum(map(len, (pair.question, *pair.options, pair.rationale or "", pair.answer))) for pair in shot.pairs]
