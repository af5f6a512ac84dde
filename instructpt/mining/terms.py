"""Rules about terms: what something is, what an abbreviation stands for, what belongs to a kind."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from instructpt.mining.grammar import (
    before_new_clause,
    lower_first,
    refers_back,
    sentence_case,
    shuffled,
    stands_alone,
    topic,
)
from instructpt.mining.lexicon import NO_KINDS, NOT_IN_A_KIND
from instructpt.mining.passage import View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

_IS_A = re.compile(
    r"(?P<term>[A-Z][^,;:()\"\u201c]{1,70}?) (?P<verb>is|are|was|were) (?P<body>(?:an?|the|one of the"
    r"|any) [^;]{20,260})[.]$"
)
_REFERS_TO = re.compile(
    r"(?P<term>[A-Z][^,;:()\"\u201c]{1,70}?) (?:broadly |usually |generally |commonly )?"
    r"(?P<verb>refers? to|(?:is|are) defined as|denotes?) (?P<body>[^;]{12,260})[.]$"
)
_STATUTE = re.compile(
    r"[\"\u201c](?P<term>[^\"\u201c\u201d\n]{2,60})[\"\u201d] (?P<verb>means|shall mean) "
    r"(?P<body>[^\n;:]{12,400})[;.]$",
    re.MULTILINE,
)
_SAYS_LITTLE = re.compile(
    r"(?:an?|the|one of the|any) (?:\w+ly |very |more |most |really |pretty |so )*(?:major|key|common|good|great"
    r"|big|huge|little|bit|few|lot|result|matter|number|same|only|reason|way|time|place|cause|case|need|fact|one"
    r"|first|second|third|last|next|best|positive|negative|driver|most (?:by|in)|following|latter|former"
    r"|possibility|problem|question|thing|trend|risk|difference|increase|decrease|reduction|variety|range|series"
    r"|total|other|subject|median|mean|average|main|primary|concern|challenge|important|significant|strong"
    r"|similar|different|high|low|higher|lower|larger|smaller)\b"
)
_SPECIFIES = re.compile(
    r" (?:that|which|who|whose|of|in|used|for|with|by|from|located|found|caused|made|where|consisting|between|to) "
)
_GENERIC = re.compile(
    r"(?:the |a |an |one )?(?:(?:main|primary|first|second|third|final|last|other|most|best|only|major|key|next"
    r"|great|whole|latter|former|common|important) )*(?:goal|aim|objective|purpose|result|reason|question"
    r"|problem|thing|way|time|point|case|fact|rest|idea|answer|issue|method|data|outcome|difference|outlook"
    r"|example|number|cause|effect|part|one|day|night|place|man|woman|people|story|second|limitation|strength"
    r"|advantage|disadvantage|intervention|control|sample|study|trial|treatment|hypothesis|response|guy"
    r"|comparator"
    r"|endpoint|end point)s?\b",
    re.IGNORECASE,
)
_PEOPLE = re.compile(
    r"(?:an?|the) (?:[\w\u2019'-]+,? ){0,5}?(?:actor|actress|politician|player|writer|author|king|queen|singer"
    r"|poet|painter|footballer|lawyer|engineer|physician|scientist|historian|philosopher|composer|musician"
    r"|emperor|bishop|saint|director|officer|general|president|minister|governor|professor|novelist|journalist"
    r"|swimmer|runner|wrestler|boxer|driver|coach|manager|son|daughter|brother|sister|wife|husband|merchant"
    r"|explorer|architect|captain|artist|member|man|woman|character|knight|prince|princess|quarterback|pitcher"
    r"|cyclist|skater|racer|champion|astronomer|mathematician|economist|businessman|entrepreneur)\b"
)
_SHORT_FORM = re.compile(r"\(([A-Z][A-Za-z0-9-]{1,9})\)")
_SUCH_AS = re.compile(
    r"(?P<before>[\w\u2019' -]{3,80}?),? (?:such as|including) (?P<items>[^,;:()\"]{2,50}(?:, "
    r"[^,;:()\"]{2,50}){1,6},? (?:and|or) [^,;:()\"]{2,50})(?=[.;])"
)
_INCLUDE = re.compile(
    r"(?P<whole>[A-Z][^,;:()\"]{2,80}?) (?P<verb>includes?|included|consists? of|consisted of|comprises?|comprised) "
    r"(?P<items>[^,;:()\"]{2,60}(?:, [^,;:()\"]{2,60}){1,6},? (?:and|or) [^,;:()\"]{2,60})[.]$"
)


@dataclass(frozen=True, slots=True)
class _Definition:
    term: str
    verb: str
    body: str


def definition(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "X is a ...", "X refers to ...", a statute's '"X" means ...': what is X? Or which term is described so?"""
    names = [name for name in view.names if len(name) > 3]
    for found in _definitions(view, rng):
        body = sentence_case(found.body)
        if found.verb == "means":
            yield Pair(ask("definition", "meaning", rng, term=found.term), body)
            continue
        terms = [name for name in names if (" " in name) == (" " in found.term)]
        options = shuffled(found.term, terms, rng) if rng.random() < 0.4 and found.term[0].isupper() else ()
        if options and not any(word in found.body for word in found.term.split() if len(word) > 3):
            yield Pair(ask("definition", "term", rng, body=found.body), found.term, options)
        elif found.verb in ("is", "are", "was", "were"):
            form = "person" if found.term[0].isupper() and _PEOPLE.match(found.body) else "free"
            yield Pair(ask("definition", form, rng, term=found.term, verb=found.verb), body)
        else:
            yield Pair(ask("definition", "meaning", rng, term=found.term), body)


