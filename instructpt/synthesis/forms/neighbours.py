"""Which other passage of its document a passage is to be written about with: the one that names most of the same.

    1   Ada Brekke built the bridge over the Cole.
    2   The Cole floods the valley each spring.           beside 1: both name the Cole
    3   In 1887 Ada Brekke sold her mill.                 beside 1: both name Ada Brekke
    4   Herons wait in shallow water.                     beside none

A name counts for the less, the more passages have it. Each passage looks back at `LOOKED_BACK` ones, so that any two of
a document that are no farther apart may meet, and a long document is no more work a passage than a short one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from instructpt.records import Document
from instructpt.verification.checks.grounding import MIN_TELLING_CHARACTERS, NOUNS_ARE_CAPITALS, names_in
from instructpt.words import languages, overlap

LOOKED_BACK = 32


@dataclass(slots=True)
class Neighbours:
    """The passages of a shard in their order, and what each is to be written about with."""

    found: dict[int, str] = field(default_factory=dict)
    """Number of a passage -> the other one; taken away by whoever writes about it."""

    def followed(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The same passages, looked at before each is handed on."""
        before = deque[tuple[Document, frozenset[str]]](maxlen=LOOKED_BACK)
        for number, document in enumerate(documents):
            if before and not _are_of_one(before[-1][0], document):
                before.clear()
            named = _named(document)
            if other := _nearest(named, before):
                self.found[number] = other.text
            before.append((document, named))
            yield document


def _nearest(named: frozenset[str], before: Iterable[tuple[Document, frozenset[str]]]) -> Document | None:
    """The passage whose names that are shared weigh most, of equals the last; None where no name is shared."""
    passages = list(before)
    counts = Counter(name for _, names in passages for name in names)
    best, most = None, 0.0
    for document, names in passages:
        weight = sum(1 / counts[name] for name in sorted(named & names))
        if weight and weight >= most:
            best, most = document, weight
    return best


def _named(document: Document) -> frozenset[str]:
    """The words of its names; where capitals do not tell names, long words, or signs in twos."""
    language = languages.named(document.meta.get("language")) or languages.identify(document.text) or ""
    if overlap.NO_BLANKS.search(document.text):
        return frozenset(overlap.grams(document.text, 2))
    if language not in NOUNS_ARE_CAPITALS and (found := names_in(document.text, language=language)):
        return frozenset(word for start, stop in found for word in overlap.words(document.text[start:stop]))
    return frozenset(word for word in overlap.words(document.text) if len(word) >= MIN_TELLING_CHARACTERS)


def _are_of_one(first: Document, second: Document) -> bool:
    """Whether two passages were cut from one document (`corpus.splitting` calls them "{document}#{number}")."""
    name = first.id.rpartition("#")[0]
    return bool(name) and (first.source, name) == (second.source, second.id.rpartition("#")[0])
