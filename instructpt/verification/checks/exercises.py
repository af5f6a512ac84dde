"""Checks of exercises that carry their own key: a gap, a list of words to use, a statement to judge, a sum to do.

    passage    "The railway reached Tessing in 1859."
    gap        "The railway reached ____ in 1859."     answer "Arvelund"      wrong_gap
    words      ... using "railway" and "salt"          answer without "salt"  words_not_used
    verdict    "The railway reached Tessing in 1895."  answer "True"          wrong_verdict
    problem    "1901 - 1859 = 52"                                             wrong_arithmetic

They judge only what is near enough to the passage's own words to be judged, and pass everything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from operator import ne

from instructpt.records import Pair
from instructpt.verification.checks.passage import Passage
from instructpt.words import overlap

NUM_CONTEXT_WORDS = 3
"""On either side of a gap: so many words are looked for in the passage."""
MIN_STATEMENT_WORDS = 6
MAX_CHANGED_WORDS = 2
"""A statement that is a stretch of the passage but for so many words says something else."""

_GAP = re.compile(r"_{2,}")
_GAP_CATEGORY = re.compile(r"\b(?:blank|gap|cloze)\b")
_WORDS_CATEGORY = re.compile(r"\bwords? to sentence\b")
_QUOTED = re.compile(r"[\"“]([^\"“”]{1,40})[\"”]")
_YES, _NO = frozenset({"true", "yes", "correct", "right"}), frozenset({"false", "no", "incorrect", "wrong"})
_EQUATION = re.compile(
    r"(?<![\d.,])(\d[\d,.]*)\s*([-+−–*×x·/÷])\s*(\d[\d,.]*)\s*=\s*(\d[\d,.]*\d|\d)(?![\d%])(?!\s*[-+−–*×x·/÷])"
)
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n")


def wrong_gap(pair: Pair, passage: Passage) -> str | None:
    """A gap in a sentence of the passage, filled with something else than the passage has there; a gap that is missing.

    That there must be a gap is asked of categories that are named after one, such as "fill the blank"; in an answer
    there must be none.
    """
    gap = _GAP.search(pair.question)
    if _GAP.search(pair.answer) and not _GAP.search(passage.document.text):
        return "wrong_gap"
    if gap is None:
        return "wrong_gap" if _GAP_CATEGORY.search((pair.category or "").casefold()) else None
    before = overlap.words(pair.question[: gap.start()])[-NUM_CONTEXT_WORDS:]
    after = overlap.words(pair.question[gap.end() :])[:NUM_CONTEXT_WORDS]
    filled = overlap.words(pair.answer)
    words = passage.words
    places = [place for place in range(len(words)) if words[place : place + len(after)] == after] if after else []
    known = False
    for place in range(len(words) - len(before) + 1) if len(before) == NUM_CONTEXT_WORDS else ():
        if words[place : place + len(before)] == before:
            start = place + len(before)
            ends = [end for end in places if start < end <= start + 12] if after else [start + len(filled)]
            known = known or bool(ends)
            if any(words[start:end] == filled for end in ends):
                return None
    return "wrong_gap" if known else None


def words_not_used(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A sentence that is to use words which the question quotes, and lacks one of them."""
    if not _WORDS_CATEGORY.search((pair.category or "").casefold()):
        return None
    asked = [word for quoted in _QUOTED.findall(pair.question) for word in overlap.words(quoted)]
    used = {form for word in overlap.words(pair.answer) for form in (word, re.sub(r"['’]s?$", "", word))}
    return "words_not_used" if any(word not in used for word in asked) else None


def wrong_verdict(pair: Pair, passage: Passage) -> str | None:
    """A statement that the passage makes and that is called false, or called true with a word or two changed."""
    answer = pair.answer.strip(" .!").casefold()
    others = {option.strip(" .!").casefold() for option in pair.options}
    if not (others & _YES and others & _NO) or answer not in _YES | _NO:
        return None
    found = [
        changed
        for part in _SENTENCE_END.split(pair.question)
        if len(statement := overlap.words(part)) >= MIN_STATEMENT_WORDS
        and (changed := _num_changed(statement, passage.words)) <= MAX_CHANGED_WORDS
    ]
    if not found:
        return None
    return "wrong_verdict" if answer in (_YES if max(found) else _NO) else None


def wrong_arithmetic(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """An equation in a rationale or answer that does not hold, to a hundredth, however its numbers are read."""
    for left, sign, right, result in _EQUATION.findall(f"{pair.rationale or ''}\n{pair.answer}"):
        values = [_values(number) for number in (left, right, result)]
        if all(values) and not any(
            abs(found - said) <= abs(said) / 100
            for a in values[0]
            for b in values[1]
            for said in values[2]
            if (found := _calculated(a, sign, b)) is not None
        ):
            return "wrong_arithmetic"
    return None


def _values(number: str) -> list[Decimal]:
    """What a number may mean, its comma and full stop read either way."""
    plain = number.rstrip(".,")
    spellings = {plain.replace(",", ""), plain.replace(".", "").replace(",", "."), plain.replace(",", ".")}
    found = []
    for spelling in sorted(spellings):
        try:
            found.append(Decimal(spelling))
        except InvalidOperation:
            continue
    return found


def _calculated(a: Decimal, sign: str, b: Decimal) -> Decimal | None:
    if sign == "+":
        return a + b
    if sign in "-−–":
        return a - b
    if sign in "*×x·":
        return a * b
    return a / b if b else None


def _num_changed(statement: Sequence[str], words: Sequence[str]) -> int:
    """In how many words a statement differs from the stretch of the passage that it is most like."""
    size = len(statement)
    least = size
    # Of three thirds, one at least is as it was if no more than two words are changed.
    for part in range(MAX_CHANGED_WORDS + 1):
        first, last = part * size // (MAX_CHANGED_WORDS + 1), (part + 1) * size // (MAX_CHANGED_WORDS + 1)
        sought = statement[first:last]
        for place, word in enumerate(words[first : len(words) - size + first + 1]):
            if word == sought[0] and words[place + first : place + last] == sought:
                least = min(least, sum(map(ne, statement, words[place : place + size])))
    return min(least, 1) if least and _has_one_more_or_less(statement, words) else least


def _has_one_more_or_less(statement: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a statement is a stretch of the passage but for one word that was put in or left out, such as "not"."""
    size = len(statement)
    for place, word in enumerate(words):
        if word == statement[0]:
            here = words[place : place + size + 1]
            same = next((n for n, (a, b) in enumerate(zip(statement, here, strict=False)) if a != b), 0)
            if same and (statement[same + 1 :] == here[same : size - 1] or statement[same:] == here[same + 1 :]):
                return True
    return False
