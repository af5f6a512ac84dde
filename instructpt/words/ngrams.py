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
from instructpt.words.wordforms import (
    Piece,
    Unsigned,
    Words,
    blocks,
    counted_up,
    find_words,
    folded_words,
    pieces,
    runs_of,
    sums_of,
)

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


_HIT = np.dtype([("piece", np.int64), ("first", np.int64), ("item", np.int64), ("offset", np.int64)])
"""A run of words of a block that may be an n-gram: its first word in the block, and the n-gram's in its item."""
_GRAM = np.dtype([("hash", np.uint64), ("head", np.uint64), ("item", np.int32), ("offset", np.int32)])
"""An n-gram of an item: its number, that of its first words, as many as the shortest n-gram has, and its place."""


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
                place = hits["piece"][first]
                piece = block[place]
                key = piece.text, int(hits["item"][first])
                shift = piece.offset - int(starts[place])
                same = self._same(joined, found, hits[first:last], size)
                if not len(same):
                    continue
                begins, ends = found.starts[same["first"]], found.stops[same["first"] + size - 1]
                offsets[key].update(same["offset"].tolist())
                spans[key] += zip((begins + shift).tolist(), (ends + shift).tolist(), strict=True)

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
    ) -> NDArray[np.void]:
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
        hits = np.empty(len(firsts), _HIT)
        hits["piece"], hits["first"] = pieces, firsts
        hits["item"], hits["offset"] = self._items[entries], self._offsets[entries]
        hits = hits[found.stops[firsts + size - 1] < starts[pieces + 1]]
        return hits[np.lexsort((hits["first"], hits["first"] - hits["offset"], hits["item"], hits["piece"]))]

    def _same(self, text: str, found: Words, run: NDArray[np.void], size: int) -> NDArray[np.void]:
        """Those hits of a run whose words are those of the item: all of them, but for two runs with one number."""
        first, last = run["first"][0], run["first"][-1] + size
        said = folded_words(text[found.starts[first] : found.stops[last - 1]])
        # A character such as "㍻" is several words in one place: those before the first are none of the run.
        before = first - np.searchsorted(found.starts, found.starts[first])
        said = said[before : before + last - first]
        offset = int(run["offset"][0])
        wanted = self.spelled[run["item"][0]].split(" ")[offset : offset + len(said)]
        same = (said[place : place + size] == wanted[place : place + size] for place in range(len(run)))
        return run if said == wanted else run[np.fromiter(same, np.bool_)]


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
    grams = grams[_rarely_shared(grams["hash"])]
    num_ngrams = np.bincount(grams["item"], minlength=len(spellings))
    return Index(
        length=length,
        places=(*same.values(), *wholes.values()),
        spelled=(*spellings, *wholes),
        num_ngrams=np.concatenate([num_ngrams, np.ones(len(wholes), np.int64)]),
        num_too_short=num_too_short,
        num_wording=sum(len(places) for places in (*inside.values(), *whole.values()) if len(places) > MAX_SAME),
        num_only_shared=int((num_ngrams == 0).sum()),
        _sizes=sizes,
        _hashes=grams["hash"].copy(),
        _items=grams["item"].copy(),
        _offsets=grams["offset"].copy(),
        _wholes={spelled: len(spellings) + i for i, spelled in enumerate(wholes)},
        _bits=_bits(grams["head"]),
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


def _ngrams(spellings: Sequence[str], sizes: Sequence[int]) -> NDArray[np.void]:
    """Those of all items, each once an item: by their numbers, then by item and place in the item.

    sizes: of n-grams, ascending, the last one that of long items.
    """
    parts = [np.empty(0, _GRAM)]
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
            part = np.empty(len(firsts), _GRAM)
            part["hash"], part["head"] = runs_of(sums, size, firsts), runs_of(sums, sizes[0], firsts)
            part["item"], part["offset"] = (first + chosen).repeat(counts), offsets
            parts.append(part)
        first += len(block)
    grams = np.concatenate(parts)
    grams = grams[np.argsort(grams["hash"], kind="stable")]  # by item and place they are already
    again = (grams["hash"][1:] == grams["hash"][:-1]) & (grams["item"][1:] == grams["item"][:-1])
    once: NDArray[np.void] = grams[np.concatenate([[True], ~again])[: len(grams)]]
    return once


def _rarely_shared(hashes: Unsigned) -> NDArray[np.bool_]:
    """Which n-grams at most `MAX_SHARING` items have."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
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


def _runs(hits: NDArray[np.void]) -> Iterator[tuple[int, int]]:
    """Where hits follow each other word by word, in the text and in the item: half-open ranges of them."""
    steps = {name: np.diff(hits[name]) for name in _HIT.names or ()}
    goes_on = (steps["piece"] == 0) & (steps["item"] == 0) & (steps["first"] == 1) & (steps["offset"] == 1)
    if len(hits):
        yield from itertools.pairwise([0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(hits)])
