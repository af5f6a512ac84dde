"""Checks of a pair against its passage and what was said of it: are the answer's words, its numbers and its names
there; do both speak the same language; does the pair say something new?

passage   "In 1859 the railway reached Tessing."
answer    "Arvelund"   not_grounded        answer   "By 1895 trains ran."         unsupported_number
                                           answer   "The line of Jon Brekke."     unsupported_name
"""

from __future__ import annotations

import re
import unicodedata

from instructpt.records import Pair
from instructpt.verification.checks.numerals import all_readings, readings
from instructpt.verification.checks.passage import Passage, script
from instructpt.words import languages, overlap

_ARITHMETIC = re.compile(r"math|arithm|numerical|count|comput|calcul|algebra|word problem|state reasoning|deductive")
"""In the name of a category: its answers are worked out."""
_WORKED_OUT = re.compile(r"\b(?:average|difference|total|sum|combined|altogether|how many more|percentage?)\b")
"""In a question whose answer is worked out."""
_COUNTED = re.compile(r"\b(?:how many|how much|how old|how long|number of|count)\b")
"""In a question whose answer may be counted, and is a small number then."""

_NAME = re.compile(r"(?P<start>(?:^|[.!?:;\n\"“”'‘(\[]|\d[.)])\s*)?(?P<word>[^\W\d_]+(?:[-'’][^\W\d_]+)*)")
_CAPITALS = """i i'm i'd i'll i've i’m i’d i’ll i’ve mr mrs ms dr st yes no true false god lord january february march
    april may june july august september october november december monday tuesday wednesday thursday friday saturday
    sunday"""
_NOT_NAMES = frozenset(_CAPITALS.split())
"""Words that are written with a capital and name nobody. A wrong month stands beside a wrong number as a rule."""
NUMBER = re.compile(r"(?<![A-Za-z0-9.,–-])\d+(?:[.,]\d+)*(?![A-Za-z0-9–-])")
"""A number that stands by itself, no part of a name or a range."""
YEAR = re.compile(r"1\d{3}|20\d{2}")
NOUNS_ARE_CAPITALS = frozenset({"german"})
MIN_STEM_CHARACTERS = 4
"""Names that begin alike count as one: "France" and "French", "Rome" and "Romans"."""
MAX_HEADLINE_SHARE = 0.6
"""Of capitalised words, in an answer of `MIN_HEADLINE_WORDS` or more: beyond it is a headline, and tells no names."""
MIN_HEADLINE_WORDS = 5


def grounded(pair: Pair, passage: Passage) -> str | None:
    """An answer that is to be taken from the passage, and is not there (`overlap.supported`).

    Which answers those are, the pair's category says, if it is known what its answers are; of other pairs, short ones
    (`overlap.looks_extractive`). An answer that follows from a rationale is never asked to stand in the passage.
    For pairs that a model wrote: mined ones are right by their making, also where an answer is an order of sentences.
    """
    if pair.rationale is not None:
        return None
    kind = passage.answers.get(pair.category or "")
    extractive = overlap.looks_extractive(pair.answer, pair.options) if kind is None else kind == "span"
    return "not_grounded" if extractive and not overlap.supported(pair.answer, passage.words) else None


def unsupported_number(pair: Pair, passage: Passage) -> str | None:
    """A number in the answer that neither passage nor question states, in whatever notation (`numerals`).

    Not where numbers are worked out: with a rationale, in a category such as "numerical reasoning", for a difference or
    a total; nor where they may be counted, and have two digits at most. The last two in short answers.
    """
    if pair.rationale is not None or pair.options or _ARITHMETIC.search((pair.category or "").casefold()):
        return None
    stated, question = readings(pair.answer), pair.question.casefold()
    is_short = len(overlap.words(pair.answer)) <= overlap.MAX_EXTRACTIVE_WORDS
    if not stated or (is_short and _WORKED_OUT.search(question)):
        return None
    counts = is_short and bool(_COUNTED.search(question))
    known = passage.numbers | all_readings(pair.question)
    missing = [number for number in stated if not number & known]
    if counts and all(any(value.isdigit() and len(value) <= 2 for value in number) for number in missing):
        return None
    return "unsupported_number" if missing else None


def unsupported_name(pair: Pair, passage: Passage) -> str | None:
    """A name in the answer that neither passage nor question holds; in scripts without capitals there are none.

    A name is a capitalised word that does not begin a sentence, or any of an answer that consists of such words alone.
    """
    if pair.rationale is not None or pair.options or passage.answers.get(pair.category or "") == "label":
        return None
    answer = unicodedata.normalize("NFKC", pair.answer)
    sought = _names(answer)
    if not sought or passage.language in NOUNS_ARE_CAPITALS:
        return None
    text = f"{unicodedata.normalize('NFKC', passage.document.text)}\n{pair.question}".casefold()
    return "unsupported_name" if any(not _has_name(name, text) for name in sought) else None


