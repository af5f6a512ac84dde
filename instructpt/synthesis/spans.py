"""What in a passage may be asked for, shared out among the pairs that are asked for one by one.

    passage     Carlo Janka (born 15 October 1986) is a champion ski racer from Switzerland.
    places      Carlo Janka | 15 October 1986 | a champion ski racer | Switzerland
    2 shares    [Carlo Janka, 15 October 1986]    [a champion ski racer, Switzerland]

A model that is held to a part of a passage in which it finds nothing to ask names any word at all: of 40 pairs of a
tuned one, held to all runs of words, 17 asked for "said", "like", "a problem" and their kind, and 2 were right
(docs/log.md). So in English a place is a name, a number with what it counts, or what an article or a preposition leads
in, up to where the phrase ends. In other languages it is a sentence, with every run of words that neither begins nor
ends oddly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from instructpt.words.evidence import sentences
from instructpt.words.languages import common_words, identify

MAX_SPAN_WORDS = 8
"""96 in 100 answers of SQuAD are as short."""
MAX_PHRASE_WORDS = 4
"""Behind an article or a preposition: longer ones mostly hold a verb."""
CHUNK = re.compile(
    r"\d+(?:[.,:]\d+)*|[^\W\d\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+|.", re.S
)
"""What a span is made of: words, numbers, and single characters of all else, also of scripts without blanks."""
_WORD = re.compile(r"\w")
_BLANKS = re.compile(r"\S+")
_BREAK = re.compile(r"[;:!?]\s|\n")
"""What a span does not go across: where another clause, or an item of a list, begins."""

_TOKEN = re.compile(r"[$€£]?\d[\d.,:/]*\d%?|[$€£]?\d%?|[^\W\d_](?:[\w’'.-]*\w)?|\n|\S")
_PAST = re.compile(r"[^e]ed$")
_NUMBER_WORDS_TEXT = """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million
    billion half"""
_NUMBER_WORDS = frozenset(_NUMBER_WORDS_TEXT.split())
_ARTICLES = frozenset({"a", "an", "the"})
_LEADS_TEXT = """of by with from in into on for between during through at under without called named termed"""
_LEADS = frozenset(_LEADS_TEXT.split())
_NAME_LINKS = frozenset({"of", "the", "de", "von", "van", "&"})
_NUMBER_LINKS = frozenset({"to", "and", "or", "-", "–", "±", "of"})
_NO_PHRASE_TEXT = """a also although always am among an any are be became been began being both came can
    cannot could did do does each either every few found gave get gets go goes got had has have he held her here him
    his how however i if include included includes including is it its itself just kept knew know knows led lost made
    make makes many may me met might much must my need needs neither never no nor not often only onto our own per put
    quite ran rather said same saw say says see seen set several shall she should since so some stood still such than
    that the their them themselves then there therefore these they think thinks this those though thus told too took
    towards until upon us use used uses usually very want wants was we went were what when where whether which while
    who whom whose why will within won would wrote yet you your"""
_NO_PHRASE = frozenset(_NO_PHRASE_TEXT.split())
"""Where a phrase ends: verbs, pronouns, words that name nothing."""


def shares(passage: str, number: int) -> list[tuple[str, ...]]:
    """The spans of a passage for each of `number` pairs, in the passage's order and none in two; fewer, where there are
    fewer places, and none where there is nothing to ask for."""
    language = identify(passage).language
    if language == "english":
        places = [tuple(dict.fromkeys(place)) for place in _english_places(passage)]
        number = min(number, len(places))
        cuts = [place * len(places) // number for place in range(number + 1)] if number else []
        return [tuple(dict.fromkeys(sum(places[first:last], ()))) for first, last in pairwise(cuts)]
    found = (tuple(_runs(part, bare=common_words(language))) for part in _parts(passage, number))
    return [share for share in found if share]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    stop: int
    kind: str
    """name, number, plain, function, or mark."""


def _english_places(passage: str) -> Iterator[list[str]]:
    """Spans that overlap, together."""
    names = {
        token for start, stop in sentences(passage) for token in list(_TOKEN.findall(passage, start, stop))[1:]
        if token[0].isupper()
    }  # fmt: skip
    for start, stop in sentences(passage):
        tokens = list(_tokens(passage, start, stop, names))
        place, reach = list[str](), 0
        for first, last in sorted(_english_spans(tokens)):
            if place and first >= reach:
                yield place
                place = []
            place.append(passage[tokens[first].start : tokens[last - 1].stop])
            reach = max(reach, last)
        if place:
            yield place


def _tokens(passage: str, start: int, stop: int, names: set[str]) -> Iterator[_Token]:
    """names: words that have a capital where they do not begin a sentence."""
    before = ""
    tokens = list(_TOKEN.finditer(passage, start, stop))
    for found, after in zip(tokens, [*tokens[1:], None], strict=True):
        text = found[0]
        folded = text.casefold()
        begins = (not before or before in "\n\"“‘'(-•*:") and not (after and after[0][0].isupper())
        if not _WORD.search(text):
            kind = "mark"
        elif text[0].isdigit() or text[0] in "$€£" or folded in _NUMBER_WORDS:
            kind = "number"
        elif folded in _NO_PHRASE or folded in _LEADS or folded in common_words("english"):
            kind = "function"
        elif text[0].isupper() and (not begins or text in names or sum(map(str.isupper, text)) > 1):
            kind = "name"
        else:
            kind = "plain"
        yield _Token(text, found.start(), found.end(), kind)
        before = text


def _english_spans(tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    """Half-open ranges of a sentence's tokens that may be asked for."""
    run_end = 0
    for first, token in enumerate(tokens):
        before = tokens[first - 1].text.casefold() if first else ""
        after = tokens[first + 1].text if first + 1 < len(tokens) else ""
        if token.kind in ("name", "number") and first >= run_end:
            if before == "[" or (before, after) == ("(", ")"):
                continue  # a reference, or an item of a list
            run_end = _run_end(tokens, first)
            yield first, run_end
            if (stop := _phrase_end(tokens, run_end)) > run_end:
                yield first, stop
        elif token.text.casefold() in _ARTICLES:
            yield from _phrase(tokens, first, first + 1)
        elif before in _LEADS and not token.text.endswith("ing") and first >= run_end:
            yield from _phrase(tokens, first, first)


