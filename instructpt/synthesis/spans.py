"""What in a passage may be asked for, shared out among the pairs that are asked for one by one.

    passage     Carlo Janka (born 15 October 1986) is a champion ski racer. He comes from Switzerland.
    places      Carlo Janka | 15 October 1986 | a champion ski racer | Switzerland
    2 shares    [Carlo Janka, 15 October 1986]    [Switzerland]

A model that is held to a part of a passage in which it finds nothing to ask names any word at all: of 40 pairs of a
tuned one, held to all runs of words, 17 asked for "said", "like", "a problem" and their kind, and 2 were right
(docs/log.md). So in English a place is a name, a number with what it counts, or what an article or a preposition leads
in, up to where the phrase ends; and of a passage with names or numbers, these alone are asked for: most pairs that were
right in a trial of 59 had one for an answer. In other languages a place is a sentence, with every run of words that
neither begins nor ends oddly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from instructpt.words.evidence import Span, sentences
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

_TOKEN = re.compile(r"(?:[A-Z]\.)+(?=\W)|[$€£]?\d[\d.,:/]*\d%?|[$€£]?\d%?|[^\W\d_](?:[\w’'.-]*\w)?|\n|\S")
_OPENINGS = "\n\"“‘'(-•*:<"
_ASIDE = re.compile(
    r"<\w+>|§\s*\S+|\((?:[^()]*\bet al\b[^()]*|[^()\d]*[A-Z]\w+,? (?:19|20)\d\d[a-z]?(?:[;,][^()]*)?)\)?"
)
"""What nobody asks for: marks such as <UNK>, numbers of sections, and whom a text cites, also where the brackets end in
another sentence ("(Hogan et al.")."""
_PART_OF_WORD = re.compile(r"[^\W\d_]|-\d|\D?[\d.,]+-[^\W\d_]")
"""A number in "11-beta" or "r-5"."""
_YEAR = re.compile(r"(?:1\d|20)\d\d")
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
_NO_PHRASE_TEXT = """a also although always am among an any are be became been began being both came can cannot
    could course did do does each either every fact few found gave get gets go goes got had has have he held her
    here him his how however i if include included includes including is it its itself just kept knew know knows led
    lost made make makes many may me met might much must my need needs neither never no nor not often only onto our
    own per put quite ran rather said same saw say says see seen set several shall she should since so some stood
    still such than that the their them themselves then there therefore these they think thinks this those though
    thus told too took towards until upon us use used uses usually very want wants was we went were what when where
    whether which while who whom whose why will within won would wrote yet you your mr mrs ms dr prof st"""
_NO_PHRASE = frozenset(_NO_PHRASE_TEXT.split())
"""Where a phrase ends: verbs, pronouns, titles, words that name nothing."""
_NO_ANSWER_TEXT = """case course day end fact kind lot number other others part place point rest same side sort thing
    things time type way"""
_NO_ANSWER = re.compile(rf"(?:(?:an?|the) )?(?:{'|'.join(_NO_ANSWER_TEXT.split())})|[ivx]+", re.IGNORECASE)
"""None of 15,314 answers in SQuAD is one of these alone; of a tuned model's, "course" and "the fact" were."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one pair may ask for."""

    spans: tuple[str, ...]
    """Of one sentence, in its order."""
    part: Span
    """Where in the passage they stand: the sentence, or a piece of it."""


