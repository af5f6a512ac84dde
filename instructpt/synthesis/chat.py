"""The dialect `chat`: any instruct model writes the pairs, told in words what to do. It replies in JSON or plain lines.

What a model is asked in round 2 of a chain (M = 2):

    system       what a good pair is, the four formats, the layout of the reply              prompts/<language>.toml
    user         === PASSAGE ===
                 {passage 1}
                 === PASSAGE ===
                 Write instruction-response pairs for this passage. Number of pairs: 2. Their categories ...
    assistant    {"pairs": [{"category": "facts", "question": "...", "options": [], "rationale": null, "answer": "..."},
                            {"category": "maths", ...}]}            the accepted pairs of round 1, written anew
    user         the same with {passage 2}

A model too small for JSON is shown examples, between system and round 1, and replies in lines (`replies`).

What changes from round to round stands last, so that a server's prefix cache holds the rest: a prompt begins as the one
before it in its chain did, up to what was asked for there, and to the reply if all its pairs were accepted.

A passage is only material. It is filled in once and never looked at again; the lines around it are such as it does not
hold itself (`=== PASSAGE 2 ===` if it spells the first); and the marks by which chat templates tell turns apart are
hidden in all texts, for servers read them as marks wherever they stand: `<|im_end|>` is written `<|im_end |>`, and
reading an answer takes the blank away again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import ClassVar

from instructpt.engines import Conversation, Form, Message
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text
from instructpt.synthesis import prompts
from instructpt.synthesis.json_replies import JsonReplies
from instructpt.synthesis.line_replies import LineReplies
from instructpt.synthesis.markup import NOTHING_KNOWN, trimmed, write_group
from instructpt.synthesis.prompts import Wording, fill
from instructpt.synthesis.replies import MAX_PAIRS, hide, refuse_category, restore

_JSON_BEGINS = ("{", "[", "```")


class Chat:
    """The contract is `dialects.Dialect`. It has nothing but its wording."""

    marks: ClassVar[tuple[str, ...]] = ()
    can_steer: ClassVar[bool] = True
    asks_apart: ClassVar[bool] = False

    def __init__(self, variant: str = "english") -> None:
        """`variant`: "json" or "lines", the layout of replies; a language or a file as `prompts.load` takes it; or both
        with a colon between them, "lines:german". JSON and English where one is left out.

        Raises as `prompts.load` does, and RecipeError for a file without the wording of `lines`.
        """
        first, colon, rest = variant.partition(":")
        layout, language = (first, rest if colon else "english") if first in prompts.LAYOUTS else ("json", variant)
        self.wording: Wording = prompts.load(language, layout=layout)
        words = self.wording.reply_words
        self._replies: JsonReplies | LineReplies = JsonReplies() if words is None else LineReplies(words)
        self._system = fill(self.wording.system, fence=fence_line(self.wording.fence, ""), most=MAX_PAIRS)
        self._examples = list(self._shots(self.wording.examples))
        conclusion = re.escape(self.wording.conclusion.rstrip(":： "))
        self._conclusion = re.compile(rf"^([ \t*_#>]*){conclusion}[*_]*\s*[:：][*_]*", re.MULTILINE | re.IGNORECASE)

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. The turns without roles, which are a chat template's: system, user, reply, user, reply.

        One span a shot: the reply, behind which the sequence ends. The wording's examples come first, without loss. A
        turn asks for categories if all pairs have one.
        """
        shots = [(f"{turn}\n\n", reply) for turn, reply in self._shots(group.shots)]
        if not shots:
            return write_group(group, shots)
        shots = [*((f"{turn}\n\n{reply}", "") for turn, reply in self._examples), *shots]
        return write_group(group, [(f"{self._system}\n\n{shots[0][0]}", shots[0][1]), *shots[1:]])

    def arrange(self, shot: Shot) -> Shot:
        """See `Dialect.arrange`. Any order will do."""
        return shot

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> Conversation:
        """See `Dialect.prompt`. The wording's examples and earlier shots are earlier turns, as `write` writes them."""
        for category in categories:
            if reason := refuse_category(category):
                raise RecipeError(f"{category!r} cannot be asked for ({reason}): give a name on one line")
        turns = [*self._examples, *self._shots(earlier)]
        return conversation(self._system, turns, self._request(passage, categories))

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        spans: Sequence[str] = (),
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`, and `form` of the layout: `json_replies`, `line_replies`."""
        return self._replies.form(categories, field_characters=field_characters)

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> Conversation:
        """See `Dialect.ask`. Each pair of an earlier shot is a turn of its own, answered in the way asked for."""
        assert self.refuse(pair) is None, f"{pair} cannot be asked: {self.refuse(pair)}"
        fences = [fence_line(word, "") for word in (self.wording.fence, self.wording.question_fence)]
        system = fill(self.wording.answer_system, fence=fences[0], question_fence=fences[1])
        turns = []
        for shot in earlier:
            for i, known in enumerate(known for known in shot.pairs if self.refuse(known) is None):
                turns.append((self._question(known, None if i else shot.document.text), self._reply(known)))
        return conversation(system, turns, self._question(pair, passage))

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`. With a rationale, what stands behind the last line's "Answer:" is the answer."""
        text = (spoken_part(text) or "").strip()
        *_, conclusion = (None, *self._conclusion.finditer(text))
        rationale, answer = None, text
        if conclusion is not None:
            answer = text[conclusion.end() :].strip()
            answer = answer.removesuffix("**").rstrip() if "**" in conclusion.group(1) else answer
        if pair.rationale is not None:
            rationale = restore(text[: conclusion.start()].strip()) if conclusion else ""
            if not rationale:
                return Reject(text, "broken_rationale")
        if not answer:
            return Reject(text, "empty_answer")
        return replace(pair, answer=restore(answer), rationale=rationale)

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`. A thought before the pairs, in `<think>` tags, and text around them are no rejects.

        Reasons: those of the layout (`json_replies`, `line_replies`), and `no_pair` where there is nothing at all.
        """
        spoken = spoken_part(answer)
        if spoken is None:
            return [], [Reject(answer.strip(), "cut_off")]
        pairs, rejects = self._replies.read(spoken)
        if not pairs and not rejects:
            rejects.append(Reject(spoken.strip(), "no_pair"))
        return pairs, rejects

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`."""
        return self._replies.refuse(pair)

    def _shots(self, shots: Sequence[Shot]) -> Iterator[tuple[str, str]]:
        """Of each shot with pairs, the user's turn and the assistant's."""
        for shot in shots:
            if pairs := [pair for pair in shot.pairs if self.refuse(pair) is None]:
                named = [pair.category for pair in pairs if pair.category]
                categories = named if len(named) == len(pairs) else []
                yield self._request(shot.document.text, categories), self._replies.write(pairs)

    def _request(self, passage: str, categories: Sequence[str]) -> str:
        material = fenced(passage, word=self.wording.fence)
        if not categories:
            return fill(self.wording.open_request, passage=material, most=MAX_PAIRS)
        counts = Counter(hide(category.strip()) for category in categories)
        lines = [fill(self.wording.category, name=name, count=number) for name, number in counts.items()]
        return fill(self.wording.request, passage=material, number=len(categories), categories="\n".join(lines))

    def _question(self, pair: Pair, passage: str | None) -> str:
        """The user's turn that asks a question, with the passage unless it is that of the turn before."""
        wording, pair = self.wording, trimmed(pair)
        options = [wording.options, *(f"- {option}" for option in pair.options)] if pair.options else []
        question = fenced("\n".join([pair.question, *options]), word=wording.question_fence)
        reasoned = fill(wording.reasoned, conclusion=wording.conclusion)
        how = wording.plainly if pair.rationale is None else reasoned
        if passage is None:
            return fill(wording.next_question, question=question, how=how)
        return fill(wording.first_question, passage=fenced(passage, word=wording.fence), question=question, how=how)

    def _reply(self, pair: Pair) -> str:
        pair = trimmed(pair)
        if pair.rationale is None:
            return hide(pair.answer)
        return hide(f"{pair.rationale}\n{self.wording.conclusion} {pair.answer}")


