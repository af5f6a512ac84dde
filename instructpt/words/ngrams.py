"""Which test items stand in a text: every run of 13 words that both hold, found at the speed of reading.

    item     "In 1921 the western pillar sank by 4 centimetres, and trains were stopped for a month."     16 words
    n-grams  in 1921 the ... trains were | 1921 the ... were stopped | ... | by 4 ... for a month          4 of 13 words

    text     "... It is said that in 1921 the western pillar sank by 4 centimetres and trains were stopped. ..."
                                   ^------------------------------------------------------------^
    found    the item, 2 of its 4 n-grams, the characters from "in" to "stopped"

An item of fewer words, but at least 8, is looked for as a whole, anywhere in a text. One of 5 to 7 is found only where
the text is nothing else, as a question may be: so few words are part of many a text. This one rule holds for corpora
and for task data (`corpus.testitems` reads the items). Words are those of `wordforms`: case, accents and punctuation do
not count, and Chinese is looked for by its characters.

How: a number for each word, from these one for each run of words, by sums of powers (Karp and Rabin, "Efficient
randomized pattern-matching algorithms", 1987) of which the one of a run is the difference of two. A table of bits rules
out nearly all runs at once, a sorted array most of the others, and in the end the words themselves are compared: what
is found is there. Texts are worked on in blocks, so memory hangs on the items (some 25 bytes a word) and on the longest
stretch of a text without blanks or punctuation, not on the length of the text.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instructpt.words.overlap import CONTAMINATION_GRAM
from instructpt.words.runs import Piece, blocks, counted_up, pieces, runs_of, sums_of
from instructpt.words.wordforms import Unsigned, Words, find_words, folded_words

MIN_WORDS = 8
"""Items of fewer words are not looked for inside a text: choices, labels and names, which any may hold (GPT-3's floor,
arXiv 2005.14165, appendix C)."""
MIN_WHOLE_WORDS = 5
"""Items of fewer than `MIN_WORDS` and at least so many are found where a text has no other words."""
MAX_SAME = 100
"""What more texts of a test are, word for word, is how it is worded, not what it asks, and is not looked for. Reading
tests have some dozens of questions on one text."""
MAX_SHARING = 10
"""N-grams that more items share are wording likewise."""

_BITS_A_NGRAM = 16


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An item in a text."""

    text: int
    """Its place among the texts that were searched."""
    item: int
    """Its place in `Index.places`."""
    num_ngrams: int
    """How many of the item's different n-grams the text holds; `Index.num_ngrams` of it are looked for."""
    spans: tuple[tuple[int, int], ...]
    """The characters of the text that the item's words cover: half-open ranges, in order, apart from each other."""


@dataclass(frozen=True, slots=True)
class _Hits:
    """Runs of words of a block that may be an n-gram, a place in each array a run, those that go on together."""

    pieces: NDArray[np.int64]
    firsts: NDArray[np.int64]
    """The first word of the run, in its block."""
    items: NDArray[np.int64]
    offsets: NDArray[np.int64]
    """The first word of the n-gram, in its item."""

    def __len__(self) -> int:
        return len(self.firsts)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> _Hits:
        """Those at places, or those where a mask is true."""
        return _Hits(self.pieces[chosen], self.firsts[chosen], self.items[chosen], self.offsets[chosen])


