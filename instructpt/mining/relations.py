"""Rules about how two things stand to each other: two sentences, two quantities."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from instructpt.mining.grammar import evidence, refers_back, shuffled, topic
from instructpt.mining.passage import View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

_CONNECTIVES = {
    "consequence": ("Therefore", "Thus", "Hence", "Consequently", "As a result", "As a consequence", "Accordingly"),
    "contrast": (
        "However",
        "In contrast",
        "By contrast",
        "Conversely",
        "On the contrary",
        "Nevertheless",
        "Nonetheless",
    ),
    "addition": ("Moreover", "Furthermore", "In addition", "Additionally"),
    "restatement": ("In other words", "That is", "Put differently", "That is to say"),
    "example": ("For example", "For instance"),
}
_RELATION = {
    "consequence": "It states a consequence of the first.",
    "contrast": "It stands in contrast to the first.",
    "addition": "It adds a further point.",
    "restatement": "It says the same in other words.",
    "example": "It gives an example.",
}
_LABEL = {
    "consequence": "Entailment",
    "restatement": "Entailment",
    "contrast": "Contradiction",
    "addition": "Neutral",
}
_KIND = {word: kind for kind, words in _CONNECTIVES.items() for word in words}
_OPENING = re.compile(rf"(?P<connective>{'|'.join(sorted(_KIND, key=len, reverse=True))}), (?P<rest>[^\n]{{15,300}})$")
_NEGATED = re.compile(r"\b(?:not|no|never|nor|cannot|without|neither|failed?|unlike)\b|n['\u2019]t\b")

_COMPARED = re.compile(
    r"(?P<one>[A-Z][^,;:()\"\u201c]{2,70}?) (?P<verb>is|are|was|were) (?:much |far |slightly |significantly "
    r"|considerably |generally |usually |often |even |a little |somewhat )?"
    r"(?P<more>(?:more|less) [a-z-]{3,16}|[a-z]{2,14}er|worse) (?P<than>than) "
    r"(?P<two>[^,;:()\"\u201c]{2,70}?)(?:[,;][^\n]*)?[.]$"
)
_NO_COMPARISON = frozenset(
    [
        "other",
        "rather",
        "never",
        "either",
        "neither",
        "under",
        "over",
        "whether",
        "further",
        "together",
        "later",
        "earlier",
        "sooner",
    ]
)
_PLAIN_SECOND = re.compile(r"(?:the|an?|that of|those|most|[A-Z])\b|[A-Z]")
_VAGUE = re.compile(
    r"(?:\d|expected|normal|average|usual|ever|before|previous|anticipated|any|all|most|what|it|that$|those$"
    r"|half|once|a few|we|I|you|usually|originally|one|two|three|the (?:average|rest|other)|in|at|on|for|to|by"
    r"|with|when|if|planned|others?|elsewhere|initially|necessary)\b"
)


@dataclass(frozen=True, slots=True)
class _Link:
    first: str
    second: str
    rest: str
    """The second sentence as it goes on after its connective."""
    connective: str


def connective(view: View, rng: random.Random) -> Iterator[Pair]:
    """Two sentences joined by "therefore", "however" and the like: how does the second relate to the first?"""
    for link in _links(view, rng):
        kind = _KIND[link.connective]
        form = rng.choice(("relation", "label", "word"))
        if form == "label" and (kind in _LABEL) and (kind != "contrast" or _opposed(link)):
            question = ask("connective", "label", rng, first=link.first, second=link.second)
            yield Pair(question, _LABEL[kind], ("Entailment", "Neutral", "Contradiction"))
        elif form == "word":
            others = [rng.choice(words) for other, words in _CONNECTIVES.items() if other != kind]
            options = shuffled(link.connective, others, rng)
            yield Pair(ask("connective", "word", rng, first=link.first, rest=link.rest), link.connective, options)
        else:
            options = shuffled(_RELATION[kind], _RELATION.values(), rng, most=rng.choice((3, 4)))
            rationale = ask("connective", "reason", rng, connective=link.connective) if rng.random() < 0.5 else None
            question = ask("connective", "relation", rng, first=link.first, second=link.second)
            yield Pair(question, _RELATION[kind], options, rationale)


def _links(view: View, rng: random.Random) -> Iterator[_Link]:
    for one, two in view.neighbours(rng):
        if "," not in two.text or two.quoted or one.quoted:
            continue
        match = _OPENING.match(two.text)
        if match is not None and _OPENING.match(one.text) is None:
            rest = match["rest"]
            yield _Link(one.text, rest[:1].upper() + rest[1:], rest, match["connective"])


def _opposed(link: _Link) -> bool:
    """Contrast is contradiction only in a wide sense; ask for one side to deny what the other affirms."""
    return (_NEGATED.search(link.first) is None) != (_NEGATED.search(link.second) is None)


def comparison(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "A is larger than B": which is larger, A or B?"""
    for sentence in view.from_anywhere(rng):
        if " than " not in sentence.text or sentence.quoted:
            continue
        match = _COMPARED.match(sentence.text)
        if (
            match is None
            or not _PLAIN_SECOND.match(match["two"])
            or match["more"] in _NO_COMPARISON
            or _VAGUE.match(match["two"])
            or refers_back(match["two"])
        ):
            continue
        one = topic(match["one"], view)
        two = topic(match["two"], view) if match["two"][:4] not in ("that", "thos") else match["two"]
        if (
            one is None
            or two is None
            or re.match(r"more than|less than|[a-z]+ (?:likely|often)|older than", match["more"])
            or " to " in f"{two} "
        ):
            continue
        options = (one, two) if rng.random() < 0.5 else (two, one)
        question = ask(
            "comparison", "choice", rng, verb=match["verb"], more=match["more"], one=options[0], two=options[1]
        )
        yield Pair(question, one, options, evidence(sentence.text, rng) if rng.random() < 0.3 else None)
