"""Numbers as texts write them, whatever the notation, so that two texts can be compared.

    "1,250 of 12.5 million (6 %), twenty-five of them"
     1250   12.5              6       25                 readings of each: any that a reader may mean
     1.25   12500000          0.06

A comma may part thousands or decimals, and which it does the text seldom says: both readings are kept, and two numbers
agree if they share one. Number words are read in English.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from instructpt.words.overlap import NO_BLANKS

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
_ORDINALS = """zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
_TENS = """twenty thirty forty fifty sixty seventy eighty ninety"""
_WORDS = {
    **{word: number for number, word in enumerate(_ONES.split())},
    **{word: number for number, word in enumerate(_ORDINALS.split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
    **{f"{word[:-1]}ieth": 10 * number for number, word in enumerate(_TENS.split(), 2)},
    "once": 1,
    "twice": 2,
    "both": 2,
    "single": 1,
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_AMBIGUOUS = frozenset({"zero", "one", "first", "second", "third", "once", "both", "single"})
"""Words that also mean something else: "one of them", "at first", "wait a second". They count in a text to compare
with, not as numbers of an answer."""

_DIGITS = r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d+(?:[.,'’]\d+)*"
_TOKEN = re.compile(rf"(?P<digits>{_DIGITS})|(?P<word>[a-z]+)")
_PERCENT = re.compile(r"\s?(?:%|per ?cent\b)")
_SCALE = re.compile(rf"[\s-]?({'|'.join(_SCALES)})\b")
_LIST_NUMBER = re.compile(r"^\s*\(?\d{1,2}[.)]\s+(?=\S)", re.MULTILINE)
_LETTER_BEFORE = re.compile(r"[^\W\d_]$")


def readings(text: str) -> list[frozenset[str]]:
    """The numbers that a text states, each as what it may be read as; numbers of list items ("2. ...") are none."""
    plain = _LIST_NUMBER.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return [found for is_sure, found in _numbers(plain) if is_sure]


def all_readings(text: str) -> frozenset[str]:
    """All readings of all numbers of a text, words that only may be numbers among them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return frozenset().union(*(found for _, found in _numbers(plain)))


def _numbers(text: str) -> list[tuple[bool, frozenset[str]]]:
    """Each number's readings, and whether it surely is one. A run of number words ("two hundred and five") is one."""
    found: list[tuple[bool, frozenset[str]]] = []
    run: list[str] = []

    def close() -> None:
        if run:
            is_sure = len(run) > 1 or run[0] not in _AMBIGUOUS
            found.append((is_sure, frozenset({_plain(Decimal(_value(run)))})))
            run.clear()

    last = 0
    for token in _TOKEN.finditer(text):
        between, word = text[last : token.start()], token["word"]
        if run and between.strip(" -\n"):
            close()
        last = token.end()
        if word is None:
            close()
            # Digits that hang on letters ("B12", but not "IL-6") are a name, not an amount; in scripts without blanks
            # between words they always do.
            before = text[: token.start()][-1:]
            if not _LETTER_BEFORE.search(before) or NO_BLANKS.search(before):
                found.extend((True, one) for one in _digit_readings(token["digits"], after=text[token.end() :][:16]))
        elif word in _WORDS or (word in _SCALES and run):
            run.append(word)
        elif word in _SCALES:
            run.extend(("one", word))
        elif word != "and" or not run or run[-1] not in _SCALES:
            close()
    close()
    return found


def _value(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word == "hundred":
            part = max(1, part) * 100
        elif word in _SCALES:
            total, part = total + max(1, part) * _SCALES[word], 0
        else:
            part += _WORDS[word]
    return total + part


def _digit_readings(written: str, *, after: str) -> list[frozenset[str]]:
    parts = re.split(r"\D", written)
    marks = re.findall(r"\D", written)
    by_thousands = bool(marks) and len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:])
    values: set[Decimal] = set(map(Decimal, parts)) if marks and not marks[-1].strip() else set()
    if not marks or by_thousands:
        values.add(Decimal("".join(parts)))
    if marks and marks[-1] in ".," and (len(parts) == 2 or all(len(part) == 3 for part in parts[1:-1])):
        values.add(Decimal("".join(parts[:-1]) + "." + parts[-1]))
    if not values:  # a date or the number of a section: each part by itself
        return [frozenset({_plain(Decimal(part))}) for part in parts]
    if scale := _SCALE.match(after):
        values |= {value * _SCALES[scale[1]] for value in values}
    if _PERCENT.match(after):
        values |= {value / 100 for value in values}
    return [frozenset(map(_plain, values))]


def _plain(value: Decimal) -> str:
    """One spelling a value: no zeros at either end."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).lstrip("0") or "0"
