"""Pieces of wording, compiled once when a catalog is read: what a line of a catalog becomes.

    "Q: {question}\\nA: {answer}"           Pattern   .fill(question="Why?", answer="{so}")  ->  Q: Why? / A: {so}
    "Answer {this question|these two}:"    Phrase     .of(1)  ->  Answer this question:
    item "({mark}) {option}", marks "A"    OptionItems      .line(1, "red"), .label(1)  ->  (B) red, (B)

A template is filled in one pass: braces inside a value are text like any other (the paper's code puts values in one
after the other, so that a question holding "{answer}" is spoilt).

A full stop right after {question}, {answer} or {rationale} is for values that have none: "So it is {answer}." gives
"So it is red." and also "So it is red." where the answer is "red.".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache

_FIELD = re.compile(r"\{(\w+)\}([.。।]?)")
_FORMS = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
_OPTIONS_LINE = re.compile(r"\n+\{options\}(?=\n)")
_SENTENCE_FIELDS = ("question", "answer", "rationale")
_ENDINGS = (".", "!", "?", "…", ":", ";", "。", "！", "？", "：", "；", "．", "।", "؟", "؛", "۔")
_CLOSERS = "\"'”’“»«)]*」』）】》 \n\u00a0"
_ROMAN = ((100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))

MARKS = ("A", "a", "1", "I", "i")
"""Ways to count: A B C, a b c, 1 2 3, I II III, i ii iii."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with {fields}, ready to be filled."""

    text: str
    format: Callable[..., str] = field(repr=False, compare=False)
    stops: tuple[tuple[str, str], ...] = field(repr=False, compare=False)
    """Fields with a full stop after them, and that stop."""
    spread: int = field(repr=False, compare=False)
    """0 for a pattern of one line, 1 for one of several, 2 for one that holds a blank line."""

    def fill(self, **values: str) -> str:
        """The pattern with each field replaced by its value; values that it has no field for are ignored."""
        for name, stop in self.stops:
            if not _ends_sentence(values[name]):
                values[name] += stop
        return self.format(**values)


@dataclass(frozen=True, slots=True)
class ChoicePatterns:
    """A template for a question with options: with them, and the same without."""

    shown: Pattern
    open: Pattern


@dataclass(frozen=True, slots=True)
class Phrase:
    """A wording for one thing and for several."""

    one: str
    many: str

    def of(self, count: int) -> str:
        """The wording that fits `count` things."""
        return self.one if count == 1 else self.many


@dataclass(frozen=True, slots=True)
class OptionItems:
    """How the items of a list of options look, and what an answer calls one of them."""

    item: Pattern
    name: Pattern | None = None
    """None for bullets: an answer then says the option's text."""
    marks: str = ""

    def line(self, index: int, option: str) -> str:
        """The item of the option that stands at `index`, counted from 0."""
        return self.item.fill(option=option, mark=mark(self.marks, index) if self.marks else "")

    def label(self, index: int) -> str | None:
        """What an answer calls the option at `index`; None where it says the option's text."""
        return None if self.name is None else self.name.fill(mark=mark(self.marks, index))


@dataclass(frozen=True, slots=True)
class Numbering:
    """How the questions of a list and their answers are numbered."""

    question: Pattern
    answer: Pattern
    marks: str


@dataclass(frozen=True, slots=True)
class FewShot:
    """The wording of worked examples and of the one that is to be done."""

    lead: Phrase
    example: Pattern
    last: Pattern


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The wording of a dialog whose end is asked for, or whose beginning."""

    pattern: Pattern
    turn: str
    """What its end is: "answer", the last answer alone, or "exchange", the last question and its answer."""


def template(
    pattern: str, *, required: Collection[str], optional: Collection[str] = (), padded: bool = False
) -> Pattern:
    """Compile a pattern in which each required field stands once and each optional one at most once.

    padded: blanks at either end are meant. Raises ValueError saying what is wrong with the pattern.
    """
    if not padded and pattern != pattern.strip():
        raise ValueError("has blanks at an end: take them away")
    names = [match[1] for match in _FIELD.finditer(pattern)]
    for name in names:
        if name not in required and name not in optional:
            raise ValueError(f"has {{{name}}}, which does not belong here: use {_braced([*required, *optional])}")
        if names.count(name) > 1:
            raise ValueError(f"has {{{name}}} more than once")
    if missing := [name for name in required if name not in names]:
        raise ValueError(f"lacks {_braced(missing)}")
    parts: list[str] = []
    stops: list[tuple[str, str]] = []
    place = 0
    for match in _FIELD.finditer(pattern):
        name, stop = match.groups()
        parts += [_literal(pattern[place : match.start()]), f"{{{name}}}"]
        if stop and name in _SENTENCE_FIELDS:
            stops.append((name, stop))
        else:
            parts.append(stop)
        place = match.end()
    parts.append(_literal(pattern[place:]))
    return Pattern(pattern, "".join(parts).format, tuple(stops), ("\n" in pattern) + ("\n\n" in pattern))


def choice(pattern: str, *, required: Collection[str], optional: Collection[str] = ()) -> ChoicePatterns:
    """Compile a pattern for a question with options. Raises ValueError saying what is wrong with it."""
    shown = template(pattern, required=[*required, "options"], optional=optional)
    without, count = _OPTIONS_LINE.subn("", pattern)
    if not count:
        raise ValueError("lacks a line that holds {options} alone, between other lines")
    return ChoicePatterns(shown, template(without, required=required, optional=optional))


def phrase(pattern: str) -> Phrase:
    """Compile a wording in which {one|many} stands for two forms. Raises ValueError for any other brace."""
    one, many = (_FORMS.sub(rf"\{form}", pattern).strip() for form in (1, 2))
    _literal(one)
    if not one or not many:
        raise ValueError("is empty for one thing or for several")
    return Phrase(one, many)


@cache
def mark(kind: str, index: int) -> str:
    """The mark of the item at `index`, counted from 0, in one of the ways of `MARKS`. After z comes aa."""
    if kind == "1":
        return str(index + 1)
    text = _roman(index + 1) if kind in "Ii" else _letters(index + 1)
    return text.upper() if kind in "AI" else text


def _letters(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        text += letters * count
    return text


def _ends_sentence(text: str) -> bool:
    return text.endswith(_ENDINGS) or text.rstrip(_CLOSERS).endswith(_ENDINGS)


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("has a brace that is part of no {field}: take it away")
    return text


def _braced(names: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
