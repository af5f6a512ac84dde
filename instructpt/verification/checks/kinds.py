"""Is the answer of the kind that the question asks for? A time for when, a number for how many, a name for who.

    "In what year was it built?"    "Ada Brekke"     wrong_kind_of_answer
    "How many pillars sank?"        "the western"    wrong_kind_of_answer
    "Who paid for it?"              "1887"           wrong_kind_of_answer

A small model that names an answer first asks for another kind of thing now and then, and a reader that follows the
question's words does not always see it. Only English questions with short answers are looked at, and only what is
plainly of another kind.
"""

from __future__ import annotations

import re

from instructpt.records import Pair
from instructpt.verification.checks.numerals import all_readings
from instructpt.verification.checks.passage import Passage
from instructpt.words import overlap

MAX_WORDS = 10
"""Of an answer that is looked at: a longer one may hold what is asked for in words of its own."""

_ASIDE = r"^(?:(?:in|on|at|during|by|since|until|from|of|to|for|with|about|under|after|before)\s+)?"
_TIME = re.compile(rf"{_ASIDE}(?:when\b|(?:what|which) (?:year|date|month|day|decade|century)\b)", re.IGNORECASE)
_YEAR = re.compile(rf"{_ASIDE}(?:what|which) year\b", re.IGNORECASE)
_YEAR_NUMBER = re.compile(r"\d{3}|['’]\d\d\b|\d+ ?(?:b\.?c|a\.?d|c\.?e)", re.IGNORECASE)
_NUMBER = re.compile(
    rf"{_ASIDE}(?:how many|how much|how old|how tall|what percent(?:age)?|what (?:number|amount) of)\b", re.IGNORECASE
)
_PERSON = re.compile(rf"{_ASIDE}(?:who|whom|whose)\b", re.IGNORECASE)
_NAMED = re.compile(r"^what (?:is|was|are|were) the names? of\b", re.IGNORECASE)

_TIME_WORD = re.compile(
    r"\b(?:january|february|march|april|may|june|july|august|september|october|november|december|(?:mon|tues|wednes|thurs"
    r"|fri|satur|sun)day|spring|summer|autumn|fall|winter|morning|noon|afternoon|evening|night|midnight|midday|midsummer|daytime|twilight|dawn|dusk|sunset|sunrise"
    r"|days?|weeks?|months?|years?|decades?|century|centuries|hours?|minutes?|season|age|era|period|times?|history|prior|today|tomorrow"
    r"|yesterday|now|soon|later|earlier|ago|before|after|during|while|when|until|since|once|whenever|always|never|early|late"
    r"|birth|death|war|christmas|easter|eve|quarter|semester|term|reign|end|beginning|start|middle|upon|as|if|following|immediately)\b",
    re.IGNORECASE,
)
_AMOUNT_WORD = re.compile(
    r"\b(?:an?|no|none|nothing|all|every|both|half|halves|third|thirds|quarters?|dozens?|several|few|fewer|many|much|most|more"
    r"|less|some|any|once|twice|thrice|double|triple|one|single|pair|couple|hundreds?|thousands?|millions?|billions?"
    r"|majority|minority|percent|enough|little|lot|lots|entire|whole|infinite|never|hardly|various|quadrupled|doubled|taller|unlimited|everything|free)\b",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")
_ASKS_AGAIN = re.compile(r",|\b(?:who|whom|whose|what|which|where|why|how)\b", re.IGNORECASE)
"""After "when": a question about something else that begins with a time."""


def wrong_kind_of_answer(pair: Pair, passage: Passage) -> str | None:
    """A short answer that is plainly of another kind than the question asks for.

    It leaves out 1 in 1,000 pairs that people wrote for paragraphs of an encyclopaedia (15,314 of SQuAD), some of which
    are wrong: "When did Aspar die?" "Aspar".
    """
    if pair.options or pair.rationale is not None or len(overlap.words(pair.answer)) > MAX_WORDS:
        return None
    question, answer = pair.question.strip(), pair.answer
    has_number = any(map(str.isdigit, answer)) or all_readings(answer)
    if _YEAR.search(question) and any(map(str.isdigit, answer)):
        is_wrong = not _YEAR_NUMBER.search(answer)
    elif asked := _TIME.search(question):
        is_wrong = not (has_number or _TIME_WORD.search(answer) or _ASKS_AGAIN.search(question, asked.end()))
    elif _NUMBER.search(question):
        is_wrong = not (has_number or _AMOUNT_WORD.search(answer))
    elif _PERSON.search(question) or _NAMED.search(question):
        is_wrong = not _LETTER.search(answer)
    else:
        return None
    return "wrong_kind_of_answer" if is_wrong and passage.language in ("", "english") else None
