"""Groups to natural text: the last step of an instruction-augmented corpus.

A group of two passages with two pairs each, in the layout `classic`, with an opener, a joiner and a drawn separator:

    Passage: The lake froze in 1963.          opener and text
                                              gap
    Questions on the text                     joiner
    Q: When did it freeze? A: 1963            pair
    Q: What froze? A: The lake                pair
                                              separator of texts
    Passage: The lake froze again in 1985.
    ...

The other layouts: `dialog`, two speakers; `numbered`, all questions and then all answers; `few_shot`, the last pair
after the others as worked examples; `next_turn`, a dialog and then its end. In `classic` and `dialog` the pairs may
come first (inverted). Every question, answer and text stands in the result exactly once, as it was.

For instruction tuning responses alone can carry loss (`render(loss="responses")`), and a question can be followed by
its answer without any wording (`plain`), as the paper has its general instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from instructpt.records import Group, Kind, Text
from instructpt.seeds import digest
from instructpt.templates.catalog import Mode, WordingCatalog
from instructpt.templates.pairs import Parts, asked, asked_for_reasons, marks_for, prepare, replied, written
from instructpt.templates.style import Style, draw
from instructpt.templates.wording import mark

APART = "apart"
"""The layout of a pair without its passage."""
Loss = Literal["all", "responses"]
"""Which characters carry it."""


def render(
    group: Group, *, catalog: WordingCatalog, seed: int, kind: Kind = "augmented", loss: Loss = "all"
) -> list[Text]:
    """The training texts of a group: one for all its shots, or, if none has pairs, each document raw.

    A shot without pairs among others that have some stands in its place as its bare text; one without a text is its
    pairs alone. kind: of the text with pairs; raw documents are always "raw".
    loss: "responses" for answers and rationales alone. Layouts that show a response before what it needs are then left
    out, and a group without pairs, which has none, makes no text.
    """
    passage = _kept_apart(group) if loss == "all" else ""
    if not any(shot.pairs for shot in group.shots):
        documents = [shot.document for shot in group.shots] if loss == "all" else []
        return [Text(doc.id, doc.text, doc.source, "raw", passage=passage) for doc in documents]
    style = draw(catalog if loss == "all" else _forwards(catalog), seed=seed, group=group)
    marks = marks_for(group)
    texts: list[str] = []
    num_pairs = 0
    for i, shot in enumerate(group.shots):
        parts = [prepare(pair, catalog=catalog, style=style, place=(i, j)) for j, pair in enumerate(shot.pairs)]
        if loss == "responses":
            parts = [marks.put(part, num_pairs + j) for j, part in enumerate(parts)]
        num_pairs += len(parts)
        lay_out = LAYOUTS[style.mode] if shot.document.text.strip() else _pairs_alone
        texts.append(lay_out(shot.document.text, parts, style) if parts else shot.document.text)
    source = group.shots[0].document.source
    text = style.shot_separator.join([text for text in texts if text])
    text, spans = (text, None) if loss == "all" else marks.take_out(text)
    return [Text(group.id, text, source, kind, spans, layout=style.layout, passage=passage)]


def apart(group: Group, *, catalog: WordingCatalog, seed: int, kind: Kind = "augmented") -> list[Text]:
    """Each passage raw, and each pair as a text of its own, in the wording that it would have beside its passage.

    Texts of one passage share `Text.passage`, which keeps them in different rows.
    """
    style = draw(catalog, seed=seed, group=group) if any(shot.pairs for shot in group.shots) else None
    texts = []
    shared = _kept_apart(group)
    for i, shot in enumerate(group.shots):
        document = shot.document
        # Not the id, which may repeat: texts of a corpus without good ids would fill a row each.
        passage = shared or (digest("passage", document.text).hex()[:16] if shot.pairs else "")
        if document.text.strip():
            texts.append(Text(document.id, document.text, document.source, "raw", passage=passage))
        for j, pair in enumerate(shot.pairs):
            assert style is not None
            text = _pairs_alone("", [prepare(pair, catalog=catalog, style=style, place=(i, j))], style)
            name = f"{group.id}/{i}/{j}"
            texts.append(Text(name, text, document.source, kind, layout=APART, passage=passage))
    return texts


def writings(group: Group) -> list[Text]:
    """Each writing of a group as a text of its own, never in a row with its passage or another text of the group.

    Facts said in five ways in five rows are remembered, in one row they are not (`assembly.apart`).
    """
    return [
        Text(
            f"{group.id}/{number}.{writing.form}.{writing.variant}",
            writing.text,
            shot.document.source,
            "written",
            layout=writing.form,
            passage=_kept_apart(group),
        )
        for number, shot in enumerate(group.shots)
        for writing in shot.writings
    ]


def _kept_apart(group: Group) -> str:
    """What keeps all texts of a group in different rows, if it has writings; "" if not."""
    return passages_of(group) if any(shot.writings for shot in group.shots) else ""


def passages_of(group: Group) -> str:
    """A name that all groups of the same passages share."""
    return digest("passages", *(shot.document.text for shot in group.shots)).hex()[:16]


def plain(group: Group, *, kind: Kind = "instruction", loss: Loss = "all") -> list[Text]:
    """A text a pair: its context, an empty line, then question and answer with a blank between them (paper, section 5).

    Options stand below the question, a rationale before the answer. Shots without pairs make no text.
    """
    texts = []
    for shot in group.shots:
        context = f"{shot.document.text}\n\n" if shot.document.text.strip() else ""
        for j, pair in enumerate(shot.pairs):
            asks, answers = (
                context + "\n".join([pair.question, *(f"- {one}" for one in pair.options)]),
                " ".join(filter(None, (pair.rationale, pair.answer))),
            )
            text = f"{asks} {answers}"
            spans = None if loss == "all" else ((len(asks), len(text)),)
            texts.append(Text(f"{group.id}/{j}", text, shot.document.source, kind, spans, layout="plain"))
    return texts


def _forwards(catalog: WordingCatalog) -> WordingCatalog:
    """The catalog without the layouts in which an answer may stand before its question or its text."""
    weights = {mode: 0 if mode == "next_turn" else weight for mode, weight in catalog.weights.items()}
    return replace(catalog, weights=weights, inversion_percent=0)


def _pairs_alone(text: str, pairs: Sequence[Parts], style: Style) -> str:
    """Of a shot without a text."""
    del text
    if style.mode == "dialog":
        return style.turn_end.join(_turns(pairs, style))
    return style.separator.join([written(parts, style) for parts in pairs])


def _classic(text: str, pairs: Sequence[Parts], style: Style) -> str:
    block = style.separator.join([written(parts, style) for parts in pairs])
    if style.inverted:
        opener, passage = style.inverted_opener.of(len(pairs)), style.passage.fill(text=text)
        return f"{opener}{style.lead}{block}{style.passage_gap}{passage}"
    if style.joiner is None:
        return f"{_opened(text, style)}{style.separator}{block}"
    return f"{_opened(text, style)}{style.gap}{style.joiner.of(len(pairs))}{style.lead}{block}"


def _dialog(text: str, pairs: Sequence[Parts], style: Style) -> str:
    turns = style.turn_end.join(_turns(pairs, style))
    if style.inverted:
        return f"{style.inverted_lead_in}{style.lead}{turns}{style.passage_gap}{style.passage.fill(text=text)}"
    return f"{_opened(text, style)}{style.gap}{style.lead_in}{style.lead}{turns}"


def _numbered(text: str, pairs: Sequence[Parts], style: Style) -> str:
    numbering = style.numbering
    marked = [(mark(numbering.marks, i), parts) for i, parts in enumerate(pairs)]
    questions = [numbering.question.fill(mark=number) + asked_for_reasons(parts, style) for number, parts in marked]
    answers = [numbering.answer.fill(mark=number) + replied(parts, style) for number, parts in marked]
    body = style.numbered.fill(questions=style.lead.join(questions), answers=style.lead.join(answers))
    return f"{_opened(text, style)}\n\n{body}"


def _few_shot(text: str, pairs: Sequence[Parts], style: Style) -> str:
    wording = style.few_shot
    blocks = [wording.lead.of(len(pairs) - 1)]
    for i, parts in enumerate(pairs):
        template = wording.last if i == len(pairs) - 1 else wording.example
        block = template.fill(question=asked(parts), answer=parts.answer, number=str(i + 1))
        if parts.rationale is not None:
            block += "\n" + style.explanation.fill(rationale=parts.rationale)
        blocks.append(block)
    return "\n\n".join([_opened(text, style), *blocks])


def _next_turn(text: str, pairs: Sequence[Parts], style: Style) -> str:
    turns = _turns(pairs, style)
    num_last = 1 if style.next_turn.turn == "answer" else 2
    history, last = (style.turn_end.join(some) for some in (turns[:-num_last], turns[-num_last:]))
    return f"{_opened(text, style)}\n\n{style.next_turn.pattern.fill(history=history, turn=last)}"


LAYOUTS: Mapping[Mode, Callable[[str, Sequence[Parts], Style], str]] = {
    "classic": _classic,
    "dialog": _dialog,
    "numbered": _numbered,
    "few_shot": _few_shot,
    "next_turn": _next_turn,
}
"""Mode -> how a text and its pairs are laid out in it. How often each is drawn stands in the catalog."""


def _opened(text: str, style: Style) -> str:
    return text if style.opener is None else style.opener.fill(text=text)


def _turns(pairs: Sequence[Parts], style: Style) -> list[str]:
    """Of each pair the turn of the one who asks, then that of the one who answers."""
    asks, answers = style.speakers
    turns = ((asks + asked_for_reasons(parts, style), answers + replied(parts, style)) for parts in pairs)
    return [turn for both in turns for turn in both]