def conversation(system: str, turns: Iterable[tuple[str, str]], last: str) -> Conversation:
    """The system's turn, turns of user and assistant, and the user's last one."""
    messages = [Message("system", system)]
    for asked, replied in turns:
        messages += [Message("user", asked), Message("assistant", replied)]
    return Conversation((*messages, Message("user", last)))


def fenced(text: str, *, word: str) -> str:
    """The text between two equal lines that it does not hold, its marks of turns hidden."""
    fence = fence_line(word, text)
    return f"{fence}\n{hide(text)}\n{fence}"


def fence_line(word: str, text: str) -> str:
    """The first of `=== {word} ===`, `=== {word} 2 ===`, ... that is not in the text, case and blanks aside."""
    squeezed = "".join(text.split()).casefold()
    fences = (f"=== {word} {number} ===" if number > 1 else f"=== {word} ===" for number in count(1))
    return next(fence for fence in fences if "".join(fence.split()).casefold() not in squeezed)


def spoken_part(answer: str) -> str | None:
    """The answer behind the thought that it begins with, if it does; None if the thought has no end.

    Templates may write the tag that opens a thought into the prompt: then only its end is there.
    """
    thought, end, spoken = answer.partition("</think>")
    if end and not thought.lstrip().startswith(_JSON_BEGINS):
        return spoken
    return None if answer.lstrip().startswith("<think>") else answer
