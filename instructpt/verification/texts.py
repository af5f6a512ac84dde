"""Texts in forms, checked again: by the rules that their forms name, and by a reader that is asked what they claim.

    facts   Ada Brekke built it in 1843.    in what year? -> 1843         stays
            It has 7 arches.                unsupported_number            this line is left out
            The mill burned in 1921.        in what year? -> 1887         this line is left out: inconsistent
    faq     a question and its answer       asked again                   stays or is left out by itself
    dialogue                                asked again                   as a whole, if most of its answers are others

What is left of a text has to be as long as its form wants. Texts in forms that nobody names here stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from instructpt.artifacts.tally import Tally
from instructpt.records import Document, Group, Pair, Reject, Shot, Writing
from instructpt.synthesis.forms import AskedForm
from instructpt.synthesis.forms.accepted import AcceptedTexts
from instructpt.synthesis.forms.claims import Claim, claims
from instructpt.synthesis.forms.reading import SEPARATORS, labelled, pieces, read_again
from instructpt.synthesis.forms.requests import Material, material_of
from instructpt.verification.checks.numerals import all_readings, readings
from instructpt.words import overlap

INCONSISTENT = "inconsistent"
MIN_CONFIRMED_SHARE = 0.5
"""Of the claims of a dialogue, which stays or goes as a whole: many of its questions lean on what was said before."""

Forms = Mapping[str, AskedForm]
"""By what their texts are called."""


def checked_texts(shot: Shot, forms: Forms) -> Shot:
    """The shot without texts, and parts of texts, that fail what their form asks for; they become rejects."""
    kept, rejects, accepted = list[Writing](), list(shot.rejects), defaultdict[str, AcceptedTexts](AcceptedTexts)
    for writing in shot.writings:
        if writing.form not in forms:
            kept.append(writing)
            continue
        form = forms[writing.form].form
        material = material_of(form, shot.document, writing.beside)
        found = read_again(writing, form=form, language=material.language, passage=material.evidence)
        if found.text and accepted[writing.form].add(found.text) is None:
            found = found.without("near_duplicate")
        rejects += labelled(found.rejects, writing.form)
        kept += [replace(writing, text=found.text)] if found.text else []
    return replace(shot, writings=tuple(kept), rejects=tuple(rejects))


def questions(shot: Shot, forms: Forms) -> list[tuple[Document, Pair]]:
    """What a reader is to be asked about a shot's texts: each claim, beside the passage or passages."""
    return [
        (material.document, claim.pair)
        for writing in shot.writings
        if writing.form in forms
        for material, found in [_claimed(writing, shot, forms)]
        for claim in found
    ]


def confirmed_texts(shot: Shot, forms: Forms, agreements: Iterator[float | None], *, least: float) -> Shot:
    """The shot without what a reader does not confirm.

    agreements: an item for each of `questions`, how much the reader says the same; None where it was not to be asked.
    least: below it, what was asked about is left out.
    """
    kept, rejects = list[Writing](), list(shot.rejects)
    for writing in shot.writings:
        left: Writing | None = writing
        if writing.form in forms:
            material, found = _claimed(writing, shot, forms)
            asked = [(claim, said) for claim, said in zip(found, agreements, strict=False) if said is not None]
            left, gone = _confirmed(writing, forms, material, asked, least)
            rejects += labelled(gone, writing.form)
        kept += [left] if left else []
    return replace(shot, writings=tuple(kept), rejects=tuple(rejects))


def count_parts(group: Group, forms: Forms, tally: Tally) -> None:
    """Count of each form how many parts a group's texts have that may be left out by themselves ("parts/FORM")."""
    for shot in group.shots:
        for writing in shot.writings:
            if writing.form in forms:
                tally.count(f"parts/{writing.form}", len(pieces(writing.text, forms[writing.form].form)))


def agreement(said: str, answer: str) -> float:
    """How much a reader's answer says what a text does: of the shorter one's words, those that the longer one has.

    A reader answers in a few words, where a text has a sentence. A number of the shorter one that the longer one does
    not have is another answer.
    """
    shorter, longer = sorted((said, answer), key=lambda text: len(overlap.content_words(text)))
    known, numbers = all_readings(longer), readings(shorter)
    if any(not number & known for number in numbers):
        return 0.0
    words = [word for word in overlap.content_words(shorter) if not any(map(str.isdecimal, word))]
    return overlap.share_found(" ".join(words), overlap.words(longer)) if words else float(bool(numbers))


def _confirmed(
    writing: Writing, forms: Forms, material: Material, asked: Sequence[tuple[Claim, float]], least: float
) -> tuple[Writing | None, list[Reject]]:
    """What is left of a text, and what is not."""
    if not asked:
        return writing, []
    form = forms[writing.form].form
    parts = pieces(writing.text, form)
    wrong = {claim.piece for claim, said in asked if said < least}
    if form.reads not in SEPARATORS:
        num_wrong = sum(said < least for _, said in asked)
        wrong = {0} if num_wrong > MIN_CONFIRMED_SHARE * len(asked) else set()
        sure = [said for _, said in asked]
    else:
        sure = [said for claim, said in asked if claim.piece not in wrong]
    gone = [Reject(parts[place], INCONSISTENT) for place in sorted(wrong)]
    left = [part for place, part in enumerate(parts) if place not in wrong]
    text = SEPARATORS.get(form.reads, "").join(left)
    if len(left) <= (form.reads == "table"):
        return None, gone
    if wrong and len(overlap.words(text)) < form.length[0] * len(material.evidence.words):
        return None, [*gone, Reject(text, "too_short")]
    return replace(writing, text=text, agreement=round(sum(sure) / len(sure), 4) if sure else None), gone


def _claimed(writing: Writing, shot: Shot, forms: Forms) -> tuple[Material, list[Claim]]:
    form = forms[writing.form].form
    material = material_of(form, shot.document, writing.beside)
    return material, claims(writing.text, form, material.language)
