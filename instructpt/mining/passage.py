"""A passage as the rules see it: its title, its headings, and the sentences that can stand in a pair.

    Lake Erie Gale (1811)                          title: a short first line without final stop, then a blank line

    The gale sank two ships. [3] It lasted two     sentences: "The gale sank two ships.", "It lasted two days."
    days. See also - storms - wrecks
    "Run!" he cried. "The

Text is split into blocks (lines, hard-wrapped ones joined), blocks into sentences. Only whole, clean ones are kept: no
list debris, markup, addresses, tables, open brackets or quotation marks. Citations such as [3] and (Table 2) are taken
out. Every step is linear in the text, and rules only ever match single sentences of bounded length.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from instructpt.mining.english import NOT_NAMES, stands_alone
from instructpt.words.evidence import Span, sentence_starts

MAX_SENTENCE_CHARACTERS = 400
MIN_SENTENCE_WORDS = 4
MAX_TITLE_CHARACTERS = 120
MAX_TITLE_WORDS = 16
MAX_LEAD_CHARACTERS = 200
"""Of a sentence that is quoted before another for its sake."""
MIN_WRAPPED_LINE_CHARACTERS = 55
"""A shorter line that ends without a stop is a heading or list item, not a hard-wrapped line of running text."""
MAX_DIGIT_SHARE = 0.15
"""Of a sentence's characters: tables run into a line have more."""
MAX_BLANK_CHARACTERS = 200
"""A longer block is not looked through for being blank; it then holds no sentence either."""

_FRAGMENT_AFTER_MARKER = re.compile(
    r"(?!(?:The|An?|Each|Any|Every|No|If|When|All|For|In|Not|Upon|Notwithstanding|Unless|On|Nothing|There|During)\b)"
)
_CITATION = re.compile(
    r"\s?\[\s?\d[\d,;\s\u2013-]{0,40}\]|\s?\[citation needed\]"
    r"|\s?\((?:see |see also )?(?:Tables?|Figs?\.?|Figures?|Appendix|Additional files?|Supplementary)\b[^()]{0,40}\)"
)
_MARKER = re.compile(r"(?:\(?(?:[a-z]{1,2}|[A-Z]|\d{1,3}|[ivx]{1,5})(?:-\d{1,2})?\)|\d{1,2}\.|[\u2022*\u00b7-])\s+")
_LIST_LINE = re.compile(r"\s*(?:\(\w{1,4}\)|\d{1,2}[.)]|[-\u2022*\u00b7\u2013])\s")
_DEBRIS = re.compile(
    r"^(?:Fig|Table)|^To [^,]*$|<[/A-Za-z]|://|www\.|[|{}\[\]=_\\]|\s[-\u2022\u00b7]\s|\.\.\.|\u2026|\.\s\."
    r"|: ?\(?(?:a|1|i)\)|\bTable \d+ [A-Z]"
    r"|\b(?:table|listed|shown|see|links?|described|mentioned) (?:below|above)\b|following (?:table|list|figure)"
    r"|[a-z]{3}\.[A-Z][a-z]{2}"
    r"|[a-z0-9%] (?:We|Our|This|It|And|But|Now|These|There|They|However|While|So|Overall|Thanks|Thank|You|If|That) "
)
_SINGLE_OPEN = re.compile(r"(?:^|[\s(])['\u2018](?=\w)")
_SINGLE_CLOSE = re.compile(r"\S['\u2019](?=[\s.,;:!?)]|$)")
_SPEECH_CLOSE = re.compile(r"[.,!?]['\u2019](?=\s|$)")
_WHOLE = re.compile(r"""["\u201c(]?[A-Z0-9$\u00a3\u20ac\u00c0-\u00de].*[.!?]["\u201d\u2019)]*$""", re.DOTALL)
_SECTION_TITLE = re.compile(r"\u00a7\s?[\w.:\u2013-]{1,30}\.\s([^\n]{3,110})\.$")
_CHAPTER_TITLE = re.compile(r"(?:Chapter|CHAPTER|Book|BOOK|Part|PART) (?:[IVXLC]{1,7}|\d{1,3})[.:]? ([^\n]{3,80}?)\.?$")
_WORD = re.compile(r"\S+")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w'\u2019-]+(?: (?:of |de |von |van )?[A-Z][\w'\u2019-]+){0,4}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A whole sentence, cleaned."""

    text: str
    """Single blanks, no citations, no list marker in front."""
    block: int
    place: int
    """Number of its block and its own number in the passage; left-out sentences count too."""
    quoted: bool
    """It begins inside somebody's speech that began in an earlier sentence."""
    span: Span
    """The characters of the passage that it was made from."""


