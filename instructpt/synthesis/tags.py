r"""The dialect `tags`: the markup of the paper's released synthesizer (arXiv 2406.14491), so that ours can replace it.

A group of two shots, as the model sees it (`\n` is a line break; `<s>` and `</s>` are ids, put in at `breaks`):

    <s> <CON> {passage} </CON>\n\n<QUE> {q} <ANS> {a} </END>\n\n<QUE> {q} <ANS> {a} </END></s>
    <s> <CON> {passage} </CON>\n\n<QUE> {q} <ANS> {a} </END></s>
                                  `--------- loss: what the model must write -----------'

What stands for {q} and {a} tells the four kinds of pair apart:

    free           {question}                                      {answer}
    choice         {question}\nOptions:\n- {option}\n- {option}    {answer}
    free, CoT      {question}\nLet's think step by step.           {rationale}\nTherefore, the answer is {answer}
    choice, CoT    {question}\nOptions:\n- {option}\n- {option}\nLet's think step by step.     as above

A tag that a passage or pair spells itself gets a blank before its `>` when written (`<CON>` -> `<CON >`, `<CON >` ->
`<CON  >`), and `parse` takes one away again: what a document says never ends a field, and comes back as it was.

Not carried by the markup: blanks around a field, and `Pair.category`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from instructpt.records import Group, Pair, Reject, Shot, Text

CUE = "Let's think step by step."
CONCLUSION = "Therefore, the answer is"

_TAG = re.compile(r"<(/?(?:CON|QUE|ANS|END) *)>")
_HIDDEN_TAG = re.compile(r"<(/?(?:CON|QUE|ANS|END) *) >")


class Tags:
    """The contract is `dialects.Dialect`. Stateless."""

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. One span a shot: from its first `<QUE>` to the end of its last `</END>`."""
        text = ""
        spans: list[tuple[int, int]] = []
        for shot in group.shots:
            context, pairs = _open(shot.document.text), _pairs(shot)
            if pairs:
                spans.append((len(text) + len(context), len(text) + len(context) + len(pairs)))
                text += context + pairs
        source = group.shots[0].document.source if group.shots else ""
        breaks = tuple(stop for _, stop in spans[:-1])
        return Text(group.id, text, source, "task", tuple(spans), breaks)

    def prompt(self, earlier: Sequence[Shot], passage: str) -> list[str]:
        r"""See `Dialect.prompt`. The last string ends in ` </CON>\n\n`."""
        closed = [_open(shot.document.text) + pairs for shot in earlier if (pairs := _pairs(shot))]
        return [*closed, _open(passage)]

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`. The rules are the paper's (its `parse_comprehension`), with a reason for each reject.

        Stricter than the paper's in two ways: all that follows a `<CON>` is one reject `new_passage`, for its pairs
        are about a passage that the model made up; and a piece with tags in odd places is a reject `stray_tag`.
        """
        own, new_tag, invented = answer.partition("<CON>")
        pieces = own.split("</END>")
        unfinished = pieces.pop().strip()
        pairs: list[Pair] = []
        rejects: list[Reject] = []
        for piece in pieces:
            pair = _read(piece)
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

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`. Written, read again, compared: what comes back different is never written."""
        return _refuse(pair)


def _open(passage: str) -> str:
    return f" <CON> {_hide(passage)} </CON>\n\n"


def _pairs(shot: Shot) -> str:
    return "\n\n".join(_piece(pair) for pair in shot.pairs if _refuse(pair) is None)


def _refuse(pair: Pair) -> str | None:
    read = _read(_piece(pair).removesuffix("</END>"))
    if isinstance(read, str):
        return read
    return None if read == _trimmed(pair) else "ambiguous_markup"


def _piece(pair: Pair) -> str:
    pair = _trimmed(pair)
    question, answer = pair.question, pair.answer
    if pair.options:
        question += "\nOptions:" + "".join(f"\n- {option}" for option in pair.options)
    if pair.rationale is not None:
        question += f"\n{CUE}"
        answer = f"{pair.rationale}\n{CONCLUSION} {answer}"
    return f"<QUE> {_hide(question)} <ANS> {_hide(answer)} </END>"


def _read(piece: str) -> Pair | str:
    """The pair in a piece that `</END>` closed (without it), or the reason why there is none."""
    question, answer_tag, answer = piece.partition("<ANS>")
    question = question.strip()
    answer = answer.strip()
    if not question.startswith("<QUE>"):
        return "no_question_tag"
    if not answer_tag:
        return "no_answer_tag"
    if piece.count("<") > 2:
        if "<ANS>" in answer:
            return "several_answer_tags"
        if piece.count("<QUE>") > 1 or "</CON>" in piece:
            return "stray_tag"
    question = question[5:].lstrip()
    if " >" in piece:
        question, answer = _restore(question), _restore(answer)
    if CUE in question or "Options:" in question:
        return _read_with_parts(question, answer)
    if not question:
        return "empty_question"
    return Pair(question, answer) if answer else "empty_answer"


def _read_with_parts(question: str, answer: str) -> Pair | str:
    """A pair whose question may hold the cue, or options, on lines of their own."""
    rationale: str | None = None
    lines = question.split("\n")
    if CUE in lines:
        if lines.index(CUE) != len(lines) - 1 or answer.count(CONCLUSION) != 1:
            return "broken_rationale"
        before, _, after = answer.partition(CONCLUSION)
        rationale, answer = before.strip(), after.strip()
        if not rationale:
            return "broken_rationale"
        lines.pop()
    options: list[str] = []
    if "Options:" in lines:
        header = lines.index("Options:")
        options = [line[2:].strip() if line.startswith("- ") else "" for line in lines[header + 1 :]]
        if not options or not all(options):
            return "broken_options"
        lines = lines[:header]
    question = "\n".join(lines).strip()
    if not question:
        return "empty_question"
    return Pair(question, answer, tuple(options), rationale) if answer else "empty_answer"


def _trimmed(pair: Pair) -> Pair:
    """The pair as far as the markup carries it."""
    rationale = None if pair.rationale is None else pair.rationale.strip()
    options = tuple(option.strip() for option in pair.options)
    return Pair(pair.question.strip(), pair.answer.strip(), options, rationale)


def _hide(text: str) -> str:
    return _TAG.sub(r"<\1 >", text) if "<" in text else text


def _restore(text: str) -> str:
    return _HIDDEN_TAG.sub(r"<\1>", text)