@dataclass(frozen=True, slots=True)
class Index:
    """The n-grams of test items, to be looked for in texts."""

    length: int
    """Words of an n-gram."""
    places: tuple[tuple[int, ...], ...]
    """Of each item: its places among the texts that `index` was given; equal texts are one item."""
    spelled: tuple[str, ...]
    """Of each item: its words, with blanks between them."""
    num_ngrams: NDArray[np.int64]
    """Of each item: its different n-grams that are looked for."""
    num_too_short: int
    """Texts of fewer words than are looked for."""
    num_wording: int
    """Texts left out because too many are the same."""
    num_only_shared: int
    """Items that have none but these: they cannot be found."""
    _sizes: tuple[int, ...]
    """How many words are looked for at once: those of an n-gram, and of each shorter item."""
    _hashes: Unsigned
    """Of all n-grams, ascending."""
    _items: NDArray[np.int32]
    _offsets: NDArray[np.int32]
    """Which item an n-gram is of, and which of its words it begins with."""
    _wholes: Mapping[str, int]
    """Of each item that only a whole text may be: its words, and its place."""
    _bits: NDArray[np.uint8]
    """A bit is set for each n-gram, at the place that the number of its first few words names."""

    def search(self, texts: Sequence[str]) -> list[Occurrence]:
        """The items in each text, by text and then by item. A text may be of any length."""
        found: list[Occurrence] = []
        offsets: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        spans: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for block in blocks(pieces(texts, overlap_words=self.length - 1)):
            self._search_block(block, offsets, spans)
        for text, item in sorted(offsets):
            found.append(Occurrence(text, item, len(offsets[text, item]), union(spans[text, item])))
        wholes = [Occurrence(text, item, 1, ((0, len(texts[text])),)) for text, item in self._whole(texts)]
        return sorted(found + wholes, key=lambda one: (one.text, one.item)) if wholes else found

    def _whole(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """The texts that are an item, and which."""
        longest = 2 * max(map(len, self._wholes), default=-1)  # marks take room, too
        for place, text in enumerate(texts):
            if len(text) <= longest and (item := self._wholes.get(" ".join(folded_words(text)))) is not None:
                yield place, item

    def _search_block(
        self,
        block: Sequence[Piece],
        offsets: defaultdict[tuple[int, int], set[int]],
        spans: defaultdict[tuple[int, int], list[tuple[int, int]]],
    ) -> None:
        joined = "\n".join([piece.string for piece in block])
        found = find_words(joined)
        starts = np.cumsum([0, *(len(piece.string) + 1 for piece in block)])
        sums = sums_of(found.hashes)
        maybe = self._maybe(sums)
        for size in self._sizes:
            hits = self._hits(found, sums, maybe[maybe + size <= len(found.hashes)], starts, size)
            for first, last in _runs(hits):
                piece = block[hits.pieces[first]]
                key = piece.text, int(hits.items[first])
                shift = piece.offset - int(starts[hits.pieces[first]])
                for number in self._same(joined, found, hits, range(first, last), size):
                    word = hits.firsts[number]
                    offsets[key].add(int(hits.offsets[number]))
                    spans[key].append((int(found.starts[word]) + shift, int(found.stops[word + size - 1]) + shift))

    def _maybe(self, sums: Unsigned) -> NDArray[np.int64]:
        """The words that may begin an n-gram, as its first few words do."""
        if not self._sizes:
            return np.zeros(0, np.int64)
        heads = runs_of(sums, self._sizes[0])
        first, second = _slots(heads, len(self._bits))
        maybe = np.flatnonzero(_are_set(self._bits, first))
        return maybe[_are_set(self._bits, second[maybe])]

    def _hits(
        self, found: Words, sums: Unsigned, firsts: NDArray[np.int64], starts: NDArray[np.int64], size: int
    ) -> _Hits:
        """Where the number of a run of words is that of an n-gram, both within one piece; sorted so that runs that go
        on along one item stand together."""
        hashes = runs_of(sums, size, firsts)
        lower = np.searchsorted(self._hashes, hashes, side="left")
        is_there = self._hashes[np.minimum(lower, len(self._hashes) - 1)] == hashes
        firsts, lower, hashes = firsts[is_there], lower[is_there], hashes[is_there]
        counts = np.searchsorted(self._hashes, hashes, side="right") - lower
        entries = lower.repeat(counts) + counted_up(counts)
        firsts = firsts.repeat(counts)
        pieces = np.searchsorted(starts, found.starts[firsts], side="right") - 1
        hits = _Hits(pieces, firsts, self._items[entries].astype(np.int64), self._offsets[entries].astype(np.int64))
        hits = hits.take(found.stops[firsts + size - 1] < starts[pieces + 1])
        return hits.take(np.lexsort((hits.firsts, hits.firsts - hits.offsets, hits.items, hits.pieces)))

    def _same(self, text: str, found: Words, hits: _Hits, run: range, size: int) -> Iterable[int]:
        """Those hits of a run whose words are those of the item: all of them, but for two runs with one number."""
        first, last = hits.firsts[run[0]], hits.firsts[run[-1]] + size
        said = folded_words(text[found.starts[first] : found.stops[last - 1]])
        # A character such as "㍻" is several words in one place: those before the first are none of the run.
        before = first - np.searchsorted(found.starts, found.starts[first])
        said = said[before : before + last - first]
        wanted = self.spelled[hits.items[run[0]]].split(" ")
        offset = int(hits.offsets[run[0]])
        if said == wanted[offset : offset + len(said)]:
            return run
        return [
            number
            for place, number in enumerate(run)
            if said[place : place + size] == wanted[offset + place : offset + place + size]
        ]


def index(texts: Iterable[str], *, length: int = CONTAMINATION_GRAM, min_words: int = MIN_WORDS) -> Index:
    """The index of test items, a text each.

    length: words of an n-gram. Items of fewer are looked for as a whole, if they have `min_words`; of those that have
    fewer still, but `MIN_WHOLE_WORDS`, a text must be nothing else.
    """
    assert 0 < min_words <= length, f"items of {min_words} to {length} words"
    inside: dict[str, list[int]] = {}
    whole: dict[str, list[int]] = {}
    num_too_short = 0
    for place, text in enumerate(texts):
        said = folded_words(text)
        if len(said) < min(min_words, MIN_WHOLE_WORDS):
            num_too_short += 1
        else:
            known = inside if len(said) >= min_words else whole
            known.setdefault(" ".join(said), []).append(place)
    same = {spelled: tuple(places) for spelled, places in inside.items() if len(places) <= MAX_SAME}
    wholes = {spelled: tuple(places) for spelled, places in whole.items() if len(places) <= MAX_SAME}
    spellings = tuple(same)
    sizes = tuple(sorted({min(length, spelled.count(" ") + 1) for spelled in spellings}))
    grams = _ngrams(spellings, sizes)
    kept = _rarely_shared(grams)
    order = np.flatnonzero(kept)
    num_ngrams = np.bincount(grams.items[order], minlength=len(spellings))
    return Index(
        length=length,
        places=(*same.values(), *wholes.values()),
        spelled=(*spellings, *wholes),
        num_ngrams=np.concatenate([num_ngrams, np.ones(len(wholes), np.int64)]),
        num_too_short=num_too_short,
        num_wording=sum(len(places) for places in (*inside.values(), *whole.values()) if len(places) > MAX_SAME),
        num_only_shared=int((num_ngrams == 0).sum()),
        _sizes=sizes,
        _hashes=grams.hashes[order],
        _items=grams.items[order],
        _offsets=grams.offsets[order],
        _wholes={spelled: len(spellings) + i for i, spelled in enumerate(wholes)},
        _bits=_bits(grams.heads[order]),
    )


def union(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The places that some of the ranges hold, as ranges in order that are apart from each other."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return tuple(merged)


@dataclass(frozen=True, slots=True)
class _Grams:
    """N-grams of items, a place in each array an n-gram, by their numbers, then by item and place in the item."""

    hashes: Unsigned
    heads: Unsigned
    """The numbers of their first words, as many as the shortest n-gram has."""
    items: NDArray[np.int32]
    offsets: NDArray[np.int32]

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> _Grams:
        """Those at places, or those where a mask is true."""
        return _Grams(self.hashes[chosen], self.heads[chosen], self.items[chosen], self.offsets[chosen])


def _ngrams(spellings: Sequence[str], sizes: Sequence[int]) -> _Grams:
    """Those of all items, each once an item. sizes: of n-grams, ascending, the last one that of long items."""
    parts = [_Grams(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int32), np.zeros(0, np.int32))]
    first = 0
    for block in blocks(Piece(number, 0, spelled) for number, spelled in enumerate(spellings)):
        lengths = np.array([piece.string.count(" ") + 1 for piece in block])
        begins = np.cumsum(lengths) - lengths
        sums = sums_of(find_words("\n".join([piece.string for piece in block])).hashes)
        assert len(sums) == lengths.sum() + 1, "the words of words are these words"
        for size in sizes:
            chosen = np.flatnonzero(np.minimum(lengths, sizes[-1]) == size)
            counts = lengths[chosen] - size + 1
            offsets = counted_up(counts)
            firsts = begins[chosen].repeat(counts) + offsets
            items = (first + chosen).repeat(counts).astype(np.int32)
            heads = runs_of(sums, sizes[0], firsts)
            parts.append(_Grams(runs_of(sums, size, firsts), heads, items, offsets.astype(np.int32)))
        first += len(block)
    grams = _Grams(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.heads for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.offsets for part in parts]),
    )
    grams = grams.take(np.lexsort((grams.offsets, grams.items, grams.hashes)))
    again = (grams.hashes[1:] == grams.hashes[:-1]) & (grams.items[1:] == grams.items[:-1])
    return grams.take(np.concatenate([[True], ~again])[: len(grams.hashes)])


