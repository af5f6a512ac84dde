"""Rules about what brings about what: causes, conditions, purposes."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from instructpt.mining.grammar import (
    before_new_clause,
    evidence,
    refers_back,
    sentence_case,
    shuffled,
    stands_alone,
    topic,
)
from instructpt.mining.passage import View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

_BECAUSE = re.compile(
    r"(?P<effect>[A-Z][^;:\"\u201c]{15,160}?),? "
    r"(?P<cause>because (?:of )?(?!if |when |as |while |although )[^;:\"\u201c]{10,180})[.]$"
)
_BECAUSE_FIRST = re.compile(r"(?P<cause>Because (?:of )?[^,;:\"\u201c]{8,140}), (?P<effect>[^;:\"\u201c]{15,180})[.]$")
_HEDGED = re.compile(
    r"(?:not|n't|n\u2019t|just|only|simply|merely|solely|chiefly|partly|part|mainly|largely|primarily|that|is|was|are"
    r"|were|and|or|but|be|it's|it\u2019s|probably|perhaps|possibly|especially|particularly)$"
)
_NO_CLAUSE = re.compile(
    r"(?:Since|If|As|When|While|Although|Though|Even|Unless|Once|Until|Not|And|That|Which|Whether"
    r"|To|For|Regarding|Obviously|The \w+ (?:that|who|which))\b|\w+ and \w+,|\w+,? and |\w+, \w+,"
)
_DUE_TO = re.compile(
    r"(?P<effect>[A-Z][^,;:\"\u201c]{3,90}?) (?P<verb>is|are|was|were) (?:primarily |mainly |largely |partly "
    r"|mostly |often |usually |generally |also )?"
    r"(?P<link>due to|caused by|driven by|the result of) (?P<cause>[^;:\"\u201c]{4,160}?)[.]$"
)
_LEADS_TO = re.compile(
    r"(?P<cause>[A-Z][^,;:\"\u201c]{3,90}?) (?P<helper>(?:can|may|could|might|will|would) (?:also |often "
    r"|eventually )?)?"
    r"(?P<verb>leads? to|led to|results? in|resulted in|causes?|caused) (?P<effect>[^;:\"\u201c]{6,160})[.]$"
)
_FOLLOWS = re.compile(
    r"(?:Therefore|As a result|Consequently|As a consequence|For this reason|Accordingly|Hence"
    r"|Thus), (?P<effect>[^;\"\u201c]{15,250})[.]$"
)
_IF = re.compile(r"If (?P<case>[^,;:\"\u201c]{8,150}), (?:then )?(?P<outcome>[^;:\"\u201c?]{12,220})[.]$")
_NO_CASE = re.compile(
    r"(?:so|not|and|any|is|are|necessary|possible|only|[a-z]+ed|you (?:look|go|think|recall|were|remember|ask"
    r"|will|take|see|want|just|would)|(?:you|it|that|he|she|they|we|there)['\u2019]\w+|there (?!(?:is|are|was"
    r"|were) (?:an?|no|any|more|not)\b))\b"
)
_NO_OUTCOME = re.compile(
    r"^(?:or|and|which|how|in whole|to|by|as|but|that is|taking|well|what|when|if|who|we think|I think)\b"
    r"|, (?:it|he|she|we|they|you|I|the|there|a|an|each|this) ",
    re.IGNORECASE,
)
"""The comma after "If ..." was not the one before the main clause, or no main clause follows."""
_AIM = re.compile(
    r"(?P<topic>The (?:(?:main|primary|overall|principal|secondary|specific|general|first) )?(?:purpose|aim|goal"
    r"|objective)s? of [^,;:\"\u201c]{4,90}?) "
    r"(?P<verb>is|was|are|were) (?P<aim>to [^;:\"\u201c]{12,260})[.]$"
)
_IN_ORDER_TO = re.compile(r"(?P<means>[A-Z][^;:\"\u201c]{15,160}?),? (?P<aim>in order to [^;:\"\u201c]{8,160})[.]$")


def cause_and_effect(view: View, rng: random.Random) -> Iterator[Pair]:
    """Why something is so, what something leads to, what came of what the sentence before says."""
    for i, sentence in enumerate(view.from_anywhere(rng)):
        text = sentence.text
        if sentence.quoted:
            continue
        if "ecause " in text:
            yield from _because(text, rng)
        if " due to " in text or " by " in text or " the result of " in text:
            yield from _due_to(text, view, rng)
        if " caus" in text or " le" in text or " result" in text:
            yield from _leads_to(text, view, rng)
        if i == 0:
            yield from _follows(view, rng)


def _because(text: str, rng: random.Random) -> Iterator[Pair]:
    match = _BECAUSE.match(text) or _BECAUSE_FIRST.match(text)
    if match is None or text.lower().count("because") > 1 or _HEDGED.search(match["effect"]):
        return
    effect = sentence_case(match["effect"])
    if _NO_CLAUSE.match(effect) or re.search(r" (?:do|did|does|done|doing) (?:so|this|that|it)\b", effect):
        return
    if (
        stands_alone(effect)
        and not refers_back(" ".join(effect.split()[:2]).replace("We", ""))
        and len(effect.split()) > 3
    ):
        yield Pair(ask("cause_and_effect", "why", rng, effect=effect), sentence_case(match["cause"]))


def _due_to(text: str, view: View, rng: random.Random) -> Iterator[Pair]:
    match = _DUE_TO.match(text)
    if match is None or refers_back(" ".join(match["cause"].split()[:2])):
        return
    effect = topic(match["effect"], view, max_words=14)
    if effect is not None:
        yield Pair(
            ask("cause_and_effect", "due", rng, verb=match["verb"], effect=effect, link=match["link"]),
            sentence_case(before_new_clause(match["cause"])),
        )


def _leads_to(text: str, view: View, rng: random.Random) -> Iterator[Pair]:
    match = _LEADS_TO.match(text)
    cause = None if match is None else topic(match["cause"], view, max_words=14)
    if match is None or cause is None or refers_back(" ".join(match["effect"].split()[:2])):
        return
    verb, helper = match["verb"], (match["helper"] or "").strip()
    first = verb.split()[0]
    if not helper:
        helper = "did" if first in ("led", "resulted", "caused") else "does" if first.endswith("s") else "do"
    base = {"l": "lead to", "r": "result in", "c": "cause"}[verb[0]]
    if first == "caused" and re.match(r"(?:by|in)\b", match["effect"]):
        return
    if first in ("cause", "result", "lead") and helper == "do" and not re.search(r"s\b|people|children|men", cause):
        return  # "the underlying cause", a noun
    yield Pair(
        ask("cause_and_effect", "effect", rng, helper=helper, cause=cause, base=base),
        sentence_case(before_new_clause(match["effect"])),
    )


def _follows(view: View, rng: random.Random) -> Iterator[Pair]:
    for one, two in view.neighbours(rng):
        match = _FOLLOWS.match(two.text)
        if match is None or one.quoted or not stands_alone(one.text):
            continue
        others = [s.text for s in view.sentences if s not in (one, two) and stands_alone(s.text)]
        effect = sentence_case(match["effect"])
        options = shuffled(effect, others, rng) if rng.random() < 0.5 else ()
        rationale = evidence(f"{one.text} {two.text}", rng) if options and rng.random() < 0.5 else None
        yield Pair(ask("cause_and_effect", "consequence", rng, cause=one.text), effect, options, rationale)


def condition(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "If X, Y.": what is said about the case in which X?"""
    for sentence in view.from_anywhere(rng):
        if sentence.text.startswith("If ") and not sentence.quoted and (match := _IF.match(sentence.text)):
            case = match["case"]
            unclear = refers_back(" ".join(case.split()[:2]).replace("you", "")) or _NO_CASE.match(case)
            if not unclear and len(case.split()) > 2 and not _NO_OUTCOME.search(match["outcome"]):
                yield Pair(ask("condition", "free", rng, case=case), sentence_case(match["outcome"]))


def purpose(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "The aim of X is to Y.", "X in order to Y.": what is it for?"""
    for sentence in view.from_anywhere(rng):
        text = sentence.text
        if sentence.quoted:
            continue
        if text.startswith("The ") and (match := _AIM.match(text)):
            subject = "t" + match["topic"][1:]
            yield Pair(ask("purpose", "aim", rng, topic=subject, verb=match["verb"]), sentence_case(match["aim"]))
        elif " in order to " in text and (match := _IN_ORDER_TO.match(text)):
            means = sentence_case(match["means"])
            if stands_alone(means) and " not" not in means and len(means.split()) > 3:
                yield Pair(ask("purpose", "means", rng, means=means), sentence_case(match["aim"]))
