"""Pairs as one JSON object: what an instruct model of some billion parameters writes without a mistake.

{"pairs": [{"category": "facts", "question": "...", "options": [], "rationale": null, "answer": "..."}, ...]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from instructpt.engines import Form
from instructpt.records import Pair, Reject
from instructpt.synthesis.loose_json import read_objects, show
from instructpt.synthesis.markup import trimmed
from instructpt.synthesis.replies import MAX_OPTIONS, MAX_PAIRS, refuse_category
from instructpt.synthesis.turn_marks import hide, restore


class JsonReplies:
    """The contract is `replies.Replies`. Stateless."""

    def write(self, pairs: Sequence[Pair]) -> str:
        """See `Replies.write`."""
        return json.dumps({"pairs": [_fields(pair) for pair in pairs]}, ensure_ascii=False)

    def read(self, reply: str) -> tuple[list[Pair], list[Reject]]:
        """See `Replies.read`. Whole pairs are kept, also out of a reply that was cut off or is not quite JSON.

        Reasons: those of `loose_json.read_objects`; `no_` or `empty_question`, `no_` or `empty_answer`,
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
        """See `Replies.form`. A JSON schema: as many pairs as `categories`, their order left free; else 1 to 8.

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
        """See `Replies.refuse`. What JSON carries and reading would drop has reasons of its own."""
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
