"""Which words a text is made of when copies are looked for: every spelling of a word is one, and each has its place.

    text      "Élan / ½ café,  北京!"
    words      elan   1 2 cafe  北 京        small letters, no accents, no punctuation; scripts without blanks
    from       0      7   9     14 15        between words are cut into their characters

Unlike `overlap.words`, which normalizes a text as a whole, this goes character by character: what a character becomes
does not hang on its neighbours. So the place of every word is known, and numpy does a block at a time (`find_words`).

Runs of words are numbers, too: a block of text at a time, of texts of any length, a number for each run in it.

    texts --pieces, blocks--> "a block of neighbouring texts" --find_words--> a number a word --sums_of, runs_of-->
        a number for each run of n words, which equal runs share

By sums of powers (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987), of which the one of a run
is the difference of two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from instructpt.words.overlap import NO_BLANKS

Codes = NDArray[np.uint8] | NDArray[np.uint32]
Unsigned = NDArray[np.uint64]
Places = NDArray[np.int64]

_ACCENTS = frozenset(map(chr, (*range(0x300, 0x370), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
"""What is put on a letter or picks its shape; not the vowel signs of Indian scripts, which are letters."""

_ALONE = np.uint32(1 << 21)
"""Added to the code of a character that is a word by itself."""
_LONGER = np.uint32(1 << 22)
"""Added to the number of a character that becomes several, in `_Table.longer`."""
_NOTHING = np.uint32(1 << 23)
_UNKNOWN = np.uint32(1 << 24)
_PAGE = 256
_NUM_CODES = 0x110000

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse mod 2**64; its bits look drawn (the golden ratio)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, one place in each array a word."""

    starts: Places
    """The first character of each."""
    stops: Places
    """The character after its last one."""
    hashes: Unsigned
    """A number that equal words share, the same on every machine. Different words may share it: compare the words."""


def folded_words(text: str) -> list[str]:
    """The words of a text, as they are compared."""
    return text.translate(_SPELLINGS).split()


def find_words(text: str) -> Words:
    """The words of a text with their places, 50 times as fast as `folded_words`. Memory: about 40 bytes a character."""
    codes, places = _fold(f"\n{text}\n")
    is_word = codes != 0
    begins, ends = is_word[1:] & ~is_word[:-1], is_word[:-1] & ~is_word[1:]
    if codes.dtype == np.uint32 and codes.max() >= _ALONE:
        alone = codes >= _ALONE
        between = is_word[1:] & is_word[:-1] & (alone[1:] | alone[:-1])
        begins, ends = begins | between, ends | between
    starts, stops = np.flatnonzero(begins) + 1, np.flatnonzero(ends) + 1
    rising, falling = powers(len(codes))
    sums = np.zeros(0, np.uint64)
    if len(starts):
        # Blanks count nothing, so a word's sum may run on to where the next one starts.
        sums = np.add.reduceat(codes * rising[: len(codes)], starts)
    hashes = mixed(sums * falling[starts])
    if places is not None:
        return Words(places[starts] - 1, places[stops - 1], hashes)
    return Words(starts - 1, stops - 1, hashes)


def powers(size: int) -> tuple[Unsigned, Unsigned]:
    """At least `size` powers of an odd number mod 2**64, and as many of its inverse."""
    return _powers(max(16, (size - 1).bit_length()))


@cache
def _powers(bits: int) -> tuple[Unsigned, Unsigned]:
    tables = np.ones((2, 1 << bits), np.uint64)
    tables[0, 1:], tables[1, 1:] = _BASE, pow(_BASE, -1, 1 << 64)
    rising, falling = np.cumprod(tables, axis=1, dtype=np.uint64)
    return rising, falling


def mixed(values: Unsigned) -> Unsigned:
    """Numbers of which every bit hangs on every bit of the given ones, one to one."""
    values = (values ^ (values >> np.uint64(31))) * _MIX
    return values ^ (values >> np.uint64(29))


def _spelled(character: str) -> str:
    """What a character becomes: letters, a blank where it is none, nothing where it only changes its neighbour."""
    if character in _ACCENTS or unicodedata.category(character) in ("Cf", "Me"):
        return ""
    plain = unicodedata.normalize("NFKC", character).casefold()
    bare = "".join(c for c in unicodedata.normalize("NFD", plain) if c not in _ACCENTS)
    parts = []
    for part in unicodedata.normalize("NFC", bare):
        is_letter = part.isalnum() or unicodedata.category(part)[0] == "M"
        parts.append(f" {part} " if is_letter and _is_alone(part) else part if is_letter else " ")
    joined = " ".join("".join(parts).split())
    # What is several words is none with its neighbours: "1½" is 1 1 2.
    return f" {joined} " if " " in joined or _is_alone(joined) else joined or " "


def _is_alone(character: str) -> bool:
    """Whether a character is a word by itself."""
    return bool(NO_BLANKS.fullmatch(character))


