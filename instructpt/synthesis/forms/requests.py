"""What a model is asked for a form: a conversation, from the form's wording and what is drawn for a variant.

    system       what holds for every text                                    languages/english.toml
    user         === PASSAGE === {example passage} ...  Take it apart ...     the form's request and example
    assistant    The lighthouse on Gull Rock was finished in 1871. ...
    user         === PASSAGE === {passage} ...  Take it apart ...
                 How to write it this time: begin with numbers and dates.     from the second variant on

A passage is asked about in its own language, if the form has a wording in it, else in English.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from instructpt.engines import Conversation
from instructpt.records import Document
from instructpt.synthesis.chat import conversation, fence_line, fenced
from instructpt.synthesis.forms import AskedForm, Language, Vary, WritingForm, fill, load_language
from instructpt.synthesis.forms import Wording as FormWording
from instructpt.synthesis.replies import hide
from instructpt.verification.checks import Passage
from instructpt.verification.checks.numerals import readings
from instructpt.words import languages

MAX_TOPICS = 8
"""That a model is asked for; of eight names there are 28 pairs."""
BETWEEN = " – "
"""The two things that a text is to relate."""


@dataclass(frozen=True, slots=True)
class Material:
    """What one form is written from: a passage, or two of one document, and how it is talked about."""

    document: Document
    """With the texts of both, where there are two."""
    texts: tuple[str, ...]
    evidence: Passage
    """What texts are checked against."""
    language: Language
    wording: FormWording

    @property
    def beside(self) -> str:
        """The other passage; "" where there is one alone."""
        return self.texts[0] if len(self.texts) > 1 else ""

    @property
    def example(self) -> str:
        """All that the model is shown besides what it is to write about."""
        wording = self.wording
        shown = wording.example_passage or self.language.example_passage
        return "\n".join([shown, *wording.example.values(), wording.first_example])


def material_of(form: WritingForm, document: Document, beside: str = "") -> Material:
    """A passage in the wording of its language; after another one of its document, if a text is to be about both."""
    spoken = languages.named(document.meta.get("language")) or languages.identify(document.text)
    name = spoken if spoken is not None and spoken in form.wordings else languages.FALLBACK
    texts = (beside, document.text) if beside else (document.text,)
    whole = replace(document, text="\n\n".join(texts))
    return Material(whole, texts, Passage(whole), load_language(name), form.wordings[name])


def has_enough_numbers(document: Document, form: WritingForm) -> bool:
    """Whether a passage has as many different numbers as a form needs."""
    return form.numbers == 0 or len(set(readings(document.text))) >= form.numbers


def num_requests(asked: AskedForm, variants: int) -> int:
    """For a passage, if every answer is kept."""
    return asked.number * variants + bool(asked.form.topics)


def request(material: Material, *, style: str = "", topic: str = "", manner: str = "") -> Conversation:
    """What asks for a text. style: the name of one. topic: what it is about. manner: a line on how to write it."""
    wording = material.wording
    said = {"style": wording.styles.get(style, ""), "nothing": material.language.nothing}
    asks = fill(wording.request, passage=_fenced(material), topic=hide(topic), **said)
    turns = []
    if example := wording.example.get(style):
        shown = fill(wording.request, passage=_example(material), topic=wording.example_topic, **said)
        turns = [(shown, example)]
    return _asked(material, turns, f"{asks}\n\n{manner}" if manner else asks)


def first_request(material: Material) -> Conversation:
    """What asks for topics."""
    wording, said = material.wording, {"number": MAX_TOPICS, "nothing": material.language.nothing}
    turns = []
    if wording.first_example:
        turns = [(fill(wording.first, passage=_example(material), **said), wording.first_example)]
    return _asked(material, turns, fill(wording.first, passage=_fenced(material), **said))


def without_example(asked: Conversation) -> Conversation:
    """The same without the turns that show an example, for a passage that would not fit beside it."""
    return Conversation((asked.messages[0], asked.messages[-1]))


def style_of(asked: AskedForm, variant: int, stream: random.Random) -> str:
    """The style that was named, else all in turn from one that is drawn: over many passages each is as frequent."""
    styles = asked.form.styles
    if asked.style or not styles:
        return asked.style
    return styles[(stream.randrange(len(styles)) + variant) % len(styles)]


def manner_of(asked: AskedForm, variant: int, language: Language, stream: random.Random) -> str:
    """How a variant is told to differ; nothing for the first one of each style."""
    form = asked.form
    turn = variant if asked.style or not form.styles else variant // len(form.styles)
    if not turn or not form.vary:
        return ""
    found = list(itertools.product(*(_choices(language, name) for name in form.vary)))
    stream.shuffle(found)
    return fill(language.manner, choices=", ".join(found[(turn - 1) % len(found)]))


def _choices(language: Language, name: Vary) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(language, name)
    return found


def _asked(material: Material, turns: Sequence[tuple[str, str]], last: str) -> Conversation:
    language = material.language
    system = fill(language.system, fence=fence_line(language.fence, ""), nothing=language.nothing)
    return conversation(system, turns, last)


def _example(material: Material) -> str:
    return fenced(material.wording.example_passage or material.language.example_passage, word=material.language.fence)


def _fenced(material: Material) -> str:
    return "\n\n".join(fenced(text, word=material.language.fence) for text in material.texts)
