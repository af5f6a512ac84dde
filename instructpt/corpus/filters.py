"""Which documents are no text worth training on: short reasons from a few cheap, language-free measures.

The measures count characters, not words, so that they hold for scripts without spaces and for code. The ideas are
those of the quality rules of Gopher (Rae et al. 2021, arXiv 2112.11446), C4 (Raffel et al. 2020, arXiv 1910.10683) and
FineWeb (Penedo et al. 2024, arXiv 2406.17557); the thresholds are ours, loose enough that ordinary prose, laws,
Chinese, verse and program code pass. None switches a rule off.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instructpt.errors import RecipeError
from instructpt.records import Document

_SPACE, _WORD, _SYMBOL = range(3)
_NUM_COUNTED = 1 << 16
_LINE_CHARACTERS = 10

LETTERS_A_SIGN = {
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af": 3,
    "\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3": 2,
}
"""Chinese signs; kana and Hangul syllables. So weighed, the chat prompts of this package, one text in several
languages, have 2,787 letters in Chinese and 3,197 in Japanese, against 3,036 in English and 2,500 in Arabic; unweighed,
1,147 and 1,557."""
_SIGNS = tuple((re.compile(f"[{signs}]"), number) for signs, number in LETTERS_A_SIGN.items())


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where each rule draws its line. Shares are of the characters that are no white space."""

    min_characters: int | None = 50
    """Less is a heading or a leftover of a page, not a passage to ask about. Both lengths are in letters of an
    alphabet: a sign that says as much as several letters counts as so many (`LETTERS_A_SIGN`)."""
    max_characters: int | None = None
    """No limit: Split cuts long documents."""
    max_character_share: float | None = 0.4
    """Of the single most common character. In prose the most common letter has 10 to 18 %, in DNA about 30 % of the
    sequence; rulers, blank forms and padding have more."""
    max_run_characters: int | None = 300
    """The longest run of one character. Leader dots and rulers of tables stay below 200."""
    max_symbol_share: float | None = 0.4
    """Characters that are no letter, mark or digit. English prose has 3 to 6 %, Chinese 10 to 15 %, code 20 to 35 %."""
    max_repeated_line_share: float | None = 0.5
    """Characters in lines that repeat an earlier line, lines under 10 characters (brackets, bullets) left out. Gopher
    draws the line at 0.2 and FineWeb at 0.1, for web pages; of Python modules, 6 % have more than 0.3."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and (value < 0 or (field.name.endswith("share") and value > 1)):
                wanted = "a share from 0 to 1" if field.name.endswith("share") else "0 or more"
                raise RecipeError(f"{field.name} is {value}: give {wanted}, or None to switch the rule off")


def first_reason(document: Document, thresholds: Thresholds) -> str | None:
    """Why the document is to be left out, by the first rule of `FILTERS` that it breaks; None to keep it."""
    for rule in FILTERS.values():
        if reason := rule(document, thresholds):
            return reason
    return None


def length(document: Document, thresholds: Thresholds) -> str | None:
    """Too few or too many characters, outer white space not counted, signs of syllables and words for several."""
    text = document.text.strip()
    num_characters = len(text) + (0 if text.isascii() else sum((n - 1) * len(s.findall(text)) for s, n in _SIGNS))
    if thresholds.min_characters is not None and num_characters < thresholds.min_characters:
        return "too_short"
    if thresholds.max_characters is not None and num_characters > thresholds.max_characters:
        return "too_long"
    return None


def repetition(document: Document, thresholds: Thresholds) -> str | None:
    """One character that makes up too much of the text, or stands too often in a row."""
    codes, kinds = _characters(document.text)
    solid = codes[kinds != _SPACE]
    highest_count = _most_common(solid)
    if thresholds.max_character_share is not None and highest_count > thresholds.max_character_share * len(solid):
        return "one_character"
    max_run = thresholds.max_run_characters
    # No run is longer than the character is common: most texts need no look at their runs.
    if max_run is not None and highest_count > max_run and _longest_run(codes, kinds) > max_run:
        return "long_run"
    return None


def symbols(document: Document, thresholds: Thresholds) -> str | None:
    """Too many characters that are no letter, mark or digit."""
    if thresholds.max_symbol_share is None:
        return None
    _, num_words, num_symbols = np.bincount(_characters(document.text)[1], minlength=3)
    return "symbols" if num_symbols > thresholds.max_symbol_share * (num_words + num_symbols) else None


def repeated_lines(document: Document, thresholds: Thresholds) -> str | None:
    """Too much of the text in lines that stood there before."""
    if thresholds.max_repeated_line_share is None:
        return None
    seen: set[str] = set()
    num_characters = num_repeated = 0
    for line in map(str.strip, document.text.split("\n")):
        num_characters += len(line)
        if len(line) >= _LINE_CHARACTERS:
            if line in seen:
                num_repeated += len(line)
            seen.add(line)
    return "repeated_lines" if num_repeated > thresholds.max_repeated_line_share * num_characters else None


FILTERS: dict[str, Callable[[Document, Thresholds], str | None]] = {
    "length": length,
    "repetition": repetition,
    "symbols": symbols,
    "repeated_lines": repeated_lines,
}
"""Name -> rule, in the order in which they are asked. A new one is a function and a line here."""


@functools.lru_cache(maxsize=1)
def _characters(text: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Code points, and the kind of each. Both character rules ask for the same text one after the other."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, _kinds()[codes]


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """_SPACE, _WORD or _SYMBOL for every code point: by its Unicode category, marks are part of words (Hindi, Thai)."""
    kinds = np.full(0x110000, _SYMBOL, np.uint8)
    for code in range(len(kinds)):
        category = unicodedata.category(chr(code))
        if category[0] in "LMN":
            kinds[code] = _WORD
        elif category[0] == "Z" or chr(code).isspace():
            kinds[code] = _SPACE
    return kinds


def _most_common(codes: NDArray[np.uint32]) -> int:
    """How often the most common code point occurs."""
    if not len(codes):
        return 0
    # Counting by position in an array beats sorting 20 times; rare planes share its last place.
    counts = np.bincount(np.minimum(codes, _NUM_COUNTED - 1))
    if len(counts) == _NUM_COUNTED and counts.argmax() == _NUM_COUNTED - 1:
        return int(np.unique(codes, return_counts=True)[1].max())
    return int(counts.max())


def _longest_run(codes: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> int:
    """The length of the longest run of one code point that is no white space."""
    if not len(codes):
        return 0
    starts = np.concatenate(([0], np.flatnonzero(codes[1:] != codes[:-1]) + 1))
    lengths = np.diff(starts, append=len(codes))
    return int(lengths[kinds[starts] != _SPACE].max(initial=0))