def names_in(text: str, *, language: str) -> list[tuple[int, int]]:
    """Where names stand: half-open ranges of capitalised words in a row, in order. None in scripts without capitals.

    The first word of a sentence belongs to a name that follows it, unless it is a common word: "Ada Brekke", but not
    "In Aldham".
    """
    found, common = list[tuple[int, int]](), languages.common_words(language) | _NOT_NAMES
    inside = {word.start("word") for word in _name_words(text)}
    before: re.Match[str] | None = None
    for word in _NAME.finditer(text):
        start, stop = word.span("word")
        if start in inside:
            is_next = before is not None and start - before.end() == 1 and text[before.end()] == " "
            if is_next and found and before and found[-1][1] == before.end():
                found[-1] = (found[-1][0], stop)
            elif is_next and before and before["word"][0].isupper() and before["word"].casefold() not in common:
                found.append((before.start("word"), stop))
            else:
                found.append((start, stop))
        before = word
    return found


def _names(answer: str) -> list[str]:
    return [word["word"] for word in _name_words(answer)]


def _name_words(answer: str) -> list[re.Match[str]]:
    words = list(_NAME.finditer(answer))
    capitals = [word for word in words if word["word"][0].isupper()]
    if len(words) >= MIN_HEADLINE_WORDS and len(capitals) > MAX_HEADLINE_SHARE * len(words):
        return []
    if len(words) <= 3 and len(capitals) == len(words):  # nothing but a name: its first word is one too
        inside = capitals if len(words) > 1 else []
    else:
        inside = [word for word in capitals if word["start"] is None]
    return [word for word in inside if word["word"].casefold() not in _NOT_NAMES]


def _has_name(name: str, text: str) -> bool:
    plain = name.casefold().removesuffix("'s").removesuffix("’s")
    if plain in text:
        return True
    stem = plain[: max(MIN_STEM_CHARACTERS, len(plain) - 3)]
    if len(plain) > MIN_STEM_CHARACTERS and re.search(rf"\b{re.escape(stem)}", text):
        return True
    if name.isupper() and len(name) <= 6:  # initials of words in a row
        return bool(re.search(r"\W+".join(rf"\b{re.escape(letter)}\w*" for letter in plain), text))
    return False


MIN_LANGUAGE_WORDS = 8
"""Of a text whose language is judged by its words."""
MIN_TELLING_CHARACTERS = 5
"""Shorter words are mostly articles and the like; a word in another script than plain Latin counts at any length."""
MIN_TELLING_WORDS = 2
MIN_TELLING_SHARE = 0.5
"""Of a question's telling words, that its passage must hold for the question to be about it."""
_TRANSLATES = "translat"


def language_mismatch(pair: Pair, passage: Passage) -> str | None:
    """A question or answer in another script than most of the passage, or in another language of Latin letters.

    What stands in the passage is a quotation from it, an answer with options is in the language of these, and a
    category of translations is meant to differ.
    """
    if _TRANSLATES in (pair.category or "").casefold():
        return None
    for text in (pair.question, "" if pair.options else pair.answer, pair.rationale or ""):
        found = script(text)
        if not found or not passage.script or overlap.share_found(text, passage.words) >= overlap.MIN_SUPPORTED_SHARE:
            continue
        if found != passage.script:
            return "language_mismatch"
        if found == "LATIN" and passage.language and len(overlap.words(text)) >= MIN_LANGUAGE_WORDS:
            language = languages.identify(text)
            if language is not None and language != passage.language:
                return "language_mismatch"
    return None


def near_duplicate(pair: Pair, passage: Passage) -> str | None:
    """A question that an earlier pair asks in nearly the same words, with nearly the same answer; the first is kept.

    Compared are the pairs of the passage, and with those of earlier passages the questions that name what their passage
    is about: "What is the main idea of the text?" may be asked of every passage, and be answered alike. So may a choice
    among labels, so that pairs with options are left alone.
    """
    if pair.options:
        return None
    said = passage.signature(pair)
    is_known = passage.said.holds(said) or (is_telling(pair, passage) and passage.seen.holds(said))
    return "near_duplicate" if is_known else None


def remember(pair: Pair, passage: Passage) -> None:
    """Let `near_duplicate` compare later pairs with this one."""
    if not pair.options:
        passage.said.add(passage.signature(pair))
        if is_telling(pair, passage):
            passage.seen.add(passage.signature(pair))


def is_telling(pair: Pair, passage: Passage) -> bool:
    """Whether a question names what its passage is about: most of its long words stand there."""
    telling = [
        word for word in overlap.words(pair.question) if len(word) >= MIN_TELLING_CHARACTERS or not word.isascii()
    ]
    known = frozenset(passage.words)
    found = sum(word in known for word in telling)
    return found >= MIN_TELLING_WORDS and found >= MIN_TELLING_SHARE * len(telling)