def _run_end(tokens: list[_Token], first: int) -> int:
    """Where a run of names and numbers ends; a link or two ("of the", "to") may stand between two of them."""
    is_name = "name" in {token.kind for token in tokens[first : first + 2]}  # "15 October 1986", too
    kinds, links = ({"name", "number"}, _NAME_LINKS) if is_name else ({"number"}, _NUMBER_LINKS)
    last = first + 1
    while last < len(tokens) and last - first < MAX_SPAN_WORDS:
        after = last
        while after < min(len(tokens), last + 2) and tokens[after].text.casefold() in links:
            after += 1
        if after >= len(tokens) or tokens[after].kind not in kinds:
            break
        last = after + 1
    return last


def _phrase(tokens: list[_Token], first: int, start: int) -> Iterator[tuple[int, int]]:
    """A phrase whose words begin at `start`, if it ends soon enough; and what "of" adds to it."""
    stop = _phrase_end(tokens, start)
    if stop == start:
        return
    yield first, stop
    if stop + 1 < len(tokens) and tokens[stop].text.casefold() == "of":
        inner = stop + 1 + (tokens[stop + 1].text.casefold() in _ARTICLES)
        if (end := _phrase_end(tokens, inner)) > inner and end - first <= MAX_SPAN_WORDS:
            yield first, end


def _phrase_end(tokens: list[_Token], start: int) -> int:
    """Where the words from `start` end: before a mark, a function word or the sentence's end. `start` if they are more
    than `MAX_PHRASE_WORDS`. A last word such as "helped" is a verb, and none of them."""
    stop = start
    while stop < len(tokens) and tokens[stop].kind in ("name", "number", "plain"):
        stop += 1
    if stop > start and tokens[stop - 1].kind == "plain" and _PAST.search(tokens[stop - 1].text):
        stop -= 1
    return stop if stop - start <= MAX_PHRASE_WORDS else start


def _parts(passage: str, number: int) -> list[str]:
    """The passage in so many parts, in order: runs of sentences, or pieces of them where there are fewer sentences.

    The same span would get the same question: with 7 spans in 4 sentences, whole ones, 3 of 7 questions were asked
    twice.
    """
    bounds = sentences(passage)
    if not number or not bounds:
        return []
    if number > len(bounds):
        bounds = [piece for start, stop in bounds for piece in _pieces(passage, start, stop, -(-number // len(bounds)))]
    number = min(number, len(bounds))
    cuts = [place * len(bounds) // number for place in range(number + 1)]
    return [passage[bounds[first][0] : bounds[last - 1][1]] for first, last in pairwise(cuts)]


def _pieces(passage: str, start: int, stop: int, number: int) -> Iterator[tuple[int, int]]:
    """A sentence in at most so many pieces of about as many words."""
    words = [match.span() for match in _BLANKS.finditer(passage, start, stop)]
    cuts = [place * len(words) // number for place in range(number + 1)]
    for first, last in pairwise(cuts):
        if first < last:
            yield words[first][0], words[last - 1][1]


def _runs(part: str, *, bare: frozenset[str]) -> Iterator[str]:
    """Runs of words of one sentence that do not end with a word that names nothing, without half a pair of brackets."""
    for start, stop in sentences(part):
        words = [found for found in CHUNK.finditer(part, start, stop) if _WORD.search(found[0])]
        for first, word in enumerate(words):
            for last in words[first : first + MAX_SPAN_WORDS]:
                text = part[word.start() : last.end()]
                if _BREAK.search(text):
                    break
                if last[0].casefold() not in bare and text.count("(") == text.count(")"):
                    yield text
