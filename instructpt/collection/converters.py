"""Rows whose fields do not say plainly what is asked about what: one small function a way of mending them.

Most task sets need none; the catalog names the one that a set needs (`converter = "story_and_question"`):

    question  "Ann has 3 apples. She eats one. How many are left?"        context ""
        --story_and_question-->
    context   "Ann has 3 apples. She eats one."                           question "How many are left?"

    question  "What does the term "Goodwill" mean?"   answer "An asset that ..."   context ""
        --definition_and_term-->
    context   "An asset that ..."   answer "Goodwill"                     question "" (the catalog words it)

A converter takes a record and gives a record. One that does not fit the row gives it back as it is: a row that has no
context then is left out, and counted, by whoever gathers the rows of a context.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from instructpt.collection.neutral import TaskRecord
from instructpt.seeds import rng
from instructpt.words.overlap import is_span, words

MIN_STORY_WORDS = 6
"""A shorter beginning is a heading or the number of the item ("27."), no text to ask about."""

MISCELLANEOUS = "miscellaneous"
"""The entity type of names of no other type; a reader cannot know what belongs to it."""

ROUNDING = 0.01
"""By how much, as a share, a stored answer may differ from the value of its equation: answers are rounded."""


def story_and_question(record: TaskRecord) -> TaskRecord:
    """A word problem, cut before its last sentence: the story is the context, the question is asked about it.

    A problem of a single sentence, or one that does not end in a question, stays as it is (and has no context).
    """
    *story, question = _SENTENCE_END.split(record.question.strip())
    if not story or not question.endswith("?"):
        return record
    return replace(record, context=record.question.strip()[: -len(question)].strip(), question=question)


def story_and_equation(record: TaskRecord) -> TaskRecord:
    """As `story_and_question`, with the equation that solves the problem as rationale: "X=(8.0-2.0)" is "8 - 2 = 6".

    Only an equation that needs no rearranging says how the answer comes about: `name=` and numbers, none of them with
    the long tail of a fraction (3.6666666666666665) that nobody writes. One that gives another number goes too (1 %).
    """
    converted = story_and_question(record)
    if converted == record:
        return record
    answer = _POINT_ZERO.sub("", record.answer)
    found = _SOLVED.fullmatch(str(record.meta.get("equation", "")))
    if not found or _LONG_TAIL.search(found[1]) or not _comes_to(found[1], answer):
        return replace(converted, answer=answer)
    terms = _OPERATOR.sub(r" \1 ", _POINT_ZERO.sub("", _bare(found[1].replace(" ", ""))))
    return replace(converted, answer=answer, rationale=f"{terms} = {answer}")


def vignette_and_question(record: TaskRecord) -> TaskRecord:
    """An exam question, cut before its last sentence, whether that asks or is to be completed ("The cause is:")."""
    *story, question = _SENTENCE_END.split(record.question.strip())
    if sum(len(part.split()) for part in story) < MIN_STORY_WORDS:
        return record
    return replace(record, context=record.question.strip()[: -len(question)].strip(), question=question)


def text_and_topic(record: TaskRecord) -> TaskRecord:
    """A question with a long answer, turned round: the answer is the text, what it is about (meta.focus) is the answer.

    Only where the text names its topic; a text that fits a hundred diseases does not say which one was meant.
    """
    topic = record.meta.get("focus")
    if not isinstance(topic, str) or not is_span(topic, words(record.answer)):
        return record
    return replace(record, context=record.answer, question="", answer=topic)


def definition_and_term(record: TaskRecord) -> TaskRecord:
    """A term with its definition, turned round: the definition is the text, the term (meta.term) is the answer."""
    term = record.meta.get("term")
    if not isinstance(term, str) or not term.strip():
        return record
    return replace(record, context=record.answer, question="", answer=term)


def one_entity_type(record: TaskRecord) -> TaskRecord:
    """Named entities of one type instead of a list by type, so that the answer is a span of the text as a rule.

        answer   "person: Gerry Goffin; Carole King\\nlocation: Brooklyn"
        becomes  question "location", answer "Brooklyn"            (the catalog puts the type into a question)

    The type with the fewest mentions is asked for. In a text without names a type is drawn, and the text gives no
    answer. MISCELLANEOUS is never asked for.
    """
    named: dict[str, tuple[str, ...]] = {}
    for line in record.answer.split("\n"):
        kind, colon, mentions = line.partition(": ")
        if colon:
            # Hashed user names stand as a bare "@" in tweet sets.
            named[kind] = tuple(dict.fromkeys(mention for mention in mentions.split("; ") if words(mention)))
    asked = [kind for kind in named if named[kind] and kind != MISCELLANEOUS]
    if asked:
        fewest = min(asked, key=lambda kind: len(named[kind]))
        return replace(record, question=fewest, answer="; ".join(named[fewest]), options=())
    absent = [kind for kind in record.options if kind not in named and kind != MISCELLANEOUS]
    if not absent:
        return record
    drawn = rng(0, "one_entity_type", record.dataset, record.id, record.context).choice(absent)
    return replace(record, question=drawn, answer="", options=(), meta={**record.meta, "unanswerable": True})


def phrase_without_stop(record: TaskRecord) -> TaskRecord:
    """A short answer copied from the text, without the full stop that the set puts behind every answer.

    The stop of an abbreviation stays: "U.S." has one inside too, "Jr." is followed by one within a sentence.
    """
    phrase = record.answer.strip()
    bare = phrase.removesuffix(".")
    if bare == phrase or "." in bare.split(" ")[-1]:
        return record
    places = [record.context[found.end() :] for found in re.finditer(re.escape(bare), record.context)]
    if places and all(_INNER_STOP.match(rest) for rest in places):
        return record
    return replace(record, answer=bare)


def options_without_notes(record: TaskRecord) -> TaskRecord:
    """Options and answer without the editor's note in brackets at their end: "Procedure. [Enacted title]"."""
    options = tuple(_NOTE.sub("", option) for option in record.options)
    return replace(record, options=options, answer=_NOTE.sub("", record.answer))


