"""Sentences, and which characters of a passage bear an answer out.

passage     The heron waits in shallow water. It eats fish, frogs and eels. Fish it swallows whole.
question    What does it eat?            answer  fish        ->  "fish" of the second sentence, whose words are asked
question    Is the heron a hunter?       answer  yes         ->  the sentence that shares most words with both
question    Who wrote the song?          answer  Bach        ->  None

Sentences begin, in any script, by punctuation alone: no model, no word list beyond a few abbreviations.

    Dr. Low came at 3.15 p.m. on foot. "Why?" he asked. No. 5 was shut.   她来了。他走了。
    ^                                  ^                ^                 ^       ^

A sentence ends at a full stop, question or exclamation mark that white space follows and no small letter, or at a mark
of another script (Chinese, Hindi, ...), white space or not. A full stop does not end one after an initial (J. Smith),
letters with full stops between (e.g., U.S.), a title (Dr.), an abbreviation before a number (Fig. 3) or the number of a
list entry; nor in a German date (am 3. Mai). A Japanese quotation ends none that goes on after it (「行く。」と言った).
Where a stop could be either, the sentence goes on: for cutting text, a missed end costs less than a wrong one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from instructpt.artifacts.tally import Tally
from instructpt.records import Group
from instructpt.words.overlap import content_words

# Possessive, and only from the first mark of a run on: linear also for a million full stops.
_ENDS = re.compile(
    r"""(?<![.!?…]) (?P<marks>[.!?…]++) ["'”’“»«)\]]*+ (?:[ \u00a0\u202f]»(?=\s))?+ \s++
      | (?:[。！？｡؟۔।॥։።፧។]|．(?!\d))++ (?P<closers>["'”’»)\]」』）】》]*+) \s*+""",
    re.VERBOSE,
)
_WORD_CHARACTERS = 16
_OPENING = "([{<\"'“‘«„»¿¡"
_QUOTATIVE = frozenset("とっ、，,")
"""What a Japanese sentence goes on with after a quotation."""

_SPACE = re.compile(r"\s")
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_]{1,2})*")
_TITLES = re.compile(
    "mr|mrs|ms|mx|dr|prof|st|jr|sr|rev|hon|gen|col|capt|lt|sgt|gov|sen|rep|pres|messrs|mme|mlle|vs|cf|ca|al|eds|"
    "frl|bzw|vgl|evtl|ggf|sra|srta|dra|ud|uds|exmo|exma|mgr",
    re.I,
)
_BEFORE_NUMBERS = re.compile(
    "nos?|nr|figs?|eqs?|vols?|ch|chap|sect?|art|ed|pp?|para?|refs?|tab|ver|approx|"
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|abs|bd|kap|abb|núm|pág|págs|cap",
    re.I,
)
_GERMAN_ORDINAL = re.compile(r"\d{1,2}")
_GERMAN_MONTHS = re.compile(
    "(?:Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Jahrhundert|Jh)"
    r"(?!\w)"
)


def sentence_starts(text: str, *, start: int = 0, stop: int | None = None) -> list[int]:
    """The positions, ascending, at which a sentence begins after one that ends at or after `start`.

    Only text[start:stop] is searched; what stands around it is looked at. Linear in its length.
    """
    stop = len(text) if stop is None else stop
    return [match.end() for match in _ENDS.finditer(text, start, stop) if _ends_sentence(text, match)]


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    marks = match["marks"]
    if marks is None:
        return not (match["closers"] and text[match.end() : match.end() + 1] in _QUOTATIVE)
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    if marks != ".":
        return True
    before = text[max(0, match.start() - _WORD_CHARACTERS) : match.start()]
    word = _SPACE.split(before)[-1].lstrip(_OPENING)
    if _INITIALS.fullmatch(word) or _TITLES.fullmatch(word):
        return False
    if _BEFORE_NUMBERS.fullmatch(word):
        return not following.isdigit()
    if _GERMAN_ORDINAL.fullmatch(word) and _GERMAN_MONTHS.match(text, match.end()):
        return False
    begins_line = before.removesuffix(word).rstrip(" \t")[-1:] in ("", "\n")
    return not (word.isdigit() and begins_line)


Span = tuple[int, int]
"""Half-open range of characters."""
MIN_COVERED_SENTENCES = 5
"""Of a passage, to say how many of its sentences its pairs need: any pair needs most of a shorter one."""


def sentences(passage: str) -> list[Span]:
    """The passage's sentences as ranges of characters, without the white space after them; no empty ones."""
    bounds = pairwise([0, *sentence_starts(passage), len(passage)])
    found = ((start, start + len(passage[start:stop].rstrip())) for start, stop in bounds)
    return [(start, stop) for start, stop in found if start < stop]


def bearing(passage: str, *, question: str, answer: str, within: Sequence[Span] | None = None) -> Span | None:
    """Where the passage says the answer: its own words, or the sentence that shares most with question and answer.

    Of several places with the answer's words the one is taken whose sentence shares most words with the question; of
    equals, the first. None where no sentence shares a word with the answer, nor two with the question.
    within: the passage's `sentences`, where they are known.
    """
    spans = sentences(passage) if within is None else within
    if not spans:
        return None
    starts, asked = [start for start, _ in spans], set(content_words(question))

    def shared(place: int) -> int:
        start, stop = spans[place]
        return len(asked.intersection(content_words(passage[start:stop])))

    if pieces := answer.strip().rstrip(".,;:").split():
        literal = re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, pieces)) + r"(?!\w)", re.IGNORECASE)
        if found := [match.span() for match in literal.finditer(passage)]:
            return max(found, key=lambda span: shared(max(0, bisect_right(starts, span[0]) - 1)))
    said = set(content_words(answer))
    scores = []
    for place, (start, stop) in enumerate(spans):
        told = said.intersection(content_words(passage[start:stop]))
        scores.append((len(told) + shared(place)) if told or shared(place) > 1 else 0)
    best = max(range(len(spans)), key=scores.__getitem__)
    return spans[best] if scores[best] else None


def coverage(passage: str, spans: Sequence[Span]) -> tuple[int, int]:
    """How many of the passage's sentences a span touches, and how many there are."""
    found = sentences(passage)
    touched = sum(any(start < last and first < stop for first, last in spans) for start, stop in found)
    return touched, len(found)


def count_covered(group: Group, tally: Tally) -> None:
    """Of the sentences of passages that have enough of them, how many some pair needs ("sentences_covered")."""
    for shot in group.shots:
        spans = [pair.span for pair in shot.pairs if pair.span is not None]
        num_covered, num_sentences = coverage(shot.document.text, spans)
        if num_sentences >= MIN_COVERED_SENTENCES:
            tally.count("sentences", num_sentences)
            tally.count("sentences_covered", num_covered)