@dataclass(frozen=True)  # not slotted: the cached properties need a place to live
class PassageView:
    """What a rule may look at."""

    text: str
    title: str | None
    headings: tuple[str, ...]
    """Short lines without final stop that stand over a paragraph; the title is not among them."""
    sentences: tuple[Sentence, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the text as it is spelled there, punctuation still on it."""
        return frozenset(self.text.split())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Capitalised words and groups of words found inside sentences, each once, in order."""
        found = (match.group() for sentence in self.sentences for match in _NAME.finditer(sentence.text))
        trimmed = (name.removesuffix("'s").removesuffix("\u2019s") for name in found)
        return tuple(dict.fromkeys(name for name in trimmed if name not in NOT_NAMES and len(name) > 2))

    def from_anywhere(self, rng: random.Random) -> Iterator[Sentence]:
        """All sentences, once round from a drawn one, so that not every rule asks about the beginning."""
        if self.sentences:
            first = rng.randrange(len(self.sentences))
            yield from self.sentences[first:]
            yield from self.sentences[:first]

    def statements(self, rng: random.Random) -> Iterator[tuple[str, Sentence]]:
        """Sentences from anywhere that are understood, each with what has to stand before it for that.

        That is nothing, or the sentence before with a blank, if a sentence leans on it ("It eats fish.").
        """
        before = {(one.block, one.place + 1): one for one in self.sentences if not one.quoted}
        for sentence in self.from_anywhere(rng):
            if sentence.quoted or '"' in sentence.text or "\u201c" in sentence.text:
                continue
            if stands_alone(sentence.text):
                yield "", sentence
                continue
            lead = before.get((sentence.block, sentence.place))
            if lead is not None and len(lead.text) <= MAX_LEAD_CHARACTERS and stands_alone(lead.text):
                yield f"{lead.text} ", sentence

    def neighbours(self, rng: random.Random) -> Iterator[tuple[Sentence, Sentence]]:
        """Sentences that stand side by side in one block, once round from a drawn pair."""
        if len(self.sentences) > 1:
            first = rng.randrange(len(self.sentences) - 1)
            for i in [*range(first, len(self.sentences) - 1), *range(first)]:
                one, two = self.sentences[i : i + 2]
                if one.block == two.block and one.place + 1 == two.place:
                    yield one, two


def read(text: str) -> PassageView:
    """The view of a passage. Linear in its length; a text without sentences gives a view without sentences."""
    title = _title(text)
    headings: list[str] = []
    sentences: list[Sentence] = []
    place = 0
    lead: str | None = None
    for block, (start, stop) in enumerate(_blocks(text)):
        if stop - start <= MAX_TITLE_CHARACTERS and _is_heading(line := text[start:stop].strip()):
            if line != title:
                headings.append(line)
            continue
        if stop - start <= 2 * MAX_TITLE_CHARACTERS and text.startswith("\u00a7", start):
            continue  # a statute's section title, which ends in a stop
        lead, fragment = _follow_list(text, start, stop, lead=lead)
        if fragment:
            continue
        open_quote = False
        for piece, span in _split(text, start, stop):
            if (cleaned := _clean(piece)) is not None:
                sentences.append(Sentence(cleaned, block, place, open_quote, span))
            place += 1
            open_quote ^= piece.count('"') % 2 == 1
            curly = piece.count("\u201c") - piece.count("\u201d")
            open_quote = curly > 0 if curly else open_quote
    return PassageView(text, title, tuple(dict.fromkeys(headings)), tuple(sentences))


def _title(text: str) -> str | None:
    """The first line, if it is a title: see the module's drawing. Of "Chapter I. Fog" it is the name alone."""
    line, _, rest = text[: 2 * MAX_TITLE_CHARACTERS].partition("\n")
    line = line.strip()
    if match := _SECTION_TITLE.match(line):
        return match.group(1) if match.group(1)[0].isalnum() else None
    if not rest.startswith("\n"):
        return None
    if match := _CHAPTER_TITLE.match(line):
        return match.group(1)
    return line if _is_heading(line) else None


def _is_heading(line: str) -> bool:
    return (
        3 <= len(line) <= MAX_TITLE_CHARACTERS
        and len(line.split()) <= MAX_TITLE_WORDS
        and line[-1] not in '.!?:;,-\u2013\u2014"\u201d'
        and line[0].isalnum()
        and _DEBRIS.search(line) is None
        and not line.startswith(("http", "More on", "See "))
    )


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Ranges of the text: its lines, where a hard-wrapped line is joined to the next."""
    start = position = 0
    while position < len(text):
        stop = text.find("\n", position)
        stop = len(text) if stop < 0 else stop
        after = text[stop + 1 : stop + 8]
        wrapped = (
            stop - position >= MIN_WRAPPED_LINE_CHARACTERS
            and after.strip() != ""
            and not after.startswith("\n")
            and text[stop - 1] not in '.!?:;)"\u201d'
            and _LIST_LINE.match(after) is None
        )
        position = stop + 1
        if not wrapped:
            if stop - start >= MAX_BLANK_CHARACTERS or text[start:stop].strip():
                yield start, stop
            start = position
    if start < len(text):
        yield start, len(text)


def _follow_list(text: str, start: int, stop: int, *, lead: str | None) -> tuple[str | None, bool]:
    """Whether a block is a fragment: an item that completes a line such as "(a) The Mayor shall:".

    lead: the kind of marker before the line that ended in a colon ("" for none), None if there is no such line. An item
    with a marker of that same kind is the next line of the outer list, and whole. Returns the new lead as well.
    """
    match = _LIST_LINE.match(text, start, stop)
    kind = "" if match is None else _marker_kind(match.group())
    if lead is not None and match is not None and kind != lead:
        return lead, True
    return (kind if text[max(start, stop - 3) : stop].rstrip().endswith((":", "\u2014")) else None), False


def _marker_kind(marker: str) -> str:
    first = next((character for character in marker if character.isalnum()), "-")
    return "digit" if first.isdigit() else "upper" if first.isupper() else "lower" if first.islower() else "bullet"


def _split(text: str, start: int, stop: int) -> Iterator[tuple[str, Span]]:
    """The sentences of a block, whole or not, with single blanks and without citations, each with where it stands."""
    block = plain = text[start:stop]
    if "[" in block or "(" in block:
        plain = _CITATION.sub("", block)
        block = _CITATION.sub(lambda match: " " * len(match.group()), block)
    plain = " ".join(plain.split()).replace(" ,", ",").replace(" .", ".")
    words = [match.span() for match in _WORD.finditer(block)]  # only blanks and citations are gone
    ends = list(accumulate(stop - start for start, stop in words))
    done = 0
    for first, last in pairwise([0, *sentence_starts(plain), len(plain)]):
        piece = plain[first:last].strip()
        if length := len(piece) - piece.count(" "):
            begin, end = (start + _place(words, ends, number) for number in (done, done + length - 1))
            yield piece, (begin, end + 1)
            done += length


def _place(words: Sequence[Span], ends: Sequence[int], number: int) -> int:
    """Where a character of the words stands, counted over all of them. ends: where each word ends, counted so."""
    word = bisect_right(ends, number)
    return words[word][1] - (ends[word] - number)


def _clean(line: str) -> str | None:
    """The sentence without a list marker, or None if it is not one that a pair may quote."""
    if len(line) > 2 * MAX_SENTENCE_CHARACTERS:
        return None
    start = 0
    while match := _MARKER.match(line, start):
        start = match.end()
    if start and _FRAGMENT_AFTER_MARKER.match(line, start):
        return None
    line = line[start:]
    if not 15 <= len(line) <= MAX_SENTENCE_CHARACTERS or line.count(" ") < MIN_SENTENCE_WORDS - 1:
        return None
    if _WHOLE.match(line) is None or _DEBRIS.search(line) is not None:
        return None
    if line.count("(") != line.count(")") or line.count('"') % 2 or line.count("\u201c") != line.count("\u201d"):
        return None
    opened = len(_SINGLE_OPEN.findall(line))
    if opened > len(_SINGLE_CLOSE.findall(line)) or len(_SPEECH_CLOSE.findall(line)) > opened:
        return None
    return None if sum(map(line.count, "0123456789")) > MAX_DIGIT_SHARE * len(line) else line
