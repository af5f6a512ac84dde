"""Where a row's text is: in a field, in a nested one by a dotted path, in one piece or several.

--text-field body            {"body": "..."}
--text-field content.text    {"content": {"text": "..."}}; a key with a dot wins: {"content.text": "..."}
--text-field text            {"text": ["a paragraph", "another"]}: one text, a blank line between its pieces
--text-field messages        {"messages": [{"role": "user", "content": "..."}, ...]}: the turns, likewise
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JOINER = "\n\n"
"""Between the pieces or turns of a text."""
_TURN_FIELDS = ("content", "text", "value")
"""What a turn or a piece is called in the usual layouts: chat messages, pieces of them, ShareGPT."""


def value_at(fields: object, path: str) -> Any:
    """What stands at a dotted path; None if there is nothing. Of a list along the way: the list of its elements'."""
    if isinstance(fields, list):
        found = [value_at(item, path) for item in fields]
        return found if any(item is not None for item in found) else None
    if not isinstance(fields, Mapping):
        return None
    if path in fields:
        return fields[path]
    for place, character in enumerate(path):
        if character == "." and path[:place] in fields:
            return value_at(fields[path[:place]], path[place + 1 :])
    return None


def without(fields: dict[str, Any], path: str) -> dict[str, Any]:
    """A row's other fields: without what `value_at` gives."""
    if path in fields:
        return {name: value for name, value in fields.items() if name != path}
    for place, character in enumerate(path):
        if character == "." and (start := path[:place]) in fields:
            rest = path[place + 1 :]
            inner = fields[start]
            if isinstance(inner, dict):
                return {**fields, start: without(inner, rest)}
            if isinstance(inner, list):
                return {**fields, start: [without(i, rest) if isinstance(i, dict) else i for i in inner]}
    return fields


def joined(value: Any) -> str | None:
    """The text that a value holds: a string, or pieces or turns joined by a blank line; None if some piece has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        names = [name for name in _TURN_FIELDS if name in value]  # null where a turn only calls a tool
        return joined(value[names[0]]) if names and value[names[0]] is not None else "" if names else None
    if isinstance(value, list) and value:
        pieces = [joined(item) for item in value]
        if all(piece is not None for piece in pieces):
            return JOINER.join(piece for piece in pieces if piece)
    return None
