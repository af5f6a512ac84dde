"""A pair in the style of its group: its options listed, its answer made to fit, and the whole put into a template.

    Pair(question="Which is red?", answer="blood", options=("milk", "blood"))

    options shown, marked     Which is red? / (A) blood / (B) milk / Answer: (A)
    options shown, bullets    Which is red? / - blood / - milk     / Answer: blood
    open                      Which is red?                        / Answer: blood

Options are shuffled by a stream of each pair's own, unless one of them points at others ("all of the above").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructpt.records import Pair
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
