"""The little English that the rules share: which statements stand alone, which words carry little, numbers and labels.

There is no parser here. When in doubt these functions say no.

The wording of mined questions is data, all of it our own, in `wording/english.toml`:

    [title]                          one table a rule
    free = [                         one list a form, at least five wordings, each with the same {placeholders}
      "What is the title of this passage?",
      ...

A wording is drawn and filled in one pass, so that braces in a passage are only braces. That the file is sound (five
wordings and more, none twice, equal placeholders) is tested, since nobody but us writes it.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NOT_NAMES = _words(
    "I I'm I'll I've I'd Mr Mrs Miss Ms Dr Sir St January February March April May June July August September "
    "October November December Monday Tuesday Wednesday Thursday Friday Saturday Sunday That The This These "
    "And But Or If In It He She They We You What When Where Who Why How Yes No Not So Then There For From To "
    "As At Oh Ah Well Now O Let Table Figure Section Chapter"
)
"""Capitalised inside sentences, yet no names that a question could ask for."""

REFERS_BACK = _words(
    "he she it they this that these those his her its their him them such then there here so but and or nor "
    "yet also however therefore thus hence moreover furthermore besides instead otherwise meanwhile "
    "nevertheless nonetheless consequently additionally similarly likewise conversely finally another other "
    "others one ones both neither either none each some same former latter again still later earlier "
    "afterwards what who whom whose which where when why how i my mine me you your yours yes well look okay ok "
    "sure right thanks thank oh ah just let above below following not no nothing everything something anything"
)
"""First words of sentences that lean on the one before, or ask."""

FUNCTION_WORDS = REFERS_BACK | _words(
    "if although though while because since as when whenever once unless until before after during in on at by "
    "for from with without within under over to of into through throughout between among against despite upon "
    "per given than whereas according based due first second third lastly next now today currently recently "
    "is are was were be been being am has have had do does did will would can could may might must shall "
    "should cannot said says say we us our ours several whether around along across behind beyond rather"
)
"""Words that carry too little to be asked for."""

NUMBER = (
    r"(?:[$\u00a3\u20ac]\s?)?\d+(?:,\d+)*(?:\.\d+)?(?:\s?%| percent| per cent)?"
    r"(?: (?:thousand|million|billion|trillion))?"
)
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_LABELLED = re.compile(
    r"(?:\b(?:[Tt]ables?|[Ff]igs?\.?|[Ff]igures?|[Ss]ections?|[Ss]ubsections?|[Pp]aragraph|[Cc]hapter|Title|Nos?\."
    r"|[Ss]tep|Part|[Pp]hase|[Tt]ypes?|[Cc]lass|[Gg]rade|[Ss]tage|[Cc]hromosome|[Ll]evel|[Gg]roups?|[Vv]ersion"
    r"|[Pp]atent|Law|Act|Code"
    rf"|[Ss]lide|pages?|CI|and|to|by|or|between|EUR|USD|{_MONTH})|\u00a7|[=<>\u00b1]|D\.C\.)[ (]*$"
)
_LEANS_BACK = re.compile(
    r"In (?:other words|addition|contrast|this|these|that|those|such|turn|fact)|As a result|As (?:such|this)"
    r"|For (?:ex|this|these|ins)|On the (?:other|contrary)|By contrast|That is|Even |(?:At|To|After|During|With"
    r"|From|On|Of|By|Because of|If|When|While|Since) (?:this|that|these|those|the same|it|they|he|she|so|such)\b"
)
_LOWER_CASE_WORD = re.compile(r"(?<![\w-])[a-z\u00e0-\u00ff]{5,}(?![\w-])")


def stands_alone(statement: str) -> bool:
    """Whether a statement is understood without the sentence before it. "We" may speak, "it" and "he" may not."""
    first = statement.split(" ", 1)[0]
    word = re.split(r"[,'\u2019]", first.lower(), maxsplit=1)[0]
    if word in REFERS_BACK or '"' in statement or "\u201c" in statement:
        return False
    return _LEANS_BACK.match(statement) is None


def is_label(text: str, start: int) -> bool:
    """Whether the number at `start` is a label, a day or the end of a range rather than a quantity."""
    return _LABELLED.search(text, max(0, start - 14), start) is not None


def content_words(text: str) -> list[str]:
    """Words of five letters and more that are spelled in lower case, in order, function words left out."""
    return [word for word in _LOWER_CASE_WORD.findall(text) if word not in FUNCTION_WORDS]


def join(items: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else items[0]


def shuffled(answer: str, others: Iterable[str], rng: random.Random, *, most: int = 4) -> tuple[str, ...]:
    """The answer among drawn others, at most `most` in all, in a drawn order; () if there would be fewer than three."""
    pool = list(dict.fromkeys(other for other in others if not _same(other, answer)))
    if len(pool) < 2:
        return ()
    options = [answer, *rng.sample(pool, min(most - 1, len(pool)))]
    rng.shuffle(options)
    return tuple(options)


def _same(one: str, two: str) -> bool:
    one, two = one.casefold(), two.casefold()
    return one in two or two in one


EVIDENCE = "evidence"
"""The table that is no rule's: how a rationale quotes the sentence it rests on."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def ask(rule: str, form: str, rng: random.Random, **fields: str) -> str:
    """A drawn wording of this rule and form, its placeholders filled with `fields`."""
    wording = rng.choice(english()[rule][form])
    return PLACEHOLDER.sub(lambda match: fields[match.group(1)], wording)


def evidence(sentence: str, rng: random.Random) -> str:
    """A rationale that quotes the sentence an answer rests on."""
    return ask(EVIDENCE, "quote", rng, sentence=sentence.replace('"', "'"))


@cache
def english() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Rule -> form -> wordings."""
    return tomllib.loads((files(__package__) / "wording" / "english.toml").read_text("utf-8"))
