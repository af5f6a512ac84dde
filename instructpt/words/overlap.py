"""What two texts share, word for word: the measure behind grounding checks, answer scores and decontamination.

    "The 2nd Battle of Ypres (1915)"  --words-->  the 2nd battle of ypres 1915
                                      --grams(3)-->  the 2nd battle | 2nd battle of | battle of ypres | of ypres 1915

Words are runs of letters and digits in lower case, whatever the script. A text without blanks between words (Chinese,
Thai) is cut into its characters instead, so that every measure works there too.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import eq

CONTAMINATION_GRAM = 13
"""Words in a row that count as a copy of a test item (GPT-3, arXiv 2005.14165, appendix C)."""
MAX_EXTRACTIVE_WORDS = 5
"""Longer answers may well be put in words of their own."""
MIN_SUPPORTED_SHARE = 0.8
"""Of an answer's words, articles aside: all of up to four, one in five of more (inflected, or between two spans).

Answers that people took from their passage and that fall below it: 0.7 % of 1,100 in Quoref, 0 of 938 evidence
sentences, 6.6 % of 3,013 that FairytaleQA calls explicit (and 76 % of those it calls implicit). Answers from another
passage that pass: 1.2, 0.2 and 1.2 %. At two thirds FairytaleQA loses 4.6 %, but "on 3 June" passes for "on 3 May".
"""

# Vowel signs and points are no word characters for `re`, but part of a word, from Hebrew and Arabic to Khmer.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
    "\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57"
    "\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u102b-\u103e\u17b4-\u17d3"
)
_LETTER = rf"(?:[^\W_]|[{_MARKS}])"
_WORDS = re.compile(rf"{_LETTER}+(?:[.,:'’]{_LETTER}+)*")
NO_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
)
"""A character of a script that puts no blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_BETWEEN_BLANKS = re.compile(r"\S+")
_JOINS = re.compile("[\u1160-\u11ff\uff9e\uff9f]")
"""Letters that normalization joins with the one before: Korean vowels and finals, half-width voice signs."""
_ARTICLES = frozenset({"a", "an", "the"})
VERDICTS = frozenset({"yes", "no", "true", "false"})


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text as it is compared, and its characters in the text as it is."""

    word: str
    start: int
    stop: int


def words(text: str) -> list[str]:
    """The words of a text in lower case; characters one by one in scripts that put no blanks between words."""
    folded = _folded(text)
    found: list[str] = _WORDS.findall(folded)
    if not NO_BLANKS.search(folded):
        return found
    return [part for word in found for part in (word if NO_BLANKS.search(word) else (word,))]


def located_words(text: str) -> list[Word]:
    """The same words, each with its place."""
    found: list[Word] = []
    for piece in _BETWEEN_BLANKS.finditer(text):  # nothing that normalization joins has a blank in it
        folded, base = _folded(piece[0]), piece.start()
        starts, stops = _places(piece[0], folded)
        for word in _WORDS.finditer(folded):
            step = 1 if NO_BLANKS.search(word[0]) else len(word[0])
            for first in range(word.start(), word.end(), step):
                last = first + step - 1
                found.append(Word(folded[first : last + 1], base + starts[first], base + stops[last]))
    return found


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


_folded_character = lru_cache(maxsize=4096)(_folded)


def _places(piece: str, folded: str) -> tuple[Sequence[int], Sequence[int]]:
    """Of each folded character: the first one of those that it was made of, and one more than the last one."""
    if len(piece) == len(folded) and (piece.isascii() or all(map(eq, map(_folded_character, piece), folded))):
        return range(len(piece)), range(1, len(piece) + 1)
    clusters: list[str] = []
    for character in piece:
        if clusters and (unicodedata.category(character)[0] == "M" or _JOINS.match(character)):
            clusters[-1] += character
        else:
            clusters.append(character)
    parts = [_folded(cluster) for cluster in clusters]
    if "".join(parts) != folded:
        return [0] * len(folded), [len(piece)] * len(folded)
    starts, stops, start = list[int](), list[int](), 0
    for cluster, part in zip(clusters, parts, strict=True):
        starts += [start] * len(part)
        stops += [start + len(cluster)] * len(part)
        start += len(cluster)
    return starts, stops


def content_words(text: str) -> list[str]:
    """The words without English articles, as SQuAD's measure has it (arXiv 1606.05250, section 6.1)."""
    return [word for word in words(text) if word not in _ARTICLES]


def exact_match(answer: str, gold: str) -> bool:
    """Whether two answers have the same words in the same order, articles aside."""
    return content_words(answer) == content_words(gold)


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of an answer's words, articles aside; 1 where both have none."""
    ours, theirs = content_words(answer), content_words(gold)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def is_span(answer: str, text_words: Sequence[str]) -> bool:
    """Whether the answer's words stand in a row in a text (`words` of it). An answer without words does not."""
    sought = words(answer)
    if not sought:
        return False
    first, length = sought[0], len(sought)
    return any(
        word == first and text_words[place : place + length] == sought
        for place, word in enumerate(text_words[: len(text_words) - length + 1])
    )


def share_found(answer: str, text_words: Sequence[str]) -> float:
    """Which part of the answer's words the text holds, each as often as it is there; 0 for an answer without words."""
    sought = Counter(content_words(answer))
    return (sought & Counter(text_words)).total() / sought.total() if sought else 0.0


def grams(text: str, length: int = CONTAMINATION_GRAM) -> Iterator[str]:
    """Every run of `length` words of a text, as one string; none for a shorter text."""
    found = words(text)
    return (" ".join(found[place : place + length]) for place in range(len(found) - length + 1))


def looks_extractive(answer: str, options: Sequence[str]) -> bool:
    """Whether an answer reads like one that is taken from its text.

    Short, not one of several options, no yes or no, and not labelled ("Intervention: placebo"). For pairs of which
    nothing else is known: a category whose answers are spans says more.
    """
    sought = words(answer)
    if options or not 0 < len(sought) <= MAX_EXTRACTIVE_WORDS:
        return False
    return sought[0] not in VERDICTS and ": " not in answer


def supported(answer: str, text_words: Sequence[str]) -> bool:
    """Whether a text (`words` of it) holds an answer: in a row, or nearly all of its words somewhere."""
    return is_span(answer, text_words) or share_found(answer, text_words) >= MIN_SUPPORTED_SHARE