def shares(passage: str, number: int) -> list[Share]:
    """What each of `number` pairs may ask for, in the passage's order, no place in two; fewer, where there are fewer
    places, and none where there is nothing to ask for.

    In English names and numbers, if the passage has any. Every sentence with some gets its turn before one gets a
    second; where there are more sentences than pairs, those with the most.
    """
    language = identify(passage)
    if language != "english":
        bare = common_words(language)
        found = ((tuple(_runs(passage, part, bare=bare)), part) for part in _parts(passage, number))
        return [Share(spans, part) for spans, part in found if spans]
    held = [(part, places) for part in sentences(passage) if (places := list(_english_places(passage, part)))]
    strong = [(part, [place for place in places if place.is_strong]) for part, places in held]
    held = [one for one in strong if one[1]] or held
    if number < len(held):
        cuts = [place * len(held) // number for place in range(number + 1)] if number else []
        held = [max(held[first:last], key=lambda one: len(one[1])) for first, last in pairwise(cuts)]
    turns = [1] * len(held)
    for _ in range(min(number, sum(len(places) for _, places in held)) - len(held)):
        turns[max(range(len(held)), key=lambda one: (len(held[one][1]) - turns[one], -one))] += 1
    found_shares = []
    for (part, places), count in zip(held, turns, strict=True):
        cuts = [place * len(places) // count for place in range(count + 1)]
        for first, last in pairwise(cuts):
            spans = dict.fromkeys(span for place in places[first:last] for span in place.spans)
            found_shares.append(Share(tuple(spans), part))
    return found_shares


@dataclass(frozen=True, slots=True)
class _Place:
    spans: tuple[str, ...]
    """Those that overlap."""
    is_strong: bool
    """Whether there is a name or a number in them."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    stop: int
    kind: str
    """name, number, plain, function, or mark."""


def _english_places(passage: str, part: Span) -> Iterator[_Place]:
    tokens = list(_tokens(passage, *part, _names(passage)))
    ranges, reach = list[Span](), 0

    def place() -> _Place:
        strong = [one for one in ranges if _is_strong(tokens[slice(*one)])]
        spans = (passage[tokens[first].start : tokens[last - 1].stop] for first, last in strong or ranges)
        return _Place(tuple(dict.fromkeys(spans)), bool(strong))

    for first, last in sorted(_english_spans(tokens)):
        if _NO_ANSWER.fullmatch(passage, tokens[first].start, tokens[last - 1].stop):
            continue
        if ranges and first >= reach:
            yield place()
            ranges = []
        ranges.append((first, last))
        reach = max(reach, last)
    if ranges:
        yield place()


def _is_strong(span: list[_Token]) -> bool:
    """Whether a name is in it, or a number that says what it counts, or is long; "ten" and "8" alone are nothing."""
    if any(token.kind == "name" for token in span):
        return True
    numbers = [token.text for token in span if token.kind == "number"]
    return bool(numbers) and (len(span) > 1 or (len(numbers[0]) > 2 and not numbers[0].isalpha()))


@lru_cache(maxsize=8)
def _names(passage: str) -> frozenset[str]:
    """Words that have a capital where they do not begin a sentence, or a quotation."""
    return frozenset(
        token
        for start, stop in sentences(passage)
        for before, token in pairwise(_TOKEN.findall(passage, start, stop))
        if token[0].isupper() and before not in _OPENINGS
    )


def _tokens(passage: str, start: int, stop: int, names: frozenset[str]) -> Iterator[_Token]:
    """names: see `_names`."""
    before = ""
    aside = [found.span() for found in _ASIDE.finditer(passage, start, stop)]
    tokens = list(_TOKEN.finditer(passage, start, stop))
    for found, after in zip(tokens, [*tokens[1:], None], strict=True):
        text = found[0]
        folded = text.casefold()
        begins = (not before or before in _OPENINGS) and not (after and after[0][0].isupper())
        if not _WORD.search(text) or any(first <= found.start() < last for first, last in aside):
            kind = "mark"
        elif folded in _NUMBER_WORDS or (
            text[0] in "0123456789$€£" and not _PART_OF_WORD.match(passage, max(0, found.start() - 1))
        ):
            kind = "number"
        elif (
            folded.replace("’", "'").startswith("i'")
            or folded in _NO_PHRASE
            or folded in _LEADS
            or folded in common_words("english")
        ):
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
            if not _YEAR.fullmatch(token.text):
                # Every length: "Snyder-Robinson syndrome causes problems" has its verb where no word list sees it.
                yield from ((first, stop) for stop in range(run_end + 1, _phrase_end(tokens, run_end) + 1))
        elif token.text.casefold() in _ARTICLES:
            yield from _phrase(tokens, first, first + 1)
        elif before in _LEADS and not token.text.endswith("ing") and first >= run_end:
            yield from _phrase(tokens, first, first)


def _run_end(tokens: list[_Token], first: int) -> int:
    """Where a run of names and numbers ends; a link or two ("of the", "to") may stand between two of them."""
    is_name = "name" in {token.kind for token in tokens[first : first + 2]}  # "15 October 1986", too
    if _YEAR.fullmatch(tokens[first].text):
        is_name = False  # "In 2004 Monterrey hosted"
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


def _parts(passage: str, number: int) -> list[Span]:
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
    return [(bounds[first][0], bounds[last - 1][1]) for first, last in pairwise(cuts)]


def _pieces(passage: str, start: int, stop: int, number: int) -> Iterator[Span]:
    """A sentence in at most so many pieces of about as many words."""
    words = [match.span() for match in _BLANKS.finditer(passage, start, stop)]
    cuts = [place * len(words) // number for place in range(number + 1)]
    for first, last in pairwise(cuts):
        if first < last:
            yield words[first][0], words[last - 1][1]


def _runs(passage: str, part: Span, *, bare: frozenset[str]) -> Iterator[str]:
    """Runs of words of one sentence that do not end with a word that names nothing, without half a pair of brackets."""
    text = passage[slice(*part)]
    for start, stop in sentences(text):
        words = [found for found in CHUNK.finditer(text, start, stop) if _WORD.search(found[0])]
        for first, word in enumerate(words):
            for last in words[first : first + MAX_SPAN_WORDS]:
                run = text[word.start() : last.end()]
                if _BREAK.search(run):
                    break
                if last[0].casefold() not in bare and run.count("(") == run.count(")"):
                    yield run
