"""What a text in a form claims, as questions that a reader can answer from the passage in a few words.

    faq, table, problem   Why was it built?  A storm had ...   ->  Why was it built?                     A storm had ...
    dialogue              Student: Why ...?  Teacher: A ...    ->  Why ...?                              A ...
    facts                 Ada Brekke built it in 1871.         ->  Ada Brekke built it in what year?     1871
          Ada Brekke built it for Aldham.      ->  Ada Brekke built it for who or what?  Aldham

A fact becomes a question in its own words: a number or a name gives way to what asks for it. That is good grammar in
many languages, and the rest of the fact says what is asked about. Other texts are checked by rule alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from instructpt.records import Pair
from instructpt.synthesis.forms import Language, WritingForm
from instructpt.synthesis.forms.reading import SEPARATORS, pair_in, pieces
from instructpt.verification.checks.grounding import NUMBER, YEAR, names_in
from instructpt.words import overlap

WORKED_OUT = "word problem"
"""The category of what is asked again of a problem: a reader that was tuned to find answers is not asked for sums."""

_END = re.compile(r"[.!。！]?\s*$")
_QUESTION = re.compile(r"[?？]\W*$")
_TURN = re.compile(r"[^:：]*[:：]\s*")


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that a text says."""

    piece: int
    """Which of the text's pieces says it, counted from 0."""
    pair: Pair
    """The question, with the text's own answer."""


def claims(text: str, form: WritingForm, language: Language) -> list[Claim]:
    """What is to be confirmed of a text, piece by piece."""
    found = pieces(text, form)
    if form.reads == "lines":
        return [Claim(place, pair) for place, line in enumerate(found) for pair in _gaps(line, language)]
    if form.reads == "turns":
        return [Claim(0, pair) for pair in _exchanges(text.split("\n"))]
    if form.reads not in SEPARATORS:
        return []
    kind = WORKED_OUT if form.reads == "problem" else None
    pairs = [Claim(at, replace(pair_in(piece), rationale=None, category=kind)) for at, piece in enumerate(found)]
    return pairs[form.reads == "table" :]


def _gaps(line: str, language: Language) -> Iterator[Pair]:
    """A question for the last number of a sentence, or else for its last name: what is new stands late, as a rule."""
    if numbers := list(NUMBER.finditer(line)):
        asks = language.which_year if YEAR.fullmatch(numbers[-1][0]) else language.how_many
        yield _with_gap(line, *numbers[-1].span(), asks)
    elif language.who_or_what and (names := names_in(line, language=language.name)):
        yield _with_gap(line, *names[-1], language.who_or_what)


def _with_gap(line: str, start: int, stop: int, asks: str) -> Pair:
    before, after = line[:start], _END.sub("", line[stop:])
    question = f"{before}{asks}{after}" if before else f"{asks[0].upper()}{asks[1:]}{after}"
    return Pair(f"{question}{'？' if overlap.NO_BLANKS.search(line) else '?'}", line[start:stop])


def _exchanges(turns: Sequence[str]) -> Iterator[Pair]:
    """What the first speaker asks, with what is said next: who explains may be asked in order to be told wrong."""
    first = turns[0].partition("：" if "：" in turns[0] else ":")[0]
    for turn, following in pairwise(turns):
        if turn.startswith(first) and not following.startswith(first) and _QUESTION.search(turn):
            yield Pair(_TURN.sub("", turn, count=1), _TURN.sub("", following, count=1))
