"""What a check may look at besides the pair: the passage, what is known of its categories, and the questions before."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from instructpt.records import Document, Pair
from instructpt.verification.checks.nearness import Seen, Signature, signature
from instructpt.verification.checks.numerals import all_readings
from instructpt.words import languages, overlap


@dataclass(slots=True)
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
    _normal_text: str | None = None
    _words: list[str] | None = None
    _numbers: frozenset[str] | None = None
    _language: str | None = None
    _script: str | None = None
    _signed: tuple[Pair, Signature] | None = None

    @property
    def normal_text(self) -> str:
        """The passage in lower case with single blanks, made once."""
        if self._normal_text is None:
            self._normal_text = normal(self.document.text)
        return self._normal_text

    @property
    def words(self) -> list[str]:
        """The passage's words as `overlap.words` gives them, made once."""
        if self._words is None:
            self._words = overlap.words(self.document.text)
        return self._words

    @property
    def numbers(self) -> frozenset[str]:
        """Every reading of the passage's numbers (`numerals`), made once."""
        if self._numbers is None:
            self._numbers = all_readings(self.document.text)
        return self._numbers

    @property
    def language(self) -> str:
        """What the passage is in (`languages.identify`), made once; "" where that cannot be told."""
        if self._language is None:
            self._language = languages.identify(self.document.text).language or ""
        return self._language

    @property
    def script(self) -> str:
        """The script of the passage as `script` has it, made once."""
        if self._script is None:
            self._script = script(self.document.text)
        return self._script

    def signature(self, pair: Pair) -> Signature:
        """`nearness.signature` of a pair, made once for the last one asked for."""
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
