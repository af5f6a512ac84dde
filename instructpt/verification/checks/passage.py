"""What a check may look at besides the pair: the passage, what is known of its categories, and the questions before.

Pairs that are nearly the same are found among many in bounded memory: MinHash signatures in bands (Broder 1997).

    who built the road  --runs of 5 characters-->  who_b ho_bu o_bui ...  --MinHash (rensa), 32 places-->
    signature  17 4 93 8 | 21 5 77 30 | ...        8 bands of 4: what agrees in a band is compared as a whole

The share of equal places in two signatures is an estimate of the Jaccard index of their runs (the runs both have, of
those either has). What is kept lies in arrays of bounded size; when these are full, the oldest pairs are forgotten.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from instructpt.records import Document, Pair
from instructpt.verification.checks.numerals import all_readings
from instructpt.words import languages, overlap

RUN_CHARACTERS = 5
NUM_BANDS = 8
BAND_PLACES = 4
MIN_SHARE = 0.7
"""Of equal places, in the signatures of both questions and of both answers, that makes pairs near duplicates."""
MAX_PAIRS = 1 << 17
"""Remembered at once, in 50 MB: more than the pairs of a shard of 64 MB of text."""

_NUMBER = re.compile(r"\d+")
_SIZE = NUM_BANDS * BAND_PLACES
_SEED = 0

Signature = NDArray[np.uint32]
Signatures = NDArray[np.uint32]
Places = NDArray[np.int64]


def signature(question: str, answer: str) -> Signature:
    """The MinHash signatures of a question's and an answer's words, [2, 32]; punctuation and case do not count.

    Texts with other numbers agree in no place: "in round 3" and "in round 4" ask for two things.
    """
    return np.stack([_signature(question), _signature(answer)])


def _signature(text: str) -> Signature:
    plain = " ".join(overlap.words(text))
    runs = {plain[place : place + RUN_CHARACTERS] for place in range(max(1, len(plain) - RUN_CHARACTERS + 1))}
    sketch = RMinHash(_SIZE, _SEED)
    sketch.update([run.encode("utf-8", "surrogatepass") for run in runs])
    least: Signature = np.array(sketch.digest(), np.uint32)
    return least ^ np.uint32(zlib.crc32(" ".join(_NUMBER.findall(plain)).encode()))


@dataclass(slots=True)
class Seen:
    """The pairs seen so far, by their signatures."""

    max_pairs: int = MAX_PAIRS
    num_pairs: int = 0
    """Ever added."""
    _signatures: Signatures | None = None
    """[pairs, 2, 32]: a ring that grows until it holds `max_pairs`."""
    _last: Places | None = None
    """[bands, slots]: the number, from 1, of the last pair whose question has its band in this slot."""

    def holds(self, sought: Signature) -> bool:
        """Whether a pair nearly the same is remembered."""
        if self._signatures is None or self._last is None:
            return False
        for band, slot in enumerate(_slots(sought, self._last.shape[1])):
            number = int(self._last[band, slot]) - 1
            if number >= max(0, self.num_pairs - self.max_pairs):
                known = self._signatures[number % self.max_pairs]
                if (known == sought).sum(axis=1).min() >= MIN_SHARE * _SIZE:
                    return True
        return False

    def add(self, found: Signature) -> None:
        """Remember a pair."""
        if self._signatures is None or self.num_pairs == len(self._signatures) < self.max_pairs:
            self._grow()
        assert self._signatures is not None
        self._signatures[self.num_pairs % self.max_pairs] = found
        self._enter(found, self.num_pairs)
        self.num_pairs += 1

    def _grow(self) -> None:
        """Twice the room, or some to begin with."""
        known = self._signatures if self._signatures is not None else np.zeros((0, 2, _SIZE), np.uint32)
        size = min(max(32, 2 * len(known)), self.max_pairs)
        self._signatures = np.concatenate([known, np.zeros((size - len(known), 2, _SIZE), np.uint32)])
        self._last = np.zeros((NUM_BANDS, 2 * size), np.int64)
        for number, signature in enumerate(known):
            self._enter(signature, number)

    def _enter(self, found: Signature, number: int) -> None:
        assert self._last is not None
        for band, slot in enumerate(_slots(found, self._last.shape[1])):
            self._last[band, slot] = number + 1


def _slots(signature: Signature, num_slots: int) -> list[int]:
    """Where each band of a question's signature belongs."""
    data, width = signature[0].tobytes(), 4 * BAND_PLACES
    return [zlib.crc32(data[band * width : (band + 1) * width]) % num_slots for band in range(NUM_BANDS)]


@dataclass  # not slotted: the cached properties need a place to live
class Passage:
    """What a check may look at besides the pair. What is costly to make of the text is made once, when asked for."""

    document: Document
    questions: set[tuple[str, ...]] = field(default_factory=set)
    """Questions kept so far, each as `question_key` gives it."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Category -> what its answers are ("span" out of the passage, "label" or "free"), as far as it is known."""
    seen: Seen = field(default_factory=Seen)
    """Pairs kept so far of passages before, where one is handed from shot to shot."""
    said: Seen = field(default_factory=Seen)
    """Pairs kept so far of this passage."""
    _signed: tuple[Pair, Signature] | None = None

    @cached_property
    def normal_text(self) -> str:
        """The passage in lower case with single blanks."""
        return normal(self.document.text)

    @cached_property
    def words(self) -> list[str]:
        """The passage's words as `overlap.words` gives them."""
        return overlap.words(self.document.text)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Every reading of the passage's numbers (`numerals`)."""
        return all_readings(self.document.text)

    @cached_property
    def language(self) -> str:
        """What the passage is in (`languages.identify`); "" where that cannot be told."""
        return languages.identify(self.document.text) or ""

    @cached_property
    def script(self) -> str:
        """The script of the passage as `script` has it."""
        return script(self.document.text)

    def signature(self, pair: Pair) -> Signature:
        """`signature` of a pair, made once for the last one asked for."""
        if self._signed is None or self._signed[0] is not pair:
            self._signed = pair, signature(pair.question, pair.answer)
        return self._signed[1]


MIN_LETTERS = 8
"""Of a text whose script is judged: fewer may be a formula, a unit, a foreign word that is quoted."""
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "LATIN"}
_LOOKED_AT_CHARACTERS = 1_000

Check = Callable[[Pair, Passage], str | None]


def question_key(pair: Pair) -> tuple[str, ...]:
    """Equal for questions that differ in case and blanks alone. "Which is true?" may come again with other options."""
    return (normal(pair.question), *map(normal, pair.options))


def normal(text: str) -> str:
    """The text in lower case with single blanks."""
    return " ".join(text.casefold().split())


def strings(pair: Pair) -> list[str]:
    """All that a pair says."""
    return [pair.question, *pair.options, *([] if pair.rationale is None else [pair.rationale]), pair.answer]


def script(text: str) -> str:
    """The script of most letters in the beginning of a text, as Unicode names it ("LATIN"); "" for few letters."""
    counts: Counter[str] = Counter()
    for character, times in Counter(text[:_LOOKED_AT_CHARACTERS]).items():
        if character.isalpha():
            name = "LATIN" if character.isascii() else unicodedata.name(character, "").partition(" ")[0]
            name = _ONE_SCRIPT.get(name, name)
            counts[name] += 2 * times if name == "CJK" else times  # a sign stands for about two letters
    best, times = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return best if times >= MIN_LETTERS and times > 0.5 * counts.total() else ""
