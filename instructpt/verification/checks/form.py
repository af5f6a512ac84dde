"""Checks on what a pair looks like: nothing missing, nothing endless, nothing copied, no marks that do harm.

And is the answer of the kind that the question asks for? A time for when, a number for how many, a name for who.

    "In what year was it built?"    "Ada Brekke"     wrong_kind_of_answer
    "How many pillars sank?"        "the western"    wrong_kind_of_answer
    "Who paid for it?"              "1887"           wrong_kind_of_answer

A small model that names an answer first asks for another kind of thing now and then, and a reader that follows the
question's words does not always see it. Only English questions with short answers are looked at, and only what is
plainly of another kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from instructpt.records import Pair
from instructpt.verification.checks.numerals import all_readings
from instructpt.verification.checks.passage import Passage, normal, question_key, strings
from instructpt.words import overlap

NONE_OF_THE_ABOVE = frozenset(
    """none of the above|none of the options|none of these|none of the choices|none of the given options
    |keine der antworten|keine der möglichkeiten|keine davon|nichts davon|keine der genannten
    |aucune de ces réponses|aucun des choix|aucune des propositions|aucune d’entre elles|aucune des réponses
    |ninguna de las anteriores|ninguna de las opciones|ninguna de ellas|ninguno de los anteriores
    |以上都不是|以上皆非|都不是|以上都不对|どれでもない|いずれでもない|どれも当てはまらない|該当なし
    |لا شيء مما سبق|لا شيء مما ذكر|ليس أيا منها""".replace("\n    ", "").split("|")
)
"""Answers, in lower case and without full stop, that fit any list of options."""

MAX_QUESTION_CHARACTERS = 2_000
"""Question with its options."""
MAX_ANSWER_CHARACTERS = 4_000
"""Answer or rationale."""
MIN_LOOP_WORDS = 16
"""Texts of fewer words are never called repetitive: "yes, yes, yes" may be a quotation."""
MIN_LOOP_CHARACTERS = 64
"""The same for scripts without blanks; shorter ones may be a number such as 0.1111111111111111."""
MIN_DISTINCT_SHARE = 0.5
"""Of runs of four words. A unit said r times has a share of 1/r; 96 in 100 annotated texts lie above 0.9."""
MIN_COPIED_QUESTION_CHARACTERS = 100
"""A shorter question may be a sentence of the passage to complete."""
MIN_COPIED_ANSWER_CHARACTERS = 200
"""Shorter answers are extractive, and welcome."""
MAX_COPIED_ANSWER_SHARE = 0.8
"""Of the passage's characters."""

MIN_REPEATED_WORDS = 5
"""Of an answer that may be called a repetition of its question; a shorter one may well be one of two things named."""

_OFFERS = re.compile(r"\bor\b|[:;\"“«]", re.IGNORECASE)
"""In a question that names its answer among others, or quotes."""
_LEAK = re.compile(r"(?:CON|ASK|CAT|QUE|ANS|END)>")
_ACTIVE = re.compile(
    r"<\s*/?\s*(?:script|iframe|object|embed|applet|meta|base|link|style|form)\b"
    r"|<[a-z][^<>]*?[\s/]on[a-z]{3,20}\s*="
    r"|\b(?:javascript|vbscript)\s*:\s*[\w(]"
    r"|\bdata\s*:\s*(?:text/html|image/svg\+xml)",
    re.IGNORECASE,
)
"""What a page that shows a text unescaped would run or load."""
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff"  # control characters; halves of characters
    "\u202a-\u202e\u2066-\u2069]"  # what turns the direction of what follows
    "|[\u200b-\u200d\u2060-\u2064\ufeff]{2,}"  # one joins letters or parts words, many carry something
    "|(?<!\U0001f3f4)(?<![\U000e0000-\U000e007f])[\U000e0000-\U000e007f]"  # letters without a shape, but for flags
)
"""What nobody sees and a model reads."""


