r"""Pairs as one JSON object: what an instruct model of some billion parameters writes without a mistake.

{"pairs": [{"category": "facts", "question": "...", "options": [], "rationale": null, "answer": "..."}, ...]}

Objects are found also in what is not quite JSON:

    Here you are:\n```json\n{"pairs": [{...}, {...,}, {"question": "Wh        <- the tokens ran out
                                       `-1-'  `-2--'  `--3----------
    1, 2   objects, in order; a comma before a closing bracket is forgiven
    3      a reject `cut_off`, and never a guess at how it might have gone on

Brackets are followed with strings skipped, so that braces inside texts mean nothing. What decodes whole is taken whole;
of what does not, the innermost whole objects are kept, and the rest of it is a reject. Text around the JSON is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from instructpt.engines import Form
from instructpt.records import Pair, Reject
from instructpt.synthesis.markup import trimmed
from instructpt.synthesis.replies import MAX_OPTIONS, MAX_PAIRS, hide, refuse_category, restore


class JsonReplies:
    """One layout of replies, see `replies`. Stateless."""

    def write(self, pairs: Sequence[Pair]) -> str:
        """The reply that holds these pairs."""
        return json.dumps({"pairs": [_fields(pair) for pair in pairs]}, ensure_ascii=False)

    def read(self, reply: str) -> tuple[list[Pair], list[Reject]]:
        """The pairs in a reply, in order, and what was no pair, each with a reason.

        Whole pairs are kept, also out of a reply that was cut off or is not quite JSON.

        Reasons: those of `read_objects`; `no_` or `empty_question`, `no_` or `empty_answer`,
        `broken_options`, `broken_rationale`, `broken_category` for fields; `not_unicode`.
        """
        pairs: list[Pair] = []
        rejects: list[Reject] = []
        for found in read_objects(reply, inside="pairs"):
            read = found if isinstance(found, Reject) else _read(found)
            if isinstance(read, Pair):
                pairs.append(read)
            else:
                rejects.append(read if isinstance(read, Reject) else Reject(show(found), read))
        return pairs, rejects

    def form(self, categories: Sequence[str] = (), *, field_characters: int | None = None) -> Form:
        """A JSON schema of a reply: as many pairs as `categories`, their order left free; else 1 to 8.

        So there are few forms, whatever is asked for. It keeps to what all servers know of schemas (strict modes refuse
        lengths and patterns of strings), so a text in a whole reply may still be empty, and `read` says so.
        """
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

    def refuse(self, pair: Pair) -> str | None:
        """Why `read` would not give this pair back; None if it does. What reading drops has reasons of its own."""
        if pair.rationale is not None and not pair.rationale.strip():
            return "empty_rationale"
        if pair.category is not None and (reason := refuse_category(pair.category)):
            return reason
        read = _read(_fields(pair))
        if isinstance(read, str):
            return read
        category = None if pair.category is None else pair.category.strip()
        assert read == replace(trimmed(pair), category=category), f"{pair} came back as {read}"
        return None


def _object_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _fields(pair: Pair) -> dict[str, Any]:
    """The pair as it stands in JSON, in the order of the form."""
    short = trimmed(pair)
    return {
        **({} if pair.category is None else {"category": hide(pair.category.strip())}),
        "question": hide(short.question),
        "options": [hide(option) for option in short.options],
        "rationale": None if short.rationale is None else hide(short.rationale),
        "answer": hide(short.answer),
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
    if pair.category is not None and (reason := refuse_category(pair.category)):
        return reason
    question, answer, *options = map(restore, [pair.question, pair.answer, *pair.options])
    rationale, category = (None if text is None else restore(text) for text in (pair.rationale, pair.category))
    return Pair(question, answer, tuple(options), rationale, category)


_BRACKET = re.compile(r"[{\[]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+")|,(?=\s*[}\]])', re.DOTALL)
_KEY_AT_END = re.compile(r'"[^"]*"\s*:\s*\Z')
_STRUCTURE = " \t\r\n,:{}[]`"
"""What may stand between objects and says nothing."""
_MAX_HEIGHT = 32
"""Brackets in one another that are still decoded, so that no text takes long; pairs in a list in an object need 3."""
# Line breaks inside strings are taken as they are, and numbers as the text that they were written as: all is text here.
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)


@dataclass(slots=True)
class _Node:
    """A bracket and what is inside it."""

    start: int
    opener: str
    stop: int = 0
    is_closed: bool = False
    is_cut: bool = False
    """Open when the text ended."""
    holds_objects: bool = False
    height: int = 0
    """Of the brackets inside it."""
    children: list[_Node] = field(default_factory=list)


def read_objects(text: str, *, inside: str) -> list[Mapping[str, Any] | Reject]:
    """The objects that a text holds, in order, and rejects for what looks like some and cannot be read.

    Objects are looked for in lists and in the field `inside` of other objects; where that is missing, in any field that
    holds a list of them. Numbers come as text. Reasons: `cut_off` for the piece that the text ends in, `not_json`,
    `not_an_object`. Nothing at all for a blank text and for JSON without objects.
    """
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and (value := _decode(stripped)) is not None:
        return list(_unpack(value, inside=inside))
    nodes = _scan(text)
    if not nodes:
        return [Reject(stripped, "not_json")] if stripped else []
    found: list[Mapping[str, Any] | Reject] = []
    waiting: list[_Node | Reject] = [*reversed(nodes)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Reject):
            found.append(node)
        elif (
            node.is_closed
            and node.height <= _MAX_HEIGHT
            and (value := _decode(text[node.start : node.stop])) is not None
        ):
            found += _unpack(value, inside=inside)
        elif node.holds_objects:
            waiting += reversed(list(_parts(node, text)))
        else:
            found.append(Reject(text[node.start : node.stop].strip(), _reason(node)))
    return found


def show(value: object) -> str:
    """A decoded value as JSON again, for people; what is no Unicode text stays escaped."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _scan(text: str) -> list[_Node]:
    """The outermost brackets. Quotes mean something inside brackets only: around them stands plain language."""
    outermost: list[_Node] = []
    path: list[_Node] = []
    num_open = {"{": 0, "[": 0}
    place = 0
    while token := (_TOKEN if path else _BRACKET).search(text, place):
        place, mark = token.end(), token.group()
        if mark in num_open:
            node = _Node(token.start(), mark)
            (path[-1].children if path else outermost).append(node)
            if mark == "{":
                _mark_ancestors(path)
            path.append(node)
            num_open[mark] += 1
        elif mark in "}]" and num_open[opener := "{" if mark == "}" else "["]:
            _close(path, opener, place, num_open)
    for node in path:
        node.stop, node.is_cut = len(text), True
    return outermost


