"""Documents to passages: pieces of at most so many tokens, cut where a reader would.

    document  |paragraph one.|    |paragraph two. It is long. So it is cut.|    |three.|
    passages  [--------- 1 ---------------------]  [------- 2 --------]  [ --- 3 ---- ]

A passage is filled up to the budget and then ends at the last paragraph end that leaves it at least half full; else at
the last such sentence end, then line end, then clause end (by the commas of Chinese, Japanese and Arabic: not every
script has blanks), then white space, then token. So no paragraph or sentence of up to a third of the budget is ever
cut. A last passage of less than a quarter of it is avoided by ending the one before sooner.

What holds for every text and vocabulary (the tests try to break it):

* Passages are slices of the text, in order, that do not overlap; between, before and after them is white space only.
* A passage neither begins nor ends with white space, and none is empty: a text of white space alone has no passage.
* A passage encoded by itself has at most `budget_tokens` tokens: each is encoded to make sure.
* The time is linear in the text, for a line of 20 MB as for a million line breaks: a tokenizer never sees more than a
  window of characters at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from instructpt.errors import RecipeError
from instructpt.records import Document
from instructpt.words.batches import batches
from instructpt.words.evidence import sentence_starts
from instructpt.words.vocabulary import Vocabulary

MIN_BUDGET_TOKENS = 16
"""A single character may need several tokens."""

_SLACK_TOKENS = 1
"""A slice may need more tokens alone than it has within the text: " word" is often one token where "word" is two."""
_LONG_CHARACTERS = 4
"""A text of more characters a token of the budget is likely too long: it is cut without being counted first."""
_WINDOW_CHARACTERS = 16_384
_ENCODED_CHARACTERS = 262_144
_BATCH_CHARACTERS = 1_048_576

_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r\f\v]*+\n\s*+")
_LINE_BREAK = re.compile(r"\n\s*+")
_CLAUSE_END = re.compile(r"[，、；：،؛]++[」』”’）】》]*+\s*+")
_SPACE = re.compile(r"\s++")


@dataclass(frozen=True, slots=True)
class _Slice:
    """A stretch of one document's text, without outer white space."""

    text: str
    document: int
    """Its number in the batch."""
    start: int
    stop: int

    @property
    def content(self) -> str:
        return self.text[self.start : self.stop]

    def __len__(self) -> int:
        return self.stop - self.start


def split_many(
    documents: Iterable[Document], *, vocabulary: Vocabulary, budget_tokens: int
) -> Iterator[list[Document]]:
    """For each document its passages of at most `budget_tokens` tokens (special tokens not counted). Streams.

    The passages of a document of several are named "<id>#0", "<id>#1", ... and have `meta["offset"]`, the character of
    the document at which they start. A document that fits is one passage under its own name.
    Raises RecipeError for a budget below 16, or one that not even a single character of the text fits.
    """
    if budget_tokens < MIN_BUDGET_TOKENS:
        raise RecipeError(f"budget_tokens is {budget_tokens}: give at least {MIN_BUDGET_TOKENS}")
    for batch in batches(documents, size=lambda document: len(document.text), enough=_BATCH_CHARACTERS):
        slices: list[list[_Slice]] = [[] for _ in batch]
        for piece in _fitting(batch, vocabulary, budget_tokens):
            slices[piece.document].append(piece)
        for document, pieces in zip(batch, slices, strict=True):
            yield _passages(document, sorted(pieces, key=lambda piece: piece.start))


def _passages(document: Document, pieces: Sequence[_Slice]) -> list[Document]:
    if len(pieces) == 1:
        return [replace(document, text=pieces[0].content)]
    return [
        Document(f"{document.id}#{k}", piece.content, document.source, {**document.meta, "offset": piece.start})
        for k, piece in enumerate(pieces)
    ]


def _fitting(batch: Sequence[Document], vocabulary: Vocabulary, budget: int) -> Iterator[_Slice]:
    """Slices that cover the texts and fit the budget, each counted alone, in no order; too long ones are cut again."""
    long: list[_Slice] = []
    uncounted: list[_Slice] = []
    for number, document in enumerate(batch):
        piece = _trimmed(document.text, number, 0, len(document.text))
        if piece.start < piece.stop:
            (long if piece.stop - piece.start > _LONG_CHARACTERS * budget else uncounted).append(piece)
    uncounted += _cut(long, vocabulary, budget, known_too_long=False)
    while uncounted:
        too_long = []
        for piece, num_tokens in zip(uncounted, _counts(uncounted, vocabulary), strict=True):
            if num_tokens <= budget:
                yield piece
            elif piece.stop - piece.start == 1:
                raise RecipeError(
                    f"budget_tokens is {budget}, but the character {piece.content!r} alone has {num_tokens}: give more"
                )
            else:
                too_long.append(piece)
        uncounted = _cut(too_long, vocabulary, budget, known_too_long=True)


