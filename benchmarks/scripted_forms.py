"""What the scripted engine writes where it is asked for a form: by rule, from the passage's own words.

A fact is a sentence; a text is the sentences with a word put in here and there, so that it is no copy; a conversation
gives each sentence to a speaker. One answer in eight chats, one brings in a number of its own, one says that there is
nothing, one says the same as the plain request would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from instructpt.seeds import rng
from instructpt.synthesis.forms import Language, WritingForm, form_names, load_form, load_language

_FENCE = re.compile(r"^=== .+ ===$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_FILLERS = {"english": ("then", "indeed", "so"), "german": ("dann", "ja", "so"), "chinese": ("然后", "确实", "便")}
_SPEAKERS = {"english": "Student: |Teacher: ", "german": "Schülerin: |Lehrer: ", "chinese": "学生：|老师："}


def write_in_form(prompt: str) -> str | None:
    """The answer to a prompt that asks for a form in one of its languages; None for any other prompt."""
    *_, request = _FENCE.split(prompt)
    found = next((known for start, known in _requests().items() if start in request), None)
    if found is None:
        return None
    form, language, is_first = found
    passage = _FENCE.split(prompt)[-2]
    sentences = [" ".join(part.split()) for part in _SENTENCE_END.split(passage) if part and part.strip()]
    if is_first:
        return _topics(form, passage, sentences)
    stream = rng(0, "form", prompt)
    match stream.randrange(8):
        case 0:
            return f"Sure, here is what you asked for. {passage}"
        case 1:
            sentences = [*sentences, "98765." if language.name == "chinese" else "It cost 98,765 pounds."]
        case 2:
            return language.nothing
        case 3:
            stream = rng(0, "form", passage, form.name)
    return _WRITERS[form.reads](sentences[:1] if form.name == "summary" else sentences, language, stream)


@cache
def _requests() -> dict[str, tuple[WritingForm, Language, bool]]:
    """How each request goes on behind its passage, and what it asks for."""
    found = {}
    for form in map(load_form, form_names()):
        for name, wording in form.wordings.items():
            for is_first, text in ((False, wording.request), (True, wording.first)):
                if text:
                    start = re.split(r"\{[a-z_]+\}", text.partition("{passage}")[2].strip())[0][:60]
                    found[start] = (form, load_language(name), is_first)
    return found


def _topics(form: WritingForm, passage: str, sentences: Sequence[str]) -> str:
    if form.topics == "one":
        return "\n".join(f"{number}. Tell it again, from sentence {number}." for number in range(1, 5))
    words = [word.strip(".,;:。，") for word in passage.split()] if " " in passage.strip() else sentences
    return "\n".join(dict.fromkeys(word for word in words if len(word) > 5))


def _filled(sentence: str, language: Language, stream: Random) -> str:
    fillers = _FILLERS[language.name]
    if language.name == "chinese":
        return "".join(f"{sentence[place : place + 7]}{stream.choice(fillers)}" for place in range(0, len(sentence), 7))
    words = sentence.split()
    size = stream.randint(3, 5)
    return " ".join(f"{' '.join(words[n : n + size])} {stream.choice(fillers)}" for n in range(0, len(words), size))


def _text(sentences: Sequence[str], language: Language, stream: Random) -> str:
    end = "。" if language.name == "chinese" else "."
    return " ".join(f"{_filled(sentence, language, stream)}{end}" for sentence in sentences)


def _lines(sentences: Sequence[str], language: Language, stream: Random) -> str:
    del language
    return "\n".join(f"- {sentence}" for sentence in stream.sample(sentences, len(sentences)))


def _turns(sentences: Sequence[str], language: Language, stream: Random) -> str:
    speakers = _SPEAKERS[language.name].split("|")
    said = [*sentences, *sentences][: max(4, len(sentences))]
    return "\n".join(f"{speakers[n % 2]}{_filled(one, language, stream)}" for n, one in enumerate(said))


def _pairs(sentences: Sequence[str], language: Language, stream: Random) -> str:
    words = language.words
    chosen = stream.sample(sentences, min(3, len(sentences)))
    asks = [" ".join(one.split()[:5]) if " " in one else one[:8] for one in chosen]
    both = zip(asks, chosen, strict=True)
    return "\n\n".join(f"{words.question} {ask} ... ?\n{words.answer} {one}" for ask, one in both)


def _problem(sentences: Sequence[str], language: Language, stream: Random) -> str:
    numbers = re.findall(r"\d+", " ".join(sentences)) or ["1"]
    a, b = stream.choice(numbers), stream.choice(numbers)
    words = language.words
    total = int(a) + int(b)
    return f"{words.question} {a} + {b}?\n{words.rationale} {a} + {b} = {total}\n{words.answer} {total}"


def _table(sentences: Sequence[str], language: Language, stream: Random) -> str:
    rows = "\n".join(f"| {one.replace('|', ' ')} | |" for one in [*sentences, *sentences][:3])
    return f"| {language.fence} | |\n| --- | --- |\n{rows}\n\n{_pairs(sentences, language, stream)}"


_WRITERS: dict[str, Callable[[Sequence[str], Language, Random], str]] = {
    "text": _text,
    "lines": _lines,
    "turns": _turns,
    "pairs": _pairs,
    "problem": _problem,
    "table": _table,
}
