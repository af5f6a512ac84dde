"""Rules that hide or alter one thing in a sentence: a number, a name, a rare word."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from instructpt.mining.english import FUNCTION_WORDS, NUMBER, ask, evidence, is_label, shuffled
from instructpt.mining.passage import PassageView
from instructpt.records import Pair

BLANK = "____"
MIN_TERM_BLANKS = 7
"""Of a sentence with a word to be found without options. The passage has that word once more, as it has its terms."""

_NUMBER = re.compile(rf"(?<![\w.,/:\u00a7$\u2013-])(?:{NUMBER})(?![\w/:\u2013-]|[.,]\d| (?:to|and|or|by) \d|x\b)")
_NAME = re.compile(
    r"(?<=[a-z,] )[A-Z][a-z\u00e0-\u00ff]{2,}(?: [A-Z][a-z\u00e0-\u00ff]+){0,3}(?![\w-]| \d| [A-Z]|\.(?!$))"
)
_WORD = re.compile(r"\b[a-z]{7,}\b")
_ENDINGS = ("tion", "ment", "ness", "ity", "ing", "ed", "ly", "ous", "al", "ive", "er", "es", "s")
_PAIRS = (
    "increased/decreased, increase/decrease, increases/decreases, higher/lower, larger/smaller, largest/smallest, "
    "highest/lowest, before/after, north/south, northern/southern, east/west, eastern/western, above/below, "
    "earlier/later, older/younger, oldest/youngest, positive/negative, improved/worsened, always/never, "
    "stronger/weaker, longer/shorter, growth/decline, rose/fell, first/last, more than/less than, shall/shall not, "
    "must/must not"
)
_OPPOSITE = {"common": "rare", "most common": "least common", "everyone": "no one"}
for _one, _, _two in (pair.partition("/") for pair in _PAIRS.split(", ")):
    _OPPOSITE |= {_one: _two, _two: _one}
_ARTICLE = re.compile(r"\ban? $")
_OPPOSED = re.compile(rf"\b(?:{'|'.join(sorted(_OPPOSITE, key=len, reverse=True))})\b")


class _Gap(NamedTuple):
    start: int
    stop: int
    kind: str


def fill_the_blank(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """A sentence with one number, name or rare word taken out; often with others of its kind to choose from."""
    for lead, sentence in view.statements(rng):
        text = sentence.text
        if text.count(" ") > 45:
            continue
        gaps = [gap for gap in _gaps(text, view) if (lead + text).count(text[gap.start : gap.stop]) == 1]
        pairs = (_with_gap(lead, text, gap, view, rng) for gap in rng.sample(gaps, len(gaps)))
        if (pair := next(filter(None, pairs), None)) is not None:
            yield replace(pair, span=sentence.span)


def _with_gap(lead: str, text: str, gap: _Gap, view: PassageView, rng: random.Random) -> Pair | None:
    """A pair that asks for what stands in the gap; None if too much else could stand there."""
    answer = text[gap.start : gap.stop]
    asked = f"{lead}{text[: gap.start]}{BLANK}{text[gap.stop :]}"
    options: tuple[str, ...] = ()
    if gap.kind == "word" or rng.random() < 0.6:
        options = shuffled(answer, [other for other in _alike(view, answer, gap.kind) if other not in asked], rng)
    if options:
        return Pair(ask("fill_the_blank", "choice", rng, sentence=asked), answer, options)
    if gap.kind == "word" and (text.count(" ") < MIN_TERM_BLANKS or view.text.count(answer) < 2):
        return None
    rationale = evidence(text, rng) if rng.random() < 0.2 else None
    return Pair(ask("fill_the_blank", "free", rng, sentence=asked), answer, (), rationale)


def _gaps(text: str, view: PassageView) -> list[_Gap]:
    gaps = [_Gap(*match.span(), "number") for match in _NUMBER.finditer(text) if not is_label(text, match.start())]
    gaps += [
        _Gap(*match.span(), "name")
        for match in _NAME.finditer(text)
        if match.group() in view.names and not _follows_capital(text, match.start())
    ]
    if not gaps:
        gaps = [_Gap(*match.span(), "word") for match in _WORD.finditer(text) if match.group() not in FUNCTION_WORDS]
    return gaps


def _follows_capital(text: str, start: int) -> bool:
    """Whether the word before is capitalised: then the name at `start` may be the second half of one."""
    before = text[:start].rsplit(None, 1)[-1]
    return before[0].isupper() and before.lower() not in FUNCTION_WORDS


def _alike(view: PassageView, answer: str, kind: str) -> list[str]:
    """What else in the passage could stand in the gap as far as its form goes."""
    if kind == "number":
        shape = _shape(answer)
        numbers = (match.group() for sentence in view.sentences for match in _NUMBER.finditer(sentence.text))
        return [number for number in dict.fromkeys(numbers) if _shape(number) == shape]
    if kind == "name":
        several = " " in answer
        return [name for name in view.names if (" " in name) == several and name[1:2].islower()]
    ending = next((ending for ending in _ENDINGS if answer.endswith(ending)), None)
    words = sorted(
        {word for word in view.words if ending and word.endswith(ending) and _WORD.fullmatch(word)} - FUNCTION_WORDS
    )
    return [word for word in words if next(e for e in _ENDINGS if word.endswith(e)) == ending]


def _shape(number: str) -> str:
    """Numbers of one shape look alike: years, shares, amounts, counts of about the same length."""
    plain = number.replace(",", "")
    if len(plain) == 4 and plain.isdigit() and plain[0] in "12":
        return "year"
    return re.sub(r"\d+(?:\.\d+)?", "0" if "." not in plain else "0.0", plain).strip() + str((len(plain) + 1) // 3)


def true_or_false(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """A statement of the passage as it is, or with a number changed or a word turned into its opposite."""
    for lead, sentence in view.statements(rng):
        text = sentence.text
        if text.endswith("?") or text.count(" ") > 40:
            continue
        altered = _altered(text, rng)
        if altered is None:
            continue
        true = rng.random() < 0.5
        options = rng.choice((("True", "False"), ("False", "True")))
        rationale = evidence(text, rng) if not true and rng.random() < 0.6 else None
        question = ask("true_or_false", "choice", rng, statement=lead + (text if true else altered))
        yield Pair(question, "True" if true else "False", options, rationale, span=sentence.span)


def _altered(text: str, rng: random.Random) -> str | None:
    """The statement made false, or None where it holds nothing that can be altered with certainty."""
    numbers = [
        m for m in _NUMBER.finditer(text) if not is_label(text, m.start()) and re.search(r"[2-9]|\d\d", m.group())
    ]
    if numbers:
        match = rng.choice(numbers)
        other = _other_number(match.group(), rng)
        if other in text:
            return None
        return text[: match.start()] + other + text[match.end() :]
    found = list(_OPPOSED.finditer(text))
    if len(found) != 1 or found[0].start() == 0 or text[: found[0].start()].lower().endswith((" no ", " not ", "at ")):
        return None
    opposite = _OPPOSITE[found[0].group()]
    if opposite in text:
        return None  # "rare or rare"
    before = _ARTICLE.sub("an " if opposite[0] in "aeiou" else "a ", text[: found[0].start()])
    return before + opposite + text[found[0].end() :]


def _other_number(number: str, rng: random.Random) -> str:
    """The same number with its leading digits changed by a fifth to a half, the same length and punctuation."""
    digits = re.sub(r"\D", "", number)
    head, length = digits[:4], min(4, len(digits))
    value = int(head)
    if _shape(number) == "year":
        other = value + rng.choice((-1, 1)) * rng.randint(3, 19)
        other = other if other < 2030 else value - rng.randint(3, 19)
    else:
        low, high = 10 ** (length - 1) if length > 1 else 2, 10**length - 1
        others = [
            v
            for v in (round(value * f) for f in (0.5, 0.6, 0.7, 0.8, 1.25, 1.4, 1.6, 1.8))
            if v != value and low <= v <= high
        ]
        other = rng.choice(others) if others else (value + 1 if value < high else value - 1)
    fresh = iter(f"{other:0{length}d}"[:length] + digits[length:])
    return "".join(next(fresh) if character.isdigit() else character for character in number)
