r"""What dialects of tags have in common: fields between tags, texts that may spell those tags, an answer cut in pieces.

    write   pair   -->  <QUE> {question} <ANS> {answer} </END>   -->  shots with their passages  -->  one text
    read    answer -->  pieces, each closed by </END>  -->  pair, or the reason why there is none

Options and rationale stand inside the two fields, which tells the four kinds of pair apart:

    free           {question}                                      {answer}
    choice         {question}\nOptions:\n- {option}\n- {option}    {answer}
    free, CoT      {question}\nLet's think step by step.           {rationale}\nTherefore, the answer is {answer}
    choice, CoT    {question}\nOptions:\n- {option}\n- {option}\nLet's think step by step.     as above

A tag that a text spells itself gets a blank before its `>` when written (`<CON>` -> `<CON >`, `<CON >` -> `<CON  >`),
and reading takes one away again: what a text says never ends a field, and comes back as it was.

Blanks around a field are not carried. So that a prompt is cut into the tokens that training saw, it ends in a line
break or a tag and never in the blank that belongs to the next word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

from instructpt.records import Group, Pair, Reject, Text
from instructpt.synthesis.patterns import literal, text_without

CUE = "Let's think step by step."
CONCLUSION = "Therefore, the answer is"
_HEADER = "Options:"


class Markup:
    """The fields of one dialect: how they are written between its tags and read again."""

    def __init__(self, marks: Sequence[str]) -> None:
        """`marks`: all tags of the dialect; a text never spells one of them once it is written."""
        self._marks = tuple(marks)
        names = "|".join(dict.fromkeys(mark.strip("</>") for mark in marks))
        self._tag = re.compile(f"<(/?(?:{names}) *)>")
        self._hidden_tag = re.compile(f"<(/?(?:{names}) *) >")
        self._starts = tuple(sorted({mark[:2] for mark in marks}))

    def passage(self, text: str) -> str:
        r"""` <CON> {text} </CON>\n\n`."""
        return f" <CON> {self._hide(text)} </CON>\n\n"

    def question(self, pair: Pair) -> str:
        """`<QUE> {question} <ANS>`, without the blank that follows: it belongs to the answer's first token."""
        pair = trimmed(pair)
        question = pair.question
        if pair.options:
            question += f"\n{_HEADER}" + "".join(f"\n- {option}" for option in pair.options)
        if pair.rationale is not None:
            question += f"\n{CUE}"
        return f"<QUE> {self._hide(question)} <ANS>"

    def write(self, pair: Pair) -> str:
        """`<QUE> {question} <ANS> {answer} </END>`."""
        answer = trimmed(pair).answer
        if pair.rationale is not None:
            answer = f"{pair.rationale.strip()}\n{CONCLUSION} {answer}"
        return f"{self.question(pair)} {self._hide(answer)} </END>"

    def form(self, *, passage: str, field_characters: int | None = None) -> str:
        """A regular expression for a pair as `write` writes it; the blanks beside tags may be missing.

        `read` finds a pair in every such text, but the form is narrower than what can be read, so that a model which is
        held to it is not led astray. A model that wants to end its question with `</END>` writes ` </`, `END`, and only
        then finds that `>` is refused: it goes on with whatever is left. So a field holds no `<` at all, unless the
        passage has one ("p < 0.05"), and then none with the beginning of a tag. And of the lines of a question none
        begins with `Options:` or the cue but those that head options and a rationale. field_characters: a bound on each
        text, as `text_without` sets it.
        """
        return _form(self._starts if "<" in passage else ("<",), field_characters)

    def read(self, piece: str) -> Pair | str:
        """The pair in a piece that `</END>` closed (without it), or the reason why there is none."""
        question, answer_tag, answer = piece.partition("<ANS>")
        question = question.strip()
        if not question.startswith("<QUE>"):
            return "no_question_tag"
        if not answer_tag:
            return "no_answer_tag"
        question, answer = question[5:].lstrip(), answer.strip()
        if piece.count("<") > 2 and (reason := self._stray(question, answer)):
            return reason
        if " >" in piece:
            question, answer = self._restore(question), self._restore(answer)
        if CUE in question or _HEADER in question:
            return _read_with_parts(question, answer)
        if not question:
            return "empty_question"
        return Pair(question, answer) if answer else "empty_answer"

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """`pair` with the answer in `text`, what a model wrote after `question(pair)`; see `Dialect.answer`."""
        answer, rationale = text.partition("</END>")[0].strip(), None
        if reason := self._stray("", answer):
            return Reject(answer, reason)
        restored = self._restore(answer)
        if pair.rationale is not None:
            parts = _split_rationale(restored)
            if parts is None:
                return Reject(answer, "broken_rationale")
            rationale, restored = parts
        if not restored:
            return Reject(answer, "empty_answer")
        return replace(pair, answer=restored, rationale=rationale)

    def _stray(self, question: str, answer: str) -> str | None:
        if "<ANS>" in answer:
            return "several_answer_tags"
        return "stray_tag" if any(mark in question or mark in answer for mark in self._marks) else None

    def _hide(self, text: str) -> str:
        return self._tag.sub(r"<\1 >", text) if "<" in text else text

    def _restore(self, text: str) -> str:
        return self._hidden_tag.sub(r"<\1>", text)


