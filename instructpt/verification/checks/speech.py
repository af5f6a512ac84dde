"""Checks that pair and passage speak the same language, and that a pair says something new."""

from __future__ import annotations

from instructpt.records import Pair
from instructpt.verification.checks.passage import Passage, script
from instructpt.words import languages, overlap

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
            language = languages.identify(text).language
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
