"""Where the responses of a text stand: for instruction tuning, in which they alone carry loss.

A layout puts questions and answers together as it likes, so answers are marked before and found after it:

    parts       question "When?"    answer "\\U000F0000" + "1963"          a mark stands before every response
    laid out    Q: When?\\nA: \\U000F00001963.
    marks out   Q: When?\\nA: 1963.        spans ((12, 17),)               one a pair, with the blank before it

A mark is a private character that the group does not hold. It stands in front, not behind: templates look at how an
answer ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from instructpt.records import Group
from instructpt.templates.pairs import Parts

_PRIVATE = range(0xF0000, 0xFFFFE)
"""Characters that mean nothing, by definition of Unicode."""


@dataclass(slots=True)
class Marks:
    """Marks for the responses of one text."""

    free: Iterator[str]
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Mark -> which pair it belongs to, and how many characters long the piece behind it is."""

    def put(self, parts: Parts, pair: int) -> Parts:
        """The parts with a mark before the answer, and one before the rationale if there is one."""
        rationale = None if parts.rationale is None else self._marked(parts.rationale, pair)
        return replace(parts, answer=self._marked(parts.answer, pair), rationale=rationale)

    def take_out(self, text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The text without its marks, and the characters of each response, in order.

        What stands between the rationale and the answer of a pair belongs to the response, as does the blank before
        it: tokens begin with their blank. If nothing but signs follows the last response (the full stop that a
        template puts), it goes up to the end, so that the end of text is learned with it.
        """
        spans: dict[int, tuple[int, int]] = {}
        pieces: list[str] = []
        place, last = 0, 0
        for match in re.finditer(f"[{''.join(self.lengths)}]", text):
            pieces.append(text[last : match.start()])
            place, last = place + match.start() - last, match.end()
            pair, length = self.lengths[match[0]]
            start, stop = spans.get(pair, (place, place))
            spans[pair] = min(start, place), max(stop, place + length)
        plain = "".join([*pieces, text[last:]])
        ordered = sorted((start - plain[:start].endswith(" "), stop) for start, stop in spans.values())
        if ordered and not any(character.isalnum() for character in plain[ordered[-1][1] :]):
            ordered[-1] = ordered[-1][0], len(plain)
        return plain, tuple(ordered)

    def _marked(self, piece: str, pair: int) -> str:
        mark = next(self.free)
        self.lengths[mark] = pair, len(piece)
        return mark + piece


def marks_for(group: Group) -> Marks:
    """Marks that no text of the group holds."""
    held = {character for text in _texts(group) for character in set(text) if ord(character) in _PRIVATE}
    return Marks(character for character in map(chr, _PRIVATE) if character not in held)


def _texts(group: Group) -> Iterable[str]:
    for shot in group.shots:
        yield shot.document.text
        for pair in shot.pairs:
            yield from (pair.question, pair.answer, *pair.options, pair.rationale or "")
