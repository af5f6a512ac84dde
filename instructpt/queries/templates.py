"""Questions as templates: what a user's question names gives way to what another passage names (arXiv 2601.22146).

    question   who built the bridge over the cole in 1843
    passage    Ada Brekke built the bridge over the Cole in 1843.           where its slots come from: names and numbers
    template   who built the bridge over the ____ in ____
    another    In 1790 the bridge over the Tees was built by Jon Lund.      has most of what is left of the question
    asked      who built the bridge over the Tees in 1790

A slot is filled with a name, a year or a number, as it held one: with that of the other passage whose sentence has most
of the question's words, of equals with that which has most of the slot's neighbours. Nothing is asked where a slot
stays open. Whether the question makes sense there, the model says that answers it, and its reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from instructpt.verification.checks.grounding import NOUNS_ARE_CAPITALS, NUMBER, YEAR, names_in
from instructpt.words import languages, overlap
from instructpt.words.evidence import sentences
from instructpt.words.overlap import Word

Kind = Literal["name", "year", "number"]
NEIGHBOURS = 4
"""Words on each side of a slot by which a filling is chosen; common words are none."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of a text that names something."""

    start: int
    stop: int
    kind: Kind
    beside: frozenset[str]
    """The words around it, common ones aside."""
    sentence: frozenset[str]
    """Those of all its sentence, or question."""

    def likeness(self, other: Slot) -> tuple[int, int, int]:
        """How well another text's slot fits in its place; of equals the first one of that text does best."""
        return len(self.sentence & other.sentence), len(self.beside & other.beside), -other.start


@dataclass(frozen=True, slots=True)
class Template:
    """A question with slots."""

    question: str
    slots: tuple[Slot, ...]

    @property
    def rest(self) -> str:
        """The question without what stands in its slots: what another passage is to be about."""
        pieces, last = list[str](), 0
        for slot in self.slots:
            pieces.append(self.question[last : slot.start])
            last = slot.stop
        return " ".join(" ".join([*pieces, self.question[last:]]).split())

    def filled(self, passage: str) -> str | None:
        """The question about another passage; None where a slot finds nothing of its kind, or nothing new."""
        open_ones = _named(passage)
        said, last, pieces = self.question.casefold(), 0, list[str]()
        for slot in self.slots:
            fits = [one for one in open_ones if one.kind == slot.kind and slot.sentence & one.sentence]
            fits = [one for one in fits if passage[one.start : one.stop].casefold() not in said]
            if not fits:
                return None
            best = max(fits, key=slot.likeness)
            said += f" {passage[best.start : best.stop].casefold()}"
            pieces += [self.question[last : slot.start], passage[best.start : best.stop]]
            last = slot.stop
        return "".join([*pieces, self.question[last:]])


def template(question: str, passage: str) -> Template | None:
    """A question with a slot for each name and number that its passage has; None without one, or with nothing else."""
    language, found = _language(passage), overlap.located_words(question)
    numbers = {passage[start:stop] for start, stop, _ in _numbers(passage)}
    spans = [span for span in _numbers(question) if question[span[0] : span[1]] in numbers]
    names = {word for start, stop in _names(passage, language) for word in _spellings(passage[start:stop])}
    for is_name, run in groupby(found, key=lambda word: word.word in names):
        if is_name:
            own = list(run)
            spans.append((own[0].start, own[-1].stop, "name"))
    made = Template(question, tuple(_slot(found, *span, language) for span in sorted(spans)))
    return made if spans and overlap.words(made.rest) else None


def _named(passage: str) -> list[Slot]:
    """The names and numbers of a passage, in order."""
    language, every = _language(passage), overlap.located_words(passage)
    spans = _numbers(passage) + [(start, stop, "name") for start, stop in _names(passage, language)]
    slots = list[Slot]()
    for start, stop in sentences(passage):
        own = [word for word in every if start <= word.start < stop]
        slots += [_slot(own, *span, language) for span in sorted(spans) if start <= span[0] < stop]
    return slots


def _names(passage: str, language: str) -> list[tuple[int, int]]:
    """Where capitals tell names: those of which no word is written small elsewhere."""
    if language in NOUNS_ARE_CAPITALS:
        return []
    plain = {passage[word.start : word.stop] for word in overlap.located_words(passage)}
    found = names_in(passage, language=language)
    return [span for span in found if not any(word in plain for word in overlap.words(passage[slice(*span)]))]


def _numbers(text: str) -> list[tuple[int, int, Kind]]:
    return [(*number.span(), "year" if YEAR.fullmatch(number[0]) else "number") for number in NUMBER.finditer(text)]


def _slot(found: Sequence[Word], start: int, stop: int, kind: Kind, language: str) -> Slot:
    """found: the words of the sentence, or question, that it is in."""
    before, after = [word for word in found if word.start < start], [word for word in found if word.start >= stop]
    common = languages.common_words(language)
    beside = {word.word for word in [*before[-NEIGHBOURS:], *after[:NEIGHBOURS]]}
    whole = {word.word for word in [*before, *after]}
    return Slot(start, stop, kind, frozenset(beside - common), frozenset(whole - common))


def _spellings(name: str) -> Iterator[str]:
    for word in overlap.words(name):
        yield from (word, f"{word}'s")


def _language(passage: str) -> str:
    return languages.identify(passage) or ""
