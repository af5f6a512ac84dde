r"""What dialects of tags have in common: fields between tags, texts that may spell those tags, an answer cut in pieces.

    write   pair   -->  <QUE> {question} <ANS> {answer} </END>   -->  shots with their passages  -->  one text
    read    answer -->  pieces, each closed by </END>  -->  pair, or the reason why there is none

Options and rationale stand inside the two fields, which tells the four kinds of pair apart:

    free           {question}                                      {answer}
    choice         {question}\nOptions:\n- {option}\n- {option}    {answer}
    free, CoT      {question}\nLet's think step by step.           {rationale}\nTherefore, the answer is {answer}
    choice, CoT    {question}\nOptions:\n- {option}\n- {option}\nLet's think step by step.     as above

With the answer first a pair is `<ANS> {answer} <QUE> {question} </END>`: options stand as above, and the rationale
follows the question's last line, since the answer is there already:

    free, CoT      <ANS> {answer} <QUE> {question}\nLet's think step by step.\n{rationale} </END>

A tag that a text spells itself gets a blank before its `>` when written (`<CON>` -> `<CON >`, `<CON >` -> `<CON  >`),
and reading takes one away again: what a text says never ends a field, and comes back as it was.

Blanks around a field are not carried. So that a prompt is cut into the tokens that training saw, it ends in a line
break or a tag and never in the blank that belongs to the next word.

Engines can hold a model to regular expressions without looks ahead or back, which grammar compilers refuse. What these
lack is "any text in which this string does not occur", and a field between tags is just that. Here it is
spelled out, character after character, from the beginnings of the strings:

    without "</" and "<Q"     [^\s<][^<]*          a run of other characters, the first of them no blank
                              <(?:[^/<Q][^<]*)?    a "<", and after it nothing that makes it one of the two
                              ...                  more of the second kind, as many as wanted
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from instructpt.records import Group, Pair, Reject, Text

_META = frozenset("\\.+*?()|[]{}^$-")


def literal(text: str) -> str:
    """`text` and nothing else. Only what must be is escaped: not every compiler takes more, as `re.escape` gives it."""
    return "".join("\\n" if char == "\n" else f"\\{char}" if char in _META else char for char in text)


def text_without(strings: Sequence[str], *, most: int | None = None) -> str:
    r"""Any text of a character or more in which none of `strings` occurs, and that does not begin with a blank.

    The text counts as the beginning of a line: without `"\nNote:"` means that neither a later line nor the text itself
    begins with `Note:`. strings: none may hold, after its first character, the first character of another.
    most: of characters between two with which a string could begin, and of such places: enough to end a loop, and as
    near to a length as an expression without a counter for each path comes. None sets no bound.
    """
    longer = [string for string in strings if len(string) > 1]
    single = {string for string in strings if len(string) == 1}
    first = sorted({string[0] for string in longer})
    assert not any(set(string[1:]) & {*first, *single} for string in longer), f"{strings} overlap"
    often = "*" if most is None else f"{{0,{most}}}"
    other = _none_of([*first, *single]) + often

    def leaving(read: str, *, excluded: str = "") -> list[str]:
        """The ways on after `read`, with which one of the strings begins, that do not lead to the whole of it."""
        ends: dict[str, list[bool]] = {}
        for string in longer:
            if string.startswith(read) and string != read:
                ends.setdefault(string[len(read)], []).append(len(string) == len(read) + 1)
        ways = [_none_of([*ends, *first, *single], also=excluded) + other]
        return ways + [literal(char) + rest(read + char) for char, is_end in sorted(ends.items()) if not any(is_end)]

    def rest(read: str) -> str:
        return f"(?:{'|'.join(leaving(read))})?"

    later = [literal(char) + rest(char) for char in first]
    begin = leaving("\n" if "\n" in first else "\0", excluded=r"\s\x1c-\x1f")
    begin += [way for char, way in zip(first, later, strict=True) if not char.isspace()]
    return f"(?:{'|'.join(begin)})" + (f"(?:{'|'.join(later)}){often}" if later else "")


def _none_of(chars: Iterable[str], *, also: str = "") -> str:
    return f"[^{also}{literal(''.join(sorted(set(chars))))}]"


CUE = "Let's think step by step."
CONCLUSION = "Therefore, the answer is"
_HEADER = "Options:"
NO_TAG = {"<QUE>": "no_question_tag", "<ANS>": "no_answer_tag"}
"""Why a piece without such a tag is no pair."""
NOTHING_KNOWN: Mapping[str, str] = MappingProxyType({})
"""For `Dialect.form`: no category's answers are known to be of a kind."""