def _definitions(view: View, rng: random.Random) -> Iterator[_Definition]:
    if "mean" in view.text:
        statutes = list(_STATUTE.finditer(view.text))
        rng.shuffle(statutes)
        for match in statutes:
            if not refers_back(match["body"][:20]) and "same meaning" not in match["body"]:
                yield _Definition(match["term"].strip(), "means", match["body"])
    for sentence in view.from_anywhere(rng):
        found = None if sentence.quoted else _describes(sentence.text)
        if found is None or _GENERIC.match(found["term"]) or refers_back(found["body"]):
            continue
        term = topic(found["term"], view, max_words=7)
        article = found["term"].split()[0]
        if term is None or (article == "The" and not term[4:5].isupper()) or article in ("Most", "Some", "Many", "All"):
            continue
        body = before_new_clause(found["body"])
        if len(body.split()) > 3 and not any(character.isdigit() for character in body[:24]):
            yield _Definition(term, found["verb"], body)


def _describes(text: str) -> re.Match[str] | None:
    """The sentence as term, verb and body, if it says what something is in more than empty words."""
    if " is " in text or " are " in text or " was " in text or " were " in text:
        match = _IS_A.match(text)
        if match is not None and not _SAYS_LITTLE.match(match["body"]) and _SPECIFIES.search(match["body"]):
            return match
    if "refer" in text or " defined as " in text or " denote" in text:
        return _REFERS_TO.match(text)
    return None


