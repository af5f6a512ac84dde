"""The little English that the rules share: what can be asked about, what stands alone, numbers and names.

There is no parser here. A rule cuts a sentence with a pattern, and these functions say whether a piece can be trusted
to be a noun phrase, or a statement that is understood without its neighbours. When in doubt they say no.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from instructpt.mining.lexicon import (
    COMMON_FIRST_WORDS,
    DANGLING,
    FUNCTION_WORDS,
    INSIDE_CLAUSES,
    NOT_ADVERBS,
    NOT_NAMES,
    PRONOUNS,
    REFERS_BACK,
    SUBORDINATE,
)
from instructpt.mining.passage import View
from instructpt.mining.phrases import EVIDENCE, ask

NUMBER = (
    r"(?:[$\u00a3\u20ac]\s?)?\d+(?:,\d+)*(?:\.\d+)?(?:\s?%| percent| per cent)?"
    r"(?: (?:thousand|million|billion|trillion))?"
)
COUNT = (
    r"(?:(?:\d{1,3}(?:,\d{3})+|\d+|[Tt]wo|[Tt]hree|[Ff]our|[Ff]ive|[Ss]ix|[Ss]even|[Ee]ight|[Nn]ine|[Tt]en|[Ee]leven"
    r"|[Tt]welve)"
    r"(?: (?:hundred|thousand|million|billion))?)"
)
ABOUT = (
    r"(?:(?:about|approximately|around|roughly|nearly|almost|over|more than|less than|fewer than|at least|up to"
    r"|only|some) )?"
)
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
DATE = (
    rf"(?:{MONTH} \d{{1,2}}(?:st|nd|rd|th)?, \d{{4}}|\d{{1,2}} {MONTH} \d{{4}}|{MONTH},? \d{{4}}"
    rf"|1[0-9]\d\d|20\d\d)(?![\d%,.]\d|[-/\u2013%]|s\b)"
)
PERSON = (
    r"(?:(?:Mr|Mrs|Ms|Dr|St|M|Mme)\. )?[A-Z][\w'\u2019-]+(?: (?:(?:de|von|van|of|the) )?[A-Z][\w'\u2019-]*\.?){0,3}"
)

_ADVERB = re.compile(r"[A-Z][a-z]+ly$")
_COMMON_ENDING = re.compile(r"(?:tions?|ments?|ness|ings|ance|ency|ities|ters|sors)$")
_PUNCTUATION = re.compile(r"[,;:()\"\u201c\u201d?!\u2014]|--")
_LEANS_BACK = re.compile(
    r"In (?:other words|addition|contrast|this|these|that|those|such|turn|fact)|As a result|As (?:such|this)"
    r"|For (?:ex|this|these|ins)|On the (?:other|contrary)|By contrast|That is|Even |(?:At|To|After|During|With"
    r"|From|On|Of|By|Because of|If|When|While|Since) (?:this|that|these|those|the same|it|they|he|she|so|such)\b"
)
_NEW_CLAUSE = re.compile(
    r",? (?:and|but) (?:(?:is|are|was|were|has|have|had|can|may|will|did|does) |in \w+ing )|, (?:while|whereas"
    r"|but|although|though|so) "
)
_LABELLED = re.compile(
    r"(?:\b(?:[Tt]ables?|[Ff]igs?\.?|[Ff]igures?|[Ss]ections?|[Ss]ubsections?|[Pp]aragraph|[Cc]hapter|Title|Nos?\."
    r"|[Ss]tep|Part|[Pp]hase|[Tt]ypes?|[Cc]lass|[Gg]rade|[Ss]tage|[Cc]hromosome|[Ll]evel|[Gg]roups?|[Vv]ersion"
    r"|[Pp]atent|Law|Act|Code"
    rf"|[Ss]lide|pages?|CI|and|to|by|or|between|EUR|USD|{MONTH})|\u00a7|[=<>\u00b1]|D\.C\.)[ (]*$"
)
_LOWER_CASE_WORD = re.compile(r"(?<![\w-])[a-z\u00e0-\u00ff]{5,}(?![\w-])")


def topic(phrase: str, view: View, *, max_words: int = 12) -> str | None:
    """`phrase`, from the start of a sentence, as a subject inside a question; None if it may not be a noun phrase.

    Its first letter is lowered if the passage spells that word in lower case too.
    """
    words = phrase.split()
    if not 1 <= len(words) <= max_words or _PUNCTUATION.search(phrase) or phrase in NOT_NAMES:
        return None
    first = words[0].lower()
    if first in REFERS_BACK or first in SUBORDINATE or (_ADVERB.match(words[0]) and words[0] not in NOT_ADVERBS):
        return None
    if (
        any(word.lower() in INSIDE_CLAUSES for word in words)
        or words[-1].lower() in DANGLING
        or phrase[-1] in "-\u2013'\u2019"
    ):
        return None
    return lower_first(phrase, view)


def lower_first(phrase: str, view: View) -> str:
    """Lower the first letter, unless the word may be a name or an abbreviation."""
    first = phrase.split(" ", 1)[0]
    lowered = first.lower()
    if len(first) > 1 and not first[1:].islower():
        return phrase
    second = phrase[len(first) + 1 : len(first) + 2]
    if lowered not in COMMON_FIRST_WORDS and second.isupper():
        return phrase  # "Football Club St. Gallen"
    number = lowered.removesuffix("s") if lowered.endswith("s") else f"{lowered}s"
    known = lowered in COMMON_FIRST_WORDS or lowered in view.words or number in view.words
    common = known or _COMMON_ENDING.search(lowered) is not None
    return lowered + phrase[len(first) :] if common else phrase


def stands_alone(statement: str) -> bool:
    """Whether a statement is understood without the sentence before it. "We" may speak, "it" and "he" may not."""
    first = statement.split(" ", 1)[0]
    word = re.split(r"[,'\u2019]", first.lower(), maxsplit=1)[0]
    if word in REFERS_BACK or '"' in statement or "\u201c" in statement:
        return False
    return _LEANS_BACK.match(statement) is None


def is_label(text: str, start: int) -> bool:
    """Whether the number at `start` is a label, a day or the end of a range rather than a quantity."""
    return _LABELLED.search(text, max(0, start - 14), start) is not None


def refers_back(words: str) -> bool:
    """Whether a word in `words` stands for something said elsewhere."""
    return words.lower().startswith("that ") or any(word.strip(".,;").lower() in PRONOUNS for word in words.split())


def before_new_clause(phrase: str) -> str:
    """The phrase up to an "and is", "and has"...: what follows belongs to the sentence, not to the phrase."""
    return _NEW_CLAUSE.split(phrase, maxsplit=1)[0]


def sentence_case(text: str) -> str:
    """First letter raised, a full stop at the end if there is none."""
    text = text.strip().rstrip(",;")
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", '."', ".\u201d")) else f"{text}."


def content_words(text: str) -> list[str]:
    """Words of five letters and more that are spelled in lower case, in order, function words left out."""
    return [word for word in _LOWER_CASE_WORD.findall(text) if word not in FUNCTION_WORDS]


def shuffled(answer: str, others: Iterable[str], rng: random.Random, *, most: int = 4) -> tuple[str, ...]:
    """The answer among drawn others, at most `most` in all, in a drawn order; () if there would be fewer than three."""
    pool = list(dict.fromkeys(other for other in others if not _same(other, answer)))
    if len(pool) < 2:
        return ()
    options = [answer, *rng.sample(pool, min(most - 1, len(pool)))]
    rng.shuffle(options)
    return tuple(options)


def evidence(sentence: str, rng: random.Random) -> str:
    """A rationale that quotes the sentence an answer rests on."""
    return ask(EVIDENCE, "quote", rng, sentence=sentence.replace('"', "'"))


def join(items: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else items[0]


def _same(one: str, two: str) -> bool:
    one, two = one.casefold(), two.casefold()
    return one in two or two in one