def _rarely_shared(grams: _Grams) -> NDArray[np.bool_]:
    """Which n-grams at most `MAX_SHARING` items have."""
    _, inverse, counts = np.unique(grams.hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] <= MAX_SHARING, np.bool_)


def _bits(heads: Unsigned) -> NDArray[np.uint8]:
    """Two bits set for each number in a table so large that few numbers find both of theirs set by others (Bloom,
    "Space/time trade-offs in hash coding with allowable errors", 1970): 1 in 200."""
    num_bits = max(16, (len(heads) * _BITS_A_NGRAM).bit_length())
    bits = np.zeros(1 << (num_bits - 3), np.uint8)
    for slots in _slots(heads, len(bits)):
        np.bitwise_or.at(bits, slots >> np.uint64(3), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8))
    return bits


def _slots(heads: Unsigned, num_bytes: int) -> tuple[Unsigned, Unsigned]:
    """The two bits of a number, by its first bits and by its last."""
    num_bits = num_bytes.bit_length() + 2
    return heads >> np.uint64(64 - num_bits), heads & np.uint64((1 << num_bits) - 1)


def _are_set(bits: NDArray[np.uint8], slots: Unsigned) -> NDArray[np.bool_]:
    found = bits.take((slots >> np.uint64(3)).view(np.int64)) >> (slots & np.uint64(7)).astype(np.uint8)
    return (found & 1).view(np.bool_)


def _runs(hits: _Hits) -> Iterator[tuple[int, int]]:
    """Where hits follow each other word by word, in the text and in the item: half-open ranges of them."""
    if not len(hits):
        return
    goes_on = (
        (np.diff(hits.pieces) == 0)
        & (np.diff(hits.items) == 0)
        & (np.diff(hits.firsts) == 1)
        & (np.diff(hits.offsets) == 1)
    )
    ends = [*(np.flatnonzero(~goes_on) + 1).tolist(), len(hits)]
    yield from itertools.pairwise([0, *ends])
