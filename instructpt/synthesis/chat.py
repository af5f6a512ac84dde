"""The dialect `chat`: any instruct model writes the pairs, told what to do in words and answering in JSON.

What a model is asked in round 2 of a chain (M = 2):

    system       what a good pair is, the four formats, the layout of the reply              prompts/<language>.toml
    user         === PASSAGE ===
                 {passage 1}
                 === PASSAGE ===
                 Write instruction-response pairs for this passage. Number of pairs: 2. Their categories ...
    assistant    {"pairs": [{"category": "facts", "question": "...", "options": [], "rationale": null, "answer": "..."},
                            {"category": "maths", ...}]}            the accepted pairs of round 1, written anew
    user         the same with {passage 2}

What changes from round to round stands last, so that a server's prefix cache holds the rest: a prompt begins as the one
before it in its chain did, up to what was asked for there, and to the reply if all its pairs were accepted.

A passage is only material. It is filled in once and never looked at again; the lines around it are such as it does not
hold itself (`=== PASSAGE 2 ===` if it spells the first); and the marks by which chat templates tell turns apart are
hidden in all texts, for servers read them as marks wherever they stand: `<|im_end|>` is written `<|im_end |>`, and
reading an answer takes the blank away again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

from instructpt.engines import Conversation, Form, Message
from instructpt.errors import RecipeError
from instructpt.records import Group, Pair, Reject, Shot, Text
from instructpt.synthesis.loose_json import read_objects, show
from instructpt.synthesis.markup import NOTHING_KNOWN, trimmed, write_group
from instructpt.synthesis.prompts import Wording, fill, load

MAX_PAIRS = 8
"""A passage, where the model chooses. Answers of some 60 tokens a pair; the shipped synthesizer writes 5."""
MAX_OPTIONS = 8
"""A form's bound; answers that come without one may hold more."""

_TAG = r"s|bos|eos|pad|unk|think|image|audio|video|(?:start|end)_of_(?:turn|image)|tool_call|tool_response"
_WORD = r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|ARGS|CALL_ID|IMG"
_INSIDE = r"[^<>|｜\s\[\]]++"
_MARK = rf"<[|｜]{_INSIDE}|<{_INSIDE}[|｜]|</?(?:{_TAG})|\[/?(?:{_WORD})"
_END = r"[|｜]?[>\]]"
_SHOWN_MARK = re.compile(rf"({_MARK})( *)({_END})")
_HIDDEN_MARK = re.compile(rf"({_MARK})( *) ({_END})")
"""Of ChatML and Qwen, Llama 3, Phi, Gemma, Mistral, DeepSeek, and the begin and end of text of older ones. A mark that
is missing here does no more harm than it does in any other prompt."""

_JSON_BEGINS = ("{", "[", "```")