def acronym_expansion(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "World Health Organization (WHO)": what does WHO stand for? Or which abbreviation is used for it?"""
    found: dict[str, str] = {}
    for sentence in view.sentences:
        if "(" in sentence.text:
            for match in _SHORT_FORM.finditer(sentence.text):
                long_form = _long_form(sentence.text[: match.start()].rstrip(), match.group(1))
                if long_form is not None:
                    found.setdefault(match.group(1), long_form)
    short_forms = list(found)
    rng.shuffle(short_forms)
    for short in short_forms:
        form = rng.choice(("expand", "expand", "shorten", "which"))
        options = shuffled(found[short], [found[other] for other in short_forms], rng) if form == "which" else ()
        if form == "shorten":
            choice = shuffled(short, short_forms, rng)
            yield Pair(
                ask("acronym_expansion", "shorten", rng, long_form=lower_first(found[short], view)), short, choice
            )
        else:
            yield Pair(ask("acronym_expansion", "expand", rng, short_form=short), found[short], options)


def _long_form(before: str, short: str) -> str | None:
    """The words at the end of `before` whose initials spell `short`, small words between them aside.

    Stricter than the search of Schwartz and Hearst (2003): each letter must begin a word, or a part after a hyphen.
    """
    letters = [letter.lower() for letter in short if letter.isalpha()]
    if letters and short.endswith("s") and len(short) > 2 and short[:-1].isupper():
        letters.pop()
    if len(letters) < 2 or not short[-2:].replace("s", "").isupper():
        return None
    words = before.split()[-2 * len(letters) - 2 :]
    taken = 0
    while letters and words:
        word = words.pop()
        taken += 1
        if word[-1] in ",;:.)" or taken > 12:
            return None
        parts = [part[0].lower() for part in re.split(r"[-/\u2013]", word) if part]
        if parts == letters[-len(parts) :]:
            del letters[-len(parts) :]
        elif parts and parts[0] == letters[-1]:
            letters.pop()
        elif word.lower() not in ("of", "and", "the", "for", "in", "on", "to", "with", "de", "&"):
            return None
    if letters:
        return None
    long_form = " ".join(before.split()[-taken:])
    return long_form if taken > 1 and long_form.split()[0].lower() not in ("and", "the", "of") else None


def list_members(view: View, rng: random.Random) -> Iterator[Pair]:
    """ "cities such as A, B and C": which cities are named? "X includes A, B and C": what does X include?"""
    for sentence in view.from_anywhere(rng):
        text = sentence.text
        if text.count(",") < 1 or sentence.quoted:
            continue
        if ("nclude" in text or "consist" in text or "compris" in text) and (match := _INCLUDE.match(text)):
            whole = topic(match["whole"], view)
            if whole is not None and not refers_back(match["items"]) and _even(match["items"]):
                yield Pair(_asks_for_parts(whole, match["verb"], rng), sentence_case(match["items"]))
        if " such as " in text or " including " in text:
            for match in _SUCH_AS.finditer(text):
                kind = _kind(match["before"])
                if (
                    kind is not None
                    and not refers_back(match["items"])
                    and _even(match["items"])
                    and stands_alone(text)
                ):
                    yield Pair(ask("list_members", "examples", rng, kind=kind), sentence_case(match["items"]))


def _asks_for_parts(whole: str, verb: str, rng: random.Random) -> str:
    first, _, rest = verb.partition(" ")
    helper = "did" if first.endswith("ed") else "does" if first.endswith("s") else "do"
    base = next(base for base in ("include", "consist", "comprise") if first.startswith(base))
    return ask("list_members", "parts", rng, helper=helper, whole=whole, base=f"{base} {rest}".strip())


def _kind(before: str) -> str | None:
    """The plural noun at the end of `before`, with the adjectives and nouns in front of it."""
    words: list[str] = []
    for word in reversed(before.split()[-4:]):
        if (
            word.lower() in NOT_IN_A_KIND
            or word.lower().endswith(("ly", "ing"))
            or (words and word.endswith(("ed", "s")))
        ):
            break
        words.insert(0, word)
    if (
        not words
        or not (words[-1].endswith("s") or words[-1] in ("people", "children"))
        or words[-1].endswith(("ss", "us", "is"))
    ):
        return None
    if len(words[-1]) < 4 or (len(words) == 1 and words[0] in NO_KINDS):
        return None
    return " ".join(words)


def _even(items: str) -> bool:
    """Whether the pieces of an enumeration look like members of it: short ones, none a clause."""
    pieces = re.split(r", (?:and |or )?| and | or ", items)
    return all(1 <= len(piece.split()) <= 7 for piece in pieces) and not re.search(
        r" (?:which|who|that|is|are|was|were|but|has|have|had|will|may|can|would|shall) ", f" {items} "
    )