def _counts(pieces: Sequence[_Slice], vocabulary: Vocabulary) -> Iterator[int]:
    for group in batches(pieces, size=len, enough=_BATCH_CHARACTERS):
        yield from map(len, vocabulary.encode_arrays([piece.content for piece in group]))


def _cut(pieces: Sequence[_Slice], vocabulary: Vocabulary, budget: int, *, known_too_long: bool) -> list[_Slice]:
    """The pieces cut so that each part has about `budget` tokens at most; at least in two, if known to be too long."""
    parts: list[_Slice] = []
    for piece, token_starts in zip(pieces, _token_starts(pieces, vocabulary), strict=True):
        cap = budget - _SLACK_TOKENS
        if known_too_long and len(token_starts) <= cap:
            cap = max(1, len(token_starts) // 2)
        bounds = [piece.start, *_cuts(piece, token_starts, cap), piece.stop]
        if known_too_long and len(bounds) == 2:
            bounds.insert(1, (piece.start + piece.stop) // 2)
        parts += [_trimmed(piece.text, piece.document, start, stop) for start, stop in pairwise(bounds)]
    return parts


def _cuts(piece: _Slice, token_starts: NDArray[np.int64], cap: int) -> list[int]:
    """Where the passages after the first begin, ascending, strictly inside the piece."""
    cuts: list[int] = []
    start = piece.start
    while True:
        first = int(np.searchsorted(token_starts, start))
        if first and (first == len(token_starts) or token_starts[first] > start):
            first -= 1  # the token that reaches over the start
        num_left = len(token_starts) - first
        if num_left <= cap or start + 1 >= piece.stop:
            return cuts
        # The last passage is to have a quarter of the budget.
        limit = max(1, min(cap, num_left - cap // 4))
        low, high = int(token_starts[first + limit // 2]), int(token_starts[first + limit])
        start = _boundary(piece.text, max(low, start + 1), min(max(high, start + 1), piece.stop - 1))
        cuts.append(start)


def _boundary(text: str, low: int, high: int) -> int:
    """The best place from `low` to `high` (beyond it over white space only) for a passage to begin."""
    if space := _SPACE.match(text, high):
        high = space.end()
    breaks = [match.end() for match in _PARAGRAPH_BREAK.finditer(text, low, high)]
    breaks = breaks or sentence_starts(text, start=low, stop=high)
    breaks = breaks or [match.end() for match in _LINE_BREAK.finditer(text, low, high)]
    breaks = breaks or [match.end() for match in _CLAUSE_END.finditer(text, low, high)]
    breaks = breaks or [match.end() for match in _SPACE.finditer(text, low, high)]
    return breaks[-1] if breaks else high


def _token_starts(pieces: Sequence[_Slice], vocabulary: Vocabulary) -> list[NDArray[np.int64]]:
    """For each piece the characters of its text at which its tokens start, ascending, as counted window by window."""
    windows = [window for number, piece in enumerate(pieces) for window in _windows(replace(piece, document=number))]
    starts: list[list[NDArray[np.int64]]] = [[] for _ in pieces]
    for group in batches(windows, size=len, enough=_ENCODED_CHARACTERS):
        encoded = vocabulary.encode_with_starts([window.content for window in group])
        for window, (_, window_starts) in zip(group, encoded, strict=True):
            starts[window.document].append(window_starts + window.start)
    return [np.maximum.accumulate(np.concatenate(parts)) for parts in starts]


def _windows(piece: _Slice) -> Iterator[_Slice]:
    """The piece in windows of bounded length that end before a line break or a blank, where there is one."""
    start = piece.start
    while start < piece.stop:
        stop = min(piece.stop, start + _WINDOW_CHARACTERS)
        if stop < piece.stop:
            middle = start + _WINDOW_CHARACTERS // 2
            found = max(piece.text.rfind("\n", middle, stop), piece.text.rfind(" ", middle, stop))
            stop = found if found > 0 else stop
        yield _Slice(piece.text, piece.document, start, stop)
        start = stop


def _trimmed(text: str, document: int, start: int, stop: int) -> _Slice:
    """text[start:stop] without outer white space."""
    content = text[start:stop]
    return _Slice(text, document, stop - len(content.lstrip()), start + len(content.rstrip()))