class Chat:
    """The contract is `dialects.Dialect`. It has nothing but its wording."""

    marks: ClassVar[tuple[str, ...]] = ()
    can_steer: ClassVar[bool] = True

    def __init__(self, language: str = "english") -> None:
        """`language`: as `prompts.load` takes it, and with the errors that it raises."""
        self.wording: Wording = load(language)
        self._system = fill(self.wording.system, fence=_fence(self.wording.fence, ""), most=MAX_PAIRS)
        conclusion = re.escape(self.wording.conclusion.rstrip(":： "))
        self._conclusion = re.compile(rf"^([ \t*_#>]*){conclusion}[*_]*\s*[:：][*_]*", re.MULTILINE | re.IGNORECASE)

    def write(self, group: Group) -> Text:
        """See `Dialect.write`. The turns without roles, which are a chat template's: system, user, JSON, user, JSON.

        One span a shot: its JSON, behind which the sequence ends. A turn asks for categories if all pairs have one.
        """
        shots = list(self._shots(group.shots))
        opening = f"{self._system}\n\n"
        return write_group(
            group, [((opening if i == 0 else "") + f"{turn}\n\n", pairs) for i, (turn, pairs) in enumerate(shots)]
        )

    def arrange(self, shot: Shot) -> Shot:
        """See `Dialect.arrange`. Any order will do."""
        return shot

    def prompt(self, earlier: Sequence[Shot], passage: str, *, categories: Sequence[str] = ()) -> Conversation:
        """See `Dialect.prompt`. Earlier shots are earlier turns, as `write` writes them."""
        for category in categories:
            if reason := _refuse_category(category):
                raise RecipeError(f"{category!r} cannot be asked for ({reason}): give a name on one line")
        return _conversation(self._system, self._shots(earlier), self._request(passage, categories))

    def form(
        self,
        categories: Sequence[str] = (),
        *,
        passage: str = "",
        field_characters: int | None = None,
        answers: Mapping[str, str] = NOTHING_KNOWN,
    ) -> Form:
        """See `Dialect.form`. A JSON schema: as many pairs as `categories`, their order left free; else 1 to 8.

        So there are few forms, whatever is asked for. It keeps to what all servers know of schemas (strict modes refuse
        lengths and patterns of strings), so a text in a whole answer may still be empty, and `parse` says so.
        """
        del passage, field_characters, answers
        text = {"type": "string"}
        category = {"category": {**text, "enum": sorted({name.strip() for name in categories})}} if categories else {}
        properties = {
            **category,
            "question": text,
            "options": {"type": "array", "items": text, "maxItems": MAX_OPTIONS},
            "rationale": {"type": ["string", "null"]},
            "answer": text,
        }
        pairs = {
            "type": "array",
            "minItems": len(categories) or 1,
            "maxItems": len(categories) or MAX_PAIRS,
            "items": _object_of(properties),
        }
        return Form("json", json.dumps(_object_of({"pairs": pairs}), ensure_ascii=False))

    def ask(self, earlier: Sequence[Shot], passage: str, pair: Pair) -> Conversation:
        """See `Dialect.ask`. Each pair of an earlier shot is a turn of its own, answered in the way asked for."""
        assert _refuse(pair) is None, f"{pair} cannot be asked: {_refuse(pair)}"
        fences = [_fence(word, "") for word in (self.wording.fence, self.wording.question_fence)]
        system = fill(self.wording.answer_system, fence=fences[0], question_fence=fences[1])
        turns = []
        for shot in earlier:
            for i, known in enumerate(known for known in shot.pairs if _refuse(known) is None):
                turns.append((self._question(known, None if i else shot.document.text), self._reply(known)))
        return _conversation(system, turns, self._question(pair, passage))

    def answer(self, text: str, pair: Pair) -> Pair | Reject:
        """See `Dialect.answer`. With a rationale, what stands behind the last line's "Answer:" is the answer."""
        text = (_spoken(text) or "").strip()
        *_, conclusion = (None, *self._conclusion.finditer(text))
        rationale, answer = None, text
        if conclusion is not None:
            answer = text[conclusion.end() :].strip()
            answer = answer.removesuffix("**").rstrip() if "**" in conclusion.group(1) else answer
        if pair.rationale is not None:
            rationale = _restore(text[: conclusion.start()].strip()) if conclusion else ""
            if not rationale:
                return Reject(text, "broken_rationale")
        if not answer:
            return Reject(text, "empty_answer")
        return replace(pair, answer=_restore(answer), rationale=rationale)

    def parse(self, answer: str) -> tuple[Sequence[Pair], Sequence[Reject]]:
        """See `Dialect.parse`. Whole pairs are kept, also out of an answer that was cut off or is not quite JSON.

        A thought before the JSON, in `<think>` tags, and text around it are no rejects. Reasons: those of
        `loose_json.read_objects`; `no_` or `empty_question`, `no_` or `empty_answer`, `broken_options`,
        `broken_rationale`, `broken_category` for fields; `not_unicode`; `no_pair` where there is nothing at all.
        """
        pairs: list[Pair] = []
        rejects: list[Reject] = []
        spoken = _spoken(answer)
        if spoken is None:
            return [], [Reject(answer.strip(), "cut_off")]
        for found in read_objects(spoken, inside="pairs"):
            read = found if isinstance(found, Reject) else _read(found)
            if isinstance(read, Pair):
                pairs.append(read)
            else:
                rejects.append(read if isinstance(read, Reject) else Reject(show(found), read))
        if not pairs and not rejects:
            rejects.append(Reject(spoken.strip(), "no_pair"))
        return pairs, rejects

    def refuse(self, pair: Pair) -> str | None:
        """See `Dialect.refuse`."""
        return _refuse(pair)

    def _shots(self, shots: Sequence[Shot]) -> Iterator[tuple[str, str]]:
        """Of each shot with pairs, the user's turn and the assistant's."""
        for shot in shots:
            if pairs := [pair for pair in shot.pairs if _refuse(pair) is None]:
                named = [pair.category for pair in pairs if pair.category]
                categories = named if len(named) == len(pairs) else []
                fields = {"pairs": [_fields(pair) for pair in pairs]}
                yield self._request(shot.document.text, categories), json.dumps(fields, ensure_ascii=False)

    def _request(self, passage: str, categories: Sequence[str]) -> str:
        fenced = _fenced(passage, word=self.wording.fence)
        if not categories:
            return fill(self.wording.open_request, passage=fenced, most=MAX_PAIRS)
        counts = Counter(_hide(category.strip()) for category in categories)
        lines = [fill(self.wording.category, name=name, count=number) for name, number in counts.items()]
        return fill(self.wording.request, passage=fenced, number=len(categories), categories="\n".join(lines))

    def _question(self, pair: Pair, passage: str | None) -> str:
        """The user's turn that asks a question, with the passage unless it is that of the turn before."""
        wording, pair = self.wording, trimmed(pair)
        options = [wording.options, *(f"- {option}" for option in pair.options)] if pair.options else []
        question = _fenced("\n".join([pair.question, *options]), word=wording.question_fence)
        reasoned = fill(wording.reasoned, conclusion=wording.conclusion)
        how = wording.plainly if pair.rationale is None else reasoned
        if passage is None:
            return fill(wording.next_question, question=question, how=how)
        return fill(wording.first_question, passage=_fenced(passage, word=wording.fence), question=question, how=how)

    def _reply(self, pair: Pair) -> str:
        pair = trimmed(pair)
        if pair.rationale is None:
            return _hide(pair.answer)
        return _hide(f"{pair.rationale}\n{self.wording.conclusion} {pair.answer}")