class _Spellings(dict[int, str]):
    """Character -> what it becomes, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = _spelled(chr(code))
        return self[code]


_SPELLINGS = _Spellings()
_ASCII = bytes(0 if (spelled := _spelled(chr(code))) == " " else ord(spelled) for code in range(128)).ljust(256, b"\0")


class _Table:
    """What `_spelled` says of each character, as numbers; a page of them is worked out when it is first needed."""

    def __init__(self) -> None:
        self.values = np.full(_NUM_CODES, _UNKNOWN, np.uint32)
        self.longer: list[list[int]] = []
        """The codes of those that become several."""

    def look_up(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The value of each character."""
        found = self.values.take(codes)
        if found.max() == _UNKNOWN:
            for page in np.unique(codes[found == _UNKNOWN] // _PAGE).tolist():
                for code in range(page * _PAGE, (page + 1) * _PAGE):
                    self.values[code] = self._value(_SPELLINGS[code])
            found = self.values.take(codes)
        return found

    def _value(self, spelled: str) -> int:
        if not spelled.strip():
            return 0 if spelled else int(_NOTHING)
        codes = _codes(spelled)
        if len(codes) == 1:
            return codes[0]
        self.longer.append(codes)
        return int(_LONGER) + len(self.longer) - 1


def _codes(spelled: str) -> list[int]:
    """The codes of a spelling; a character alone needs no blanks around it."""
    codes = [0 if c == " " else ord(c) | int(_ALONE) * _is_alone(c) for c in spelled]
    return [codes[1]] if len(codes) == 3 and codes[1] >= _ALONE else codes


@cache
def _table() -> _Table:
    return _Table()


def _fold(text: str) -> tuple[Codes, Places | None]:
    """The codes of a text's characters, 0 between words, and the places that they had, if some of these moved."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii").translate(_ASCII), np.uint8), None
    table = _table()
    codes = table.look_up(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32))
    if codes.max() < _LONGER:
        return codes, None
    places = np.flatnonzero(codes != _NOTHING)
    codes = codes[places]
    if codes.max() >= _LONGER:
        which = np.flatnonzero(codes >= _LONGER)
        lengths = np.ones(len(codes), np.int64)
        kinds = codes[which] - _LONGER
        sizes = np.array([len(part) for part in table.longer])
        lengths[which] = sizes[kinds]
        firsts = np.cumsum(lengths) - lengths
        codes, places = codes.repeat(lengths), places.repeat(lengths)
        for kind in np.unique(kinds).tolist():
            at = firsts[which[kinds == kind]]
            codes[at[:, None] + np.arange(sizes[kind])] = table.longer[kind]
    return codes, places


BLOCK_CHARACTERS = 1 << 17
"""Enough that numpy's own cost a call does not show, few enough that its arrays stay in a core's cache."""
_CUT = re.compile(r"[\s!-&(-/:-@\[-_{-~、。，．]")
"""Where a text may be cut: no word has these in it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text."""

    text: int
    offset: int
    """Of its first character in the text."""
    string: str


def sums_of(hashes: Unsigned) -> Unsigned:
    """For each word, the sum of the words' numbers before it, each times a power that tells its place; and of all."""
    sums = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * powers(len(hashes))[0][: len(hashes)], out=sums[1:])
    return sums


def runs_of(sums: Unsigned, size: int, firsts: NDArray[np.int64] | None = None) -> Unsigned:
    """A number for each run of `size` words, or for those that begin at `firsts`. Other sizes have other numbers."""
    _, table = powers(len(sums))
    if firsts is None:
        count = max(0, len(sums) - size)
        runs = (sums[size:] - sums[:count]) * table[:count]
    else:
        runs = (sums[firsts + size] - sums[firsts]) * table[firsts]
    return mixed(runs + np.uint64(size))


def counted_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... for each count, one after the other: [2, 3] -> [0, 1, 0, 1, 2]."""
    numbers: NDArray[np.int64] = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
    return numbers


def pieces(texts: Iterable[str], *, overlap_words: int) -> Iterator[Piece]:
    """The texts, long ones cut: each piece begins with the last words of the one before, so that no run is torn."""
    for number, text in enumerate(texts):
        start = 0
        while len(text) - start > BLOCK_CHARACTERS and (cut := _CUT.search(text, start + BLOCK_CHARACTERS)):
            yield Piece(number, start, text[start : cut.start()])
            start = _back(text, start, cut.start(), overlap_words)
        yield Piece(number, start, text[start:])


def _back(text: str, start: int, stop: int, num_words: int) -> int:
    """Where the last `num_words` words before `stop` begin.

    Where half the piece does not hold so many, a place there that cuts no word: a run of such words may be missed.
    """
    if num_words == 0:
        return stop
    half, reach = (start + stop) // 2, 16 * (num_words + 1)
    while True:
        first = max(stop - reach, half)
        starts = find_words(text[first:stop]).starts
        if len(starts) > num_words:  # the first of them may be the end of a longer one
            return first + int(starts[-num_words])
        if first == half:
            cut = _CUT.search(text, half, stop)
            return cut.start() if cut else stop
        reach *= 2


def blocks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces that fill a block together; a longer one is alone."""
    block: list[Piece] = []
    num_characters = 0
    for piece in pieces:
        if block and num_characters + len(piece.string) > BLOCK_CHARACTERS:
            yield block
            block, num_characters = [], 0
        block.append(piece)
        num_characters += len(piece.string) + 1
    if block:
        yield block