class Markup:
    """The fields of one dialect: how they are written between its tags and read again."""

    def __init__(self, marks: Sequence[str], *, answer_first: bool = False) -> None:
        """`marks`: all tags of the dialect; a text never spells one of them once it is written."""
        self._marks = tuple(marks)
        self._answer_first = answer_first
        self.first_tag = "<ANS>" if answer_first else "<QUE>"
        """What a pair begins with."""
        names = "|".join(dict.fromkeys(mark.strip("</>") for mark in marks))
        self._tag = re.compile(f"<(/?(?:{names}) *)>")
        self._hidden_tag = re.compile(f"<(/?(?:{names}) *) >")
        self._starts = tuple(sorted({mark[:2] for mark in marks}))

    def passage(self, text: str) -> str:
        r"""` <CON> {text} </CON>\n\n`."""
        return f" <CON> {self.hide(text)} </CON>\n\n"

    def question(self, pair: Pair) -> str:
        """`<QUE> {question} <ANS>`, without the blank that follows: it belongs to the answer's first token."""
        return f"<QUE> {self.hide(_question(trimmed(pair)))} <ANS>"

    def write(self, pair: Pair) -> str:
        """`<QUE> {question} <ANS> {answer} </END>`, or the answer first."""
        answer = trimmed(pair).answer
        if self._answer_first:
            question = _question(trimmed(pair))
            if pair.rationale is not None:
                question += f"\n{pair.rationale.strip()}"
            return f"<ANS> {self.hide(answer)} <QUE> {self.hide(question)} </END>"
        if pair.rationale is not None:
            answer = f"{pair.rationale.strip()}\n{CONCLUSION} {answer}"
        return f"{self.question(pair)} {self.hide(answer)} </END>"

    def form(self, *, passage: str, field_characters: int | None = None) -> str:
        """A regular expression for a pair as `write` writes it; the blanks beside tags may be missing.

        `read` finds a pair in every such text, but the form is narrower than what can be read, so that a model which is
        held to it is not led astray. A model that wants to end its question with `</END>` writes ` </`, `END`, and only
        then finds that `>` is refused: it goes on with whatever is left. So a field holds no `<` at all, unless the
        passage has one ("p < 0.05"), and then none with the beginning of a tag. And of the lines of a question none
        begins with `Options:` or the cue but those that head options and a rationale. field_characters: a bound on each
        text, as `text_without` sets it.
        """
        return "".join(self.form_parts(passage=passage, field_characters=field_characters))

    def form_parts(self, *, passage: str, field_characters: int | None = None) -> tuple[str, str, str]:
        """`form` in three: what stands before an answer that comes first, the answer itself, and what follows.

        (With the question first the answer's part begins with its tag, or with the cue.)
        """
        form = _answer_first_form if self._answer_first else _question_first_form
        return form(self._starts if "<" in passage else ("<",), field_characters)

    def read(self, piece: str) -> Pair | str:
        """The pair in a piece that `</END>` closed (without it), or the reason why there is none."""
        second_tag = "<QUE>" if self._answer_first else "<ANS>"
        first, tag, second = piece.partition(second_tag)
        first = first.strip()
        if not first.startswith(self.first_tag):
            return NO_TAG[self.first_tag]
        if not tag:
            return NO_TAG[second_tag]
        first, second = first[5:].strip(), second.strip()
        question, answer = (second, first) if self._answer_first else (first, second)
        if piece.count("<") > 2 and (reason := self._stray(question, answer)):
            return reason
        if " >" in piece:
            question, answer = self._restore(question), self._restore(answer)
        if CUE in question or _HEADER in question:
            return _read_with_parts(question, answer, answer_first=self._answer_first)
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

    def hide(self, text: str) -> str:
        """The text as it is written: it spells none of the dialect's tags."""
        return self._tag.sub(r"<\1 >", text) if "<" in text else text

    def _restore(self, text: str) -> str:
        return self._hidden_tag.sub(r"<\1>", text)