def unframed(record: TaskRecord, frame: str) -> TaskRecord:
    """What stands in the place of {question} as the question, so that the catalog can word it; others stay."""
    asked, (before, after) = record.question.strip(), frame.split("{question}")
    inside = asked.removeprefix(before).removesuffix(after)
    if not inside.strip() or asked != f"{before}{inside}{after}":
        return record
    return replace(record, question=inside.strip())


CONVERTERS: Mapping[str, Callable[[TaskRecord], TaskRecord]] = {
    "definition_and_term": definition_and_term,
    "one_entity_type": one_entity_type,
    "options_without_notes": options_without_notes,
    "phrase_without_stop": phrase_without_stop,
    "story_and_equation": story_and_equation,
    "story_and_question": story_and_question,
    "text_and_topic": text_and_topic,
    "vignette_and_question": vignette_and_question,
}
"""The names a catalog may give under `converter`."""

_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SOLVED = re.compile(r"\w+\s*=\s*([\d.()+\-*/ ]+)")
_OPERATOR = re.compile(r"(?<=[\d)])([+\-*/])")
_POINT_ZERO = re.compile(r"\.0+(?!\d)")
_LONG_TAIL = re.compile(r"\.\d{5}")
_NOTE = re.compile(r"\.?\s*\[[^\[\]]*\]\s*$")
_INNER_STOP = re.compile(r"\.(?:\S|\s+[a-z])")


def _comes_to(terms: str, answer: str) -> bool:
    """Whether an expression of numbers, + - * / and parentheses has the answer as its value, but for rounding."""
    try:
        value = _value(ast.parse(terms.strip(), mode="eval").body)
        return abs(value - float(answer)) <= ROUNDING * max(1.0, abs(value))
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False


def _value(node: ast.expr) -> float:
    """The value of such an expression; ValueError for anything else that can be written with its signs (2**9)."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            return _ARITHMETIC[type(sign)](_value(left), _value(right))
    raise ValueError("neither a number nor one of + - * /")


def _bare(terms: str) -> str:
    """Terms without a pair of parentheses round the whole: "((8-2)/3)" is "(8-2)/3", "(1+2)*(3+4)" stays."""
    while terms.startswith("(") and terms.endswith(")"):
        depth = 0
        for place, sign in enumerate(terms):
            depth += (sign == "(") - (sign == ")")
            if depth == 0 and place < len(terms) - 1:
                return terms
        terms = terms[1:-1]
    return terms
