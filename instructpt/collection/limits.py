"""How long a context and a shot may be: in characters, or in tokens of what a dialect writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from instructpt.records import Group, Shot, Text
from instructpt.words.vocabulary import Vocabulary


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