def _mark_ancestors(path: list[_Node]) -> None:
    for node in reversed(path):
        if node.holds_objects:
            return
        node.holds_objects = True


def _close(path: list[_Node], opener: str, stop: int, num_open: dict[str, int]) -> None:
    """Close the innermost bracket of this kind; those inside it were never closed, and end just before."""
    while True:
        node = path.pop()
        num_open[node.opener] -= 1
        if path:
            path[-1].height = max(path[-1].height, node.height + 1)
        if node.opener == opener:
            node.stop, node.is_closed = stop, True
            return
        node.stop = stop - 1


def _parts(node: _Node, text: str) -> Iterator[_Node | Reject]:
    """What is inside a bracket that cannot be decoded: the brackets in it, and what else it says between them."""
    place = node.start + 1
    for child in node.children:
        yield from _rest(_KEY_AT_END.sub("", text[place : child.start]), "not_json")
        yield child
        place = child.stop
    yield from _rest(text[place : node.stop], _reason(node))


def _rest(text: str, reason: str) -> Iterator[Reject]:
    if rest := text.strip(_STRUCTURE):
        yield Reject(rest, reason)


def _reason(node: _Node) -> str:
    return "cut_off" if node.is_cut else "not_json"


def _decode(text: str) -> Any | None:
    """The value of a text that begins with a bracket; None if it is no JSON, commas before closing brackets aside."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        mended = _TRAILING_COMMA.sub(lambda match: match.group(1) or "", text)
    if mended == text:
        return None
    try:
        return _DECODER.decode(mended)
    except (ValueError, RecursionError):
        return None


def _unpack(value: Any, *, inside: str) -> Iterator[Mapping[str, Any] | Reject]:
    if isinstance(value, dict):
        lists = [field for field in value.values() if isinstance(field, list)]
        if isinstance(value.get(inside), dict | list):
            value = value[inside]
        elif len(value) == len(lists) == 1 and any(isinstance(item, dict) for item in lists[0]):
            value = lists[0]
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield from (item if isinstance(item, dict) else Reject(show(item), "not_an_object") for item in value)
