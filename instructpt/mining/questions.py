"""Rules that ask who, what and which, where the shape of a sentence is certain.

    The tailbone          is           the small bone at the bottom of your spine.
    subject               auxiliary    predicate

    definition     How does the passage describe the tailbone?   ->  The small bone at the bottom of your spine.
    who_or_what    Who or what is the small bone at ...?         ->  The tailbone

    "Go on,"  said  Mrs. Townsend, impatiently.         speaker  Who says "Go on"?  ->  Mrs. Townsend

The subject is all that stands before the first auxiliary. That holds only for short ones, without a pronoun, a
conjunction, a preposition of time or a verb that takes a clause ("Smith said prices were low").
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from instructpt.mining.english import FUNCTION_WORDS, NOT_NAMES, ask, stands_alone
from instructpt.mining.passage import PassageView
from instructpt.records import Pair

MAX_SUBJECT_WORDS = 8
MIN_PREDICATE_WORDS = 5
MAX_PREDICATE_CHARACTERS = 240

_CLAUSE = re.compile(
    r"(?P<subject>[A-Z\u00c0-\u00de][^,;:()\"\u201c\u2014?!]{1,80}?)(?: \([^()]{1,60}\))? "
    r"(?P<auxiliary>is|are|was|were|has|have|had|can|cannot|could|may|might|must|shall|should|will|would) "
    rf"(?P<predicate>[^;\"\u201c?!]{{12,{MAX_PREDICATE_CHARACTERS}}})[.]$"
)
_NO_SUBJECT = re.compile(
    r"\b(?:i|we|you|they|he|she|it|my|our|your|their|his|her|its|this|that|these|those|there|here|who|whom|whose|which"
    r"|what|when|where|why|how|if|and|or|but|nor|so|as|than|because|since|while|although|though|unless|until"
    r"|today|yesterday|tomorrow|now|then|days?|weeks?|months?|years?|quarters?|centur(?:y|ies)|mornings?|evenings?"
    r"|nights?|seasons?|times?|ago|once|do|does|did|not|no|none|all|both|each|most|many|some|few|several|same|such"
    r"|any|latter|former|other|others|another|rest|only|even|also|just|indeed|maybe|perhaps|slide"
    r"|(?:say|think|believe|hope|know|show|suggest|find|feel|expect|assume|mean|suppose|guess|see|indicate|report"
    r"|claim|ensure|wish|fear|imagine|understand|note|state|argue|conclude|reveal|demonstrate|hear|estimate|confirm"
    r"|tell|agree|add|write)(?:s|d|ed|ing)?|said|thought|knew|shown|found|felt|meant|saw|heard|told|wrote)\b",
    re.IGNORECASE,
)
_OPENS_ADVERB = re.compile(
    r"\w+ly\b|(?:January|February|March|April|May|June|July|August|September|October|November)\b"
)
_NO_PREDICATE = re.compile(
    r"(?:that|because|why|how|what|when|where|whether|to|as follows|also|therefore|thus|however|then|so|such|not|only"
    r"|always|never|true|clear|likely|due|been|being|given|shown|listed|described|presented|followed by)\b"
)
_NEW_CLAUSE = re.compile(
    r", (?:and|but|so|yet|while|whereas|although|though|if you|as you|as I)\b|\bI\b"
    r"|\b(?:and|but|so|yet) (?:we|you|they|he|she|it|there|this|[A-Z]\S+ (?:\w+ed|was|were|is|are|had|has|did))\b"
)
"""What follows may say something of another subject."""
_DESCRIBES = re.compile(
    r"(?:an?|the|one of) (?!(?:very |really |more )?(?:same|result|reason|matter|following|first|only|most|best"
    r"|important|significant|serious|major|great|good|big|key|main|creation|part|bit|lot|little|driver|problem|question)\b)\w"
)
_MEANS = re.compile(
    r"[\"\u201c](?P<term>[^\"\u201c\u201d\n]{2,60})[\"\u201d] (?:means|shall mean) "
    r"(?P<body>(?!the same|what|any of|one or)(?:[^\n;:.]|\.(?! [A-Z(])(?!$)){20,300})[;.]$",
    re.MULTILINE,
)
_BARE = re.compile(
    r"(?:The |An? )?(?:(?:main|primary|first|second|third|final|last|other|major|key|next|whole|common) )*"
    r"(?:aim|objective|purpose|goal|result|reason|question|problem|thing|way|point|case|fact|idea|answer|issue"
    r"|difference|example|number|cause|effect|part|one|place|data|outcomes?|method)\b",
    re.IGNORECASE,
)
_SAID = (
    "said|says|replied|cried|asked|answered|exclaimed|shouted|whispered|murmured|remarked|returned|continued|added"
    "|observed|muttered|called|repeated"
)
_SPEECH = re.compile(
    r"[\"\u201c](?P<quote>[A-Z][^\"\u201c\u201d]{8,200}[,!?])[\"\u201d] "
    rf"(?:{_SAID}) (?P<name>(?:(?:Mr|Mrs|Dr|Ms)\. |(?:Miss|Sir|Lady|Lord|Captain|Uncle|Aunt|Father|Mother|Colonel) )?"
    r"[A-Z][a-z\u00e0-\u00ff]{2,}(?: [A-Z][a-z\u00e0-\u00ff]+)?)(?=[.,;:]| (?:to|with|in|as|from|at|after|who)\b)"
)


class _Clause(NamedTuple):
    subject: str
    auxiliary: str
    predicate: str


def _clause(text: str, *, view: PassageView) -> _Clause | None:
    """The sentence in its three parts; None where that is not certain."""
    match = _CLAUSE.match(text) if stands_alone(text) else None
    if match is None:
        return None
    subject, words = match["subject"], match["subject"].split()
    if len(words) > MAX_SUBJECT_WORDS or words[0].lower() in FUNCTION_WORDS or _OPENS_ADVERB.match(subject):
        return None
    if (
        len(words) > len(set(words))
        or _NO_SUBJECT.search(subject)
        or words[-1].lower() in FUNCTION_WORDS
        or subject[-1] in "'\u2019-"
    ):
        return None
    predicate = match["predicate"]
    if len(predicate.split()) < MIN_PREDICATE_WORDS or _NO_PREDICATE.match(predicate) or _NEW_CLAUSE.search(predicate):
        return None
    return _Clause(_inside(subject, view), match["auxiliary"], predicate)


def _inside(subject: str, view: PassageView) -> str:
    """The subject as it is spelled inside a sentence: its first letter lowered, where that word occurs so."""
    first = subject.split(" ", 1)[0]
    known = first in ("The", "A", "An") or first.lower() in view.words
    return subject[0].lower() + subject[1:] if known else subject


def _raised(text: str) -> str:
    return text[0].upper() + text[1:]


def who_or_what(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """A sentence whose subject is asked for: who or what is, has or can do something."""
    for sentence in view.from_anywhere(rng):
        clause = None if sentence.quoted else _clause(sentence.text, view=view)
        if clause is None or clause.auxiliary in ("are", "were", "have") or _BARE.match(clause.subject):
            continue
        said = f"{clause.auxiliary} {clause.predicate}"
        yield Pair(ask("who_or_what", "free", rng, said=said), _raised(clause.subject), span=sentence.span)


def definition(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """ "X is a ...": how does the passage describe X? A statute's '"X" means ...': what does it mean by X?"""
    for match in _MEANS.finditer(view.text) if "mean" in view.text else ():
        question = ask("definition", "meaning", rng, term=match["term"])
        yield Pair(question, f"{_raised(match['body'])}.", span=match.span())
    for sentence in view.from_anywhere(rng):
        clause = None if sentence.quoted else _clause(sentence.text, view=view)
        if clause is None or clause.auxiliary not in ("is", "are", "was", "were") or _BARE.match(clause.subject):
            continue
        if _DESCRIBES.match(clause.predicate):
            question = ask("definition", "free", rng, term=clause.subject, verb=clause.auxiliary)
            yield Pair(question, f"{_raised(clause.predicate)}.", span=sentence.span)


def speaker(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """ "...," said X: who says it?"""
    for sentence in view.from_anywhere(rng):
        match = None if sentence.quoted else _SPEECH.match(sentence.text)
        if match is not None and match["name"] not in NOT_NAMES and match["name"] not in match["quote"]:
            quote = match["quote"].rstrip(",")
            yield Pair(ask("speaker", "free", rng, quote=quote), match["name"], span=sentence.span)
