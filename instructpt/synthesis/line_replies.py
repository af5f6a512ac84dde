"""Pairs as plain lines: what a small instruct model can write.

    Category: facts                 if it has one
    Q: Where does a heron stand?
    - in water                      if it has options
    - on ice
    Reasoning: It hunts fish.       if it has a rationale
    A: in water

A blank line stands between pairs. The words before the colons are the language's own; a model that writes those of
English, a number, or stars around them (`**Question 2:**`) is understood all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from instructpt.engines import Form
from instructpt.records import Pair, Reject
from instructpt.synthesis.markup import literal, trimmed
from instructpt.synthesis.prompts import ReplyWords
from instructpt.synthesis.replies import MAX_OPTIONS, MAX_PAIRS, hide, refuse_category, restore

_ENGLISH = {
    "category": ("Category",),
    "question": ("Q", "Question"),
    "rationale": ("Reasoning",),
    "answer": ("A", "Answer"),
}
_OPTION = re.compile(r"^[-*•] +(?=\S)")
_BLANK = re.compile(r"\s+")
_FENCE = "```"


@dataclass(slots=True)
class _Open:
    """A pair that is being read. Each field is what stood on its lines; None where there was no such line."""

    texts: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    last: str = ""
    """The field that a line without a mark goes on with; "" after a blank line that follows an answer."""

    def shown(self) -> str:
        return "\n".join([*self.texts.values(), *(f"- {option}" for option in self.options)])


class LineReplies:
    """The other layout of replies, see `replies`."""

    def __init__(self, words: ReplyWords) -> None:
        """`words`: what stands before the colons."""
        self._heads = {name: getattr(words, name) for name in _ENGLISH}
        spellings = {name: {self._heads[name].rstrip(":： "), *english} for name, english in _ENGLISH.items()}
        self._names = {spelling.casefold(): name for name, own in spellings.items() for spelling in own}
        words_in_order = "|".join(re.escape(word) for word in sorted(self._names, key=len, reverse=True))
        self._mark = re.compile(
            rf"^[\s>*#_]*(?:\d+[.)]\s*)?[*_]*({words_in_order})\s*\d*\s*[*_]*[:：][*_]*", re.IGNORECASE
        )

    def write(self, pairs: Sequence[Pair]) -> str:
        """The reply that holds these pairs."""
        return "\n\n".join(map(self._written, pairs))

    def read(self, reply: str) -> tuple[list[Pair], list[Reject]]:
        """The pairs in a reply, in order, and what was no pair, each with a reason.

        A line without a mark goes on with the line before it; before the first it is no reject.

        Reasons: `no_question`, `no_answer`, `cut_off` (the last pair, without an answer), `empty_question`,
        `empty_answer`, `broken_options`, `broken_rationale`, `broken_category`.
        """
        found = self._open_pairs(reply)
        pairs: list[Pair] = []
        rejects: list[Reject] = []
        for number, one in enumerate(found, start=1):
            read = _closed(one, is_last=number == len(found))
            if isinstance(read, Pair):
                pairs.append(read)
            else:
                rejects.append(Reject(one.shown(), read))
        return pairs, rejects

    def form(self, categories: Sequence[str] = (), *, field_characters: int | None = None) -> Form:
        """A regular expression of a reply: pairs in the order of `categories`, else 1 to 8 of any kind."""
        names = [f"{literal(self._heads['category'])} {literal(name.strip())}\n" for name in categories]
        text = r"[^\s*_]" + (r"[^\n]*" if field_characters is None else rf"[^\n]{{0,{field_characters}}}")
        option = rf"\n- {text}"
        head = {name: literal(word) for name, word in self._heads.items()}
        options, rationale = f"(?:{option}){{0,{MAX_OPTIONS}}}", f"(?:\n{head['rationale']} {text})?"
        pair = rf"{head['question']} {text}{options}{rationale}\n{head['answer']} {text}"
        if names:
            return Form("regex", r"\n\n".join(name + pair for name in names))
        return Form("regex", rf"{pair}(?:\n\n{pair}){{0,{MAX_PAIRS - 1}}}")

    def refuse(self, pair: Pair) -> str | None:
        """Why `read` would not give this pair back; None if it does. `several_lines`: a line keeps no such blanks."""
        short = trimmed(pair)
        if pair.rationale is not None and not pair.rationale.strip():
            return "empty_rationale"
        if not short.question or not short.answer:
            return "empty_answer" if short.question else "empty_question"
        if not all(short.options):
            return "broken_options"
        if pair.category is not None and (reason := refuse_category(pair.category)):
            return reason
        texts = (short.question, short.answer, *short.options, short.rationale or "", (pair.category or "").strip())
        if any(_BLANK.sub(" ", text) != text for text in texts):
            return "several_lines"
        return None

    def _written(self, pair: Pair) -> str:
        short, heads = trimmed(pair), self._heads
        lines = [] if pair.category is None else [f"{heads['category']} {hide(pair.category.strip())}"]
        lines.append(f"{heads['question']} {hide(short.question)}")
        lines += [f"- {hide(option)}" for option in short.options]
        lines += [] if short.rationale is None else [f"{heads['rationale']} {hide(short.rationale)}"]
        return "\n".join([*lines, f"{heads['answer']} {hide(short.answer)}"])

    def _open_pairs(self, reply: str) -> list[_Open]:
        found: list[_Open] = []
        for line in reply.split("\n"):
            text = line.strip()
            mark = self._mark.match(text)
            name = self._names[mark.group(1).casefold()] if mark else ""
            if mark is None or (found and found[-1].last == "question" and _OPTION.match(text)):
                if found:
                    _go_on(found[-1], text)
                continue
            if not found or name in found[-1].texts or (name != "answer" and "answer" in found[-1].texts):
                found.append(_Open())
            found[-1].texts[name] = text[mark.end() :].strip()
            found[-1].last = name
        return found


def _go_on(one: _Open, text: str) -> None:
    """A line without a mark: an option below its question, else more of the field that stands before it."""
    if not text:
        one.last = "" if one.last == "answer" else one.last
    elif one.last == "question" and (bullet := _OPTION.match(text)):
        one.options.append(text[bullet.end() :].strip())
    elif one.last and not text.startswith(_FENCE):
        if one.options and one.last == "question":
            one.options[-1] = f"{one.options[-1]} {text}"
        else:
            one.texts[one.last] = f"{one.texts[one.last]} {text}".strip()


def _closed(one: _Open, *, is_last: bool) -> Pair | str:
    """The pair that was read, or the reason why there is none."""
    texts = {name: restore(_BLANK.sub(" ", text).strip()) for name, text in one.texts.items()}
    if "question" not in texts:
        return "no_question"
    if "answer" not in texts:
        return "cut_off" if is_last else "no_answer"
    for name in ("question", "answer"):
        if not texts[name]:
            return f"empty_{name}"
    if "rationale" in texts and not texts["rationale"]:
        return "broken_rationale"
    if "category" in texts and (reason := refuse_category(texts["category"])):
        return reason
    options = tuple(restore(_BLANK.sub(" ", option)) for option in one.options)
    return Pair(texts["question"], texts["answer"], options, texts.get("rationale"), texts.get("category"))