def trimmed(pair: Pair) -> Pair:
    """The pair as far as its two fields carry it: no blanks around texts, no category."""
    rationale = None if pair.rationale is None else pair.rationale.strip()
    options = tuple(option.strip() for option in pair.options)
    return Pair(pair.question.strip(), pair.answer.strip(), options, rationale)


def write_group(group: Group, shots: Iterable[tuple[str, str]]) -> Text:
    """One text of all shots, each a sequence of its own: its opening, then its pairs, which carry loss to their end."""
    text = ""
    spans: list[tuple[int, int]] = []
    for opening, pairs in shots:
        spans.append((len(text) + len(opening), len(text) + len(opening) + len(pairs)))
        text += opening + pairs
    source = group.shots[0].document.source if group.shots else ""
    breaks = tuple(stop for _, stop in spans[:-1])
    return Text(group.id, text, source, "task", tuple(spans), breaks)


def read_pieces(answer: str, *, read: Callable[[str], Pair | str]) -> tuple[list[Pair], list[Reject]]:
    """The pairs in an answer, in order, and everything else in it as rejects; at least one of either.

    read: makes of a piece without its `</END>` a pair, or names the reason why it is none. The rules are the paper's
    (its `parse_comprehension`), with a reason for each reject, and stricter in two ways: all that follows a `<CON>` is
    one reject `new_passage`, for its pairs are about a passage that the model made up; and a piece with tags in odd
    places is a reject `stray_tag`.
    """
    own, new_tag, invented = answer.partition("<CON>")
    pieces = own.split("</END>")
    unfinished = pieces.pop().strip()
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    for piece in pieces:
        pair = read(piece)
        if isinstance(pair, Pair):
            pairs.append(pair)
        else:
            rejects.append(Reject(piece.strip(), pair))
    if unfinished:
        rejects.append(Reject(unfinished, "no_end_tag"))
    if new_tag:
        rejects.append(Reject(f"<CON>{invented}".strip(), "new_passage"))
    if not pairs and not rejects:
        rejects.append(Reject("", "no_pair"))
    return pairs, rejects


@cache
def _form(refused: tuple[str, ...], most: int | None) -> str:
    """See `Markup.form`. refused: what no field may hold."""
    text, option = text_without(refused, most=most), text_without([*refused, "\n"], most=most)
    question = text_without([*refused, f"\n{_HEADER}", f"\n{CUE}"], most=most)
    reasons = text_without([*refused, CONCLUSION], most=most)
    options = rf"(?:\n{_HEADER}(?:\n- {option})+)?"
    plain = f" ?<ANS> ?{text}"
    reasoned = rf"\n{literal(CUE)} ?<ANS> ?{reasons}\n{literal(CONCLUSION)} {reasons}"
    return f"<QUE> ?{question}{options}(?:{plain}|{reasoned}) ?</END>"


def _read_with_parts(question: str, answer: str) -> Pair | str:
    """A pair whose question may hold the cue, or options, on lines of their own."""
    rationale: str | None = None
    lines = question.split("\n")
    if CUE in lines:
        parts = _split_rationale(answer)
        if lines.index(CUE) != len(lines) - 1 or parts is None:
            return "broken_rationale"
        rationale, answer = parts
        lines.pop()
    options: list[str] = []
    if _HEADER in lines:
        header = lines.index(_HEADER)
        options = [line[2:].strip() if line.startswith("- ") else "" for line in lines[header + 1 :]]
        if not options or not all(options):
            return "broken_options"
        lines = lines[:header]
    question = "\n".join(lines).strip()
    if not question:
        return "empty_question"
    return Pair(question, answer, tuple(options), rationale) if answer else "empty_answer"


def _split_rationale(answer: str) -> tuple[str, str] | None:
    """Rationale and conclusion, which may be empty; None if there is not one rationale and one conclusion."""
    rationale, conclusion, answer = answer.partition(CONCLUSION)
    if not conclusion or CONCLUSION in answer or not rationale.strip():
        return None
    return rationale.strip(), answer.strip()
