"""Where sentences begin, in any script, by punctuation alone: no model, no word list beyond a few abbreviations.

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
