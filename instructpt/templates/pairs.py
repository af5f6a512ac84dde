"""A pair in the style of its group: its options listed, its answer made to fit, and the whole put into a template.

    Pair(question="Which is red?", answer="blood", options=("milk", "blood"))

    options shown, marked     Which is red? / (A) blood / (B) milk / Answer: (A)
    options shown, bullets    Which is red? / - blood / - milk     / Answer: blood
    open                      Which is red?                        / Answer: blood

Options are shuffled by a stream of each pair's own, unless one of them points at others ("all of the above").

In instruction tuning responses alone carry loss. A layout puts questions and answers together as it likes, so answers
are marked before and found after it:

    parts       question "When?"    answer "\\U000F0000" + "1963"          a mark stands before every response
    laid out    Q: When?\\nA: \\U000F00001963.
    marks out   Q: When?\\nA: 1963.        spans ((12, 17),)               one a pair, with the blank before it

A mark is a private character that the group does not hold. It stands in front, not behind: templates look at how an
answer ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from instructpt.records import Group, Pair
from instructpt.seeds import draws
from instructpt.templates.catalog import WordingCatalog
from instructpt.templates.style import Style

INLINE_CHARACTERS = 40
"""Options longer than this are put on lines of their own, as are those that hold a line break."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A pair as its group's style has it, ready to be put in place."""

    question: str
    options: str | None
    """The list of options with its header; None where the pair has none, or is asked openly."""
    answer: str
    """The label of the right option where the list has labels."""
    rationale: str | None
    is_choice: bool


def prepare(pair: Pair, *, catalog: WordingCatalog, style: Style, place: tuple[int, int]) -> Parts:
    """The pair as `style` has it. place: its shot's number in the group and its own in the shot."""
    rationale = pair.rationale or None
    if not pair.options:
        return Parts(pair.question, None, pair.answer, rationale, is_choice=False)
    wordings = [_plainly(option) for option in pair.options]
    is_pinned = any(wording in catalog.pinned for wording in wordings)
    is_none = pair.answer not in pair.options and _plainly(pair.answer) in catalog.none_wordings
    if not (style.shows_options or is_pinned or is_none or _needs_options(pair.question, catalog)):
        return Parts(pair.question, None, pair.answer, rationale, is_choice=True)
    options = pair.options if is_pinned else _shuffled(pair.options, style.key, place)
    label = style.items.label(options.index(pair.answer)) if pair.answer in options else None
    answer = label or (style.none if is_none else pair.answer)
    return Parts(pair.question, _listed(options, style), answer, rationale, is_choice=True)


def written(parts: Parts, style: Style) -> str:
    """Question and answer together, as the layout `classic` has them."""
    if parts.rationale is None:
        if not parts.is_choice:
            return style.plain.fill(question=parts.question, answer=parts.answer)
        if parts.options is None:
            return style.choice.open.fill(question=parts.question, answer=parts.answer)
        return style.choice.shown.fill(question=parts.question, options=parts.options, answer=parts.answer)
    template = style.reasoned
    if parts.is_choice:
        template = style.reasoned_choice.open if parts.options is None else style.reasoned_choice.shown
    return template.fill(
        question=parts.question,
        options=parts.options or "",
        cue=style.cue,
        rationale=parts.rationale,
        conclusion=style.conclusion.fill(answer=parts.answer),
        answer=parts.answer,
    )


def asked(parts: Parts) -> str:
    """The question with its options, if they are shown."""
    return parts.question if parts.options is None else f"{parts.question}\n{parts.options}"


def asked_for_reasons(parts: Parts, style: Style) -> str:
    """The question with its options and, where its answer comes with a rationale, the cue that asks for it."""
    return asked(parts) if parts.rationale is None else f"{asked(parts)}\n{style.cue}"


def replied(parts: Parts, style: Style) -> str:
    """The answer, after its rationale if there is one."""
    if parts.rationale is None:
        return parts.answer
    return style.reply.fill(rationale=parts.rationale, conclusion=style.conclusion.fill(answer=parts.answer))


def _listed(options: Sequence[str], style: Style) -> str:
    end = style.item_end
    if any(len(option) > INLINE_CHARACTERS or "\n" in option for option in options):
        end = "\n"
    items = end.join([style.items.line(i, option) for i, option in enumerate(options)])
    if not style.header:
        return items
    return f"{style.header}\n{items}" if end == "\n" else f"{style.header} {items}"


def _shuffled(options: tuple[str, ...], key: str, place: tuple[int, int]) -> tuple[str, ...]:
    """Fisher-Yates, from the top."""
    order = list(options)
    for i, number in enumerate(draws(key, "options", *place, count=len(order) - 1)):
        last = len(order) - 1 - i
        other = number * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    return tuple(order)


def _needs_options(question: str, catalog: WordingCatalog) -> bool:
    wording = question.casefold()
    return any(words in wording for words in catalog.needs_options)


def _plainly(text: str) -> str:
    return text.strip().rstrip(".。．।۔").casefold()


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