def _conversation(system: str, turns: Iterator[tuple[str, str]] | list[tuple[str, str]], last: str) -> Conversation:
    messages = [Message("system", system)]
    for asked, replied in turns:
        messages += [Message("user", asked), Message("assistant", replied)]
    return Conversation((*messages, Message("user", last)))


def _object_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _fenced(text: str, *, word: str) -> str:
    fence = _fence(word, text)
    return f"{fence}\n{_hide(text)}\n{fence}"


def _fence(word: str, text: str) -> str:
    """The first of `=== {word} ===`, `=== {word} 2 ===`, ... that is not in the text, case and blanks aside."""
    squeezed = "".join(text.split()).casefold()
    fences = (f"=== {word} {number} ===" if number > 1 else f"=== {word} ===" for number in count(1))
    return next(fence for fence in fences if "".join(fence.split()).casefold() not in squeezed)


def _hide(text: str) -> str:
    return _SHOWN_MARK.sub(r"\1\2 \3", text) if "<" in text or "[" in text else text


def _restore(text: str) -> str:
    return _HIDDEN_MARK.sub(r"\1\2\3", text) if "<" in text or "[" in text else text


def _spoken(answer: str) -> str | None:
    """The answer behind the thought that it begins with, if it does; None if the thought has no end.

    Templates may write the tag that opens a thought into the prompt: then only its end is there.
    """
    thought, end, spoken = answer.partition("</think>")
    if end and not thought.lstrip().startswith(_JSON_BEGINS):
        return spoken
    return None if answer.lstrip().startswith("<think>") else answer


def _fields(pair: Pair) -> dict[str, Any]:
    """The pair as it stands in JSON, in the order of the form."""
    short = trimmed(pair)
    return {
        **({} if pair.category is None else {"category": _hide(pair.category.strip())}),
        "question": _hide(short.question),
        "options": [_hide(option) for option in short.options],
        "rationale": None if short.rationale is None else _hide(short.rationale),
        "answer": _hide(short.answer),
    }


def _read(found: Mapping[str, Any]) -> Pair | str:
    """The pair in a decoded object, or the reason why there is none. Numbers were decoded as text.

    Options, rationale and category may be missing, null or empty, which all means that there are none.
    """
    question, answer = found.get("question"), found.get("answer")
    options, rationale, category = (found.get(name) or None for name in ("options", "rationale", "category"))
    if not isinstance(question, str):
        return "no_question"
    if not isinstance(answer, str):
        return "no_answer"
    if not isinstance(options or [], list) or not all(isinstance(option, str) for option in options or ()):
        return "broken_options"
    if not isinstance(rationale or "", str):
        return "broken_rationale"
    if not isinstance(category or "", str):
        return "broken_category"
    pair = trimmed(Pair(question, answer, tuple(options or ()), (rationale or "").strip() or None))
    return _checked(replace(pair, category=(category or "").strip() or None))


def _checked(pair: Pair) -> Pair | str:
    """The pair with its marks restored, or what is wrong with its texts."""
    texts = [pair.question, pair.answer, *pair.options, pair.rationale or "", pair.category or ""]
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        return "not_unicode"
    if not pair.question:
        return "empty_question"
    if not pair.answer:
        return "empty_answer"
    if not all(pair.options):
        return "broken_options"
    if pair.category is not None and (reason := _refuse_category(pair.category)):
        return reason
    question, answer, *options = map(_restore, [pair.question, pair.answer, *pair.options])
    rationale, category = (None if text is None else _restore(text) for text in (pair.rationale, pair.category))
    return Pair(question, answer, tuple(options), rationale, category)


def _refuse(pair: Pair) -> str | None:
    """Written, read again, compared; what JSON carries and reading would drop has reasons of its own."""
    if pair.rationale is not None and not pair.rationale.strip():
        return "empty_rationale"
    if pair.category is not None and (reason := _refuse_category(pair.category)):
        return reason
    read = _read(_fields(pair))
    if isinstance(read, str):
        return read
    category = None if pair.category is None else pair.category.strip()
    assert read == replace(trimmed(pair), category=category), f"{pair} came back as {read}"
    return None


def _refuse_category(category: str) -> str | None:
    category = category.strip()
    if not category:
        return "empty_category"
    return "broken_category" if len(category.splitlines()) > 1 else None