def trimmed(pair: Pair) -> Pair:
    """The pair as far as its two fields carry it: no blanks around texts, no category."""
    rationale = None if pair.rationale is None else pair.rationale.strip()
    options = tuple(option.strip() for option in pair.options)
    return Pair(pair.question.strip(), pair.answer.strip(), options, rationale)


def write_group(group: Group, shots: Iterable[tuple[str, str]]) -> Text:
    """One text of all shots, each a sequence of its own: its opening, then its pairs, which carry loss to their end.

    A shot whose pairs are "" is there to be read alone.
    """
    text = ""
    spans: list[tuple[int, int]] = []
    for opening, pairs in shots:
        spans.append((len(text) + len(opening), len(text) + len(opening) + len(pairs)))
        text += opening + pairs
    source = group.shots[0].document.source if group.shots else ""
    breaks = tuple(stop for _, stop in spans[:-1])
    lossy = tuple((start, stop) for start, stop in spans if start < stop)
    return Text(group.id, text, source, "task", lossy, breaks)


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


def _question(pair: Pair) -> str:
    """A trimmed pair's question with its options and its cue."""
    question = pair.question
    if pair.options:
        question += f"\n{_HEADER}" + "".join(f"\n- {option}" for option in pair.options)
    return question if pair.rationale is None else f"{question}\n{CUE}"


@cache
def _question_first_form(refused: tuple[str, ...], most: int | None) -> tuple[str, str, str]:
    """See `Markup.form_parts`. refused: what no field may hold."""
    text, reasons = text_without(refused, most=most), text_without([*refused, CONCLUSION], most=most)
    plain = f" ?<ANS> ?{text}"
    reasoned = rf"\n{literal(CUE)} ?<ANS> ?{reasons}\n{literal(CONCLUSION)} {reasons}"
    return f"<QUE> ?{_question_form(refused, most)}", f"(?:{plain}|{reasoned})", " ?</END>"


@cache
def _answer_first_form(refused: tuple[str, ...], most: int | None) -> tuple[str, str, str]:
    """See `Markup.form_parts`."""
    text = text_without(refused, most=most)
    return "<ANS> ?", text, rf" ?<QUE> ?{_question_form(refused, most)}(?:\n{literal(CUE)}\n{text})? ?</END>"


def _question_form(refused: tuple[str, ...], most: int | None) -> str:
    """A question and its options, without a cue."""
    question = text_without([*refused, f"\n{_HEADER}", f"\n{CUE}"], most=most)
    option = text_without([*refused, "\n"], most=most)
    return rf"{question}(?:\n{_HEADER}(?:\n- {option})+)?"


def _read_with_parts(question: str, answer: str, *, answer_first: bool) -> Pair | str:
    """A pair whose question may hold the cue, or options, on lines of their own."""
    rationale: str | None = None
    lines = question.split("\n")
    if CUE in lines:
        cue = lines.index(CUE)
        if answer_first:
            rationale = "\n".join(lines[cue + 1 :]).strip()
        else:
            parts = _split_rationale(answer) if cue == len(lines) - 1 else None
            rationale, answer = parts or ("", answer)
        if not rationale:
            return "broken_rationale"
        lines = lines[:cue]
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