def empty(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A question without a letter or digit; an answer, option or rationale of blanks and dots at most."""
    fields = [pair.answer, *pair.options, *([] if pair.rationale is None else [pair.rationale])]
    if any(character.isalnum() for character in pair.question) and all(text.strip(" \t\r\n.…") for text in fields):
        return None
    return "empty"


def too_long(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """Longer than any pair worth training on: see the two maxima above."""
    if len(pair.question) + sum(map(len, pair.options)) > MAX_QUESTION_CHARACTERS:
        return "too_long"
    return "too_long" if max(len(pair.answer), len(pair.rationale or "")) > MAX_ANSWER_CHARACTERS else None


def answer_not_in_options(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A choice whose answer is, character by character, none of its options, nor says that none is right.

    Source: the paper's `parse_QA_list`.
    """
    if not pair.options or pair.answer in pair.options:
        return None
    return None if normal(pair.answer).rstrip(".。") in NONE_OF_THE_ABOVE else "answer_not_in_options"


def duplicate_question(pair: Pair, passage: Passage) -> str | None:
    """A question that the passage has already. Source: the paper's `parse_comprehension`, here hashed."""
    return "duplicate_question" if question_key(pair) in passage.questions else None


def repetition(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A text that goes round in circles, as small models do, as a whole or in its second half."""
    for text in (pair.question, pair.answer, pair.rationale or ""):
        units: Sequence[str] = text.split()
        minimum = MIN_LOOP_WORDS
        if len(text) > 12 * len(units):  # a script without blanks: characters stand for words
            units, minimum = text, MIN_LOOP_CHARACTERS
        if len(units) >= minimum and (_loops(units) or _loops(units[len(units) // 2 :])):
            return "repetition"
    return None


def copied_context(pair: Pair, passage: Passage) -> str | None:
    """A question that is a long stretch of the passage, or an answer that is nearly all of it. See the bounds above.

    A question with options may well be a stretch of the passage, to be classified.
    """
    if not pair.options and len(pair.question) >= MIN_COPIED_QUESTION_CHARACTERS:
        question = normal(pair.question).rstrip(" ?.!")
        if len(question) >= MIN_COPIED_QUESTION_CHARACTERS and question in passage.normal_text:
            return "copied_context"
    if len(pair.answer) >= MIN_COPIED_ANSWER_CHARACTERS:
        answer = normal(pair.answer)
        if len(answer) > MAX_COPIED_ANSWER_SHARE * len(passage.normal_text) and answer in passage.normal_text:
            return "copied_context"
    return None


def repeated_question(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A long answer that says what its question says: "What came after the rain stopped?" "The rain stopped." """
    words = overlap.words(pair.answer)
    if pair.options or pair.rationale is not None or len(words) < MIN_REPEATED_WORDS:
        return None
    asked = overlap.words(pair.question)
    return "repeated_question" if overlap.is_span(pair.answer, asked) else None


def answer_in_question(pair: Pair, passage: Passage) -> str | None:  # noqa: ARG001
    """A question that gives its own answer away: "How many cars were in the Mini 300?" "300".

    Not where it offers a choice. Of 15,314 pairs that people wrote for paragraphs of an encyclopaedia it leaves out
    27.
    """
    if pair.options or pair.rationale is not None or _OFFERS.search(pair.question):
        return None
    return "answer_in_question" if overlap.is_span(pair.answer, overlap.words(pair.question)) else None


def leaked_markup(pair: Pair, passage: Passage) -> str | None:
    """A piece of a dialect's tag inside a text ("allASK>"): a model that was kept from writing the whole tag there.

    Of the shipped synthesizer's pairs, held to their form, 2.3 % have one (20 of 882); of annotated pairs none.
    """
    found = any(_LEAK.search(text) for text in strings(pair))
    return "leaked_markup" if found and not _LEAK.search(passage.document.text) else None


def unsafe_markup(pair: Pair, passage: Passage) -> str | None:
    """Something that a page would run (`<script>`, `onclick=`), or that nobody sees (control characters, directions).

    Markup that the passage holds too, word for word, may be its subject; hidden characters are never wanted.
    """
    for text in strings(pair):
        if _HIDDEN.search(text):
            return "unsafe_markup"
        for found in _ACTIVE.finditer(text):
            if found[0].casefold() not in passage.document.text.casefold():
                return "unsafe_markup"
    return None


def _loops(units: Sequence[str]) -> bool:
    runs = list(zip(units, units[1:], units[2:], units[3:], strict=False))
    return len(set(runs)) < MIN_DISTINCT_SHARE * len(runs)


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
