"""Rules about the passage as a text: its title, how its sentences follow each other, words it is made of."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

from instructpt.mining.english import ask, content_words, join, shuffled, stands_alone
from instructpt.mining.passage import PassageView, Sentence
from instructpt.records import Pair
from instructpt.words.evidence import Span

MIN_BODY_CHARACTERS = 150
"""Of text under a title, to ask for it."""
MAX_QUOTED_CHARACTERS = 260
"""Of a sentence set as an option or shuffled; longer ones are tiresome to compare."""

_NO_TITLE = re.compile(
    r"(?:introduction|background|methods?|results?|discussion|conclusions?|abstract|summary|overview|references|"
    r"acknowledge?ments|contents|preface|chapter [ivxlc\d]+|table \d+.*|figure \d+.*|.*\.(?:com|org))$",
    re.IGNORECASE,
)

_CONNECTIVES = {
    "consequence": ["Therefore", "Thus", "Hence", "Consequently", "As a result", "As a consequence", "Accordingly"],
    "contrast": [
        "However",
        "In contrast",
        "By contrast",
        "Conversely",
        "On the contrary",
        "Nevertheless",
        "Nonetheless",
    ],
    "addition": ["Moreover", "Furthermore", "In addition", "Additionally"],
    "restatement": ["In other words", "That is", "Put differently", "That is to say"],
    "example": ["For example", "For instance"],
}
_RELATION = {
    "consequence": "It states a consequence of the first.",
    "contrast": "It stands in contrast to the first.",
    "addition": "It adds a further point.",
    "restatement": "It says the same in other words.",
    "example": "It gives an example.",
}
_LABEL = {"consequence": "Entailment", "restatement": "Entailment", "contrast": "Contradiction", "addition": "Neutral"}
_KIND = {word: kind for kind, words in _CONNECTIVES.items() for word in words}
_OPENING = re.compile(rf"(?P<connective>{'|'.join(sorted(_KIND, key=len, reverse=True))}), (?P<rest>[^\n]{{15,300}})$")
_NEGATED = re.compile(r"\b(?:not|no|never|nor|cannot|without|neither|failed?|unlike)\b|n['\u2019]t\b")


def title(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """The passage's own title, alone or among its headings and the names it mentions. It needs no single sentence."""
    found = view.title
    if found is None or len(view.text) < len(found) + MIN_BODY_CHARACTERS or _NO_TITLE.match(found) or found.isupper():
        return
    body = view.text[len(found) :].lower()
    words = content_words(found.lower())
    if not words or sum(word[:6] in body for word in words) * 2 < len(words):
        return  # a title that the text does not bear out
    others = [*view.headings, *(name for name in view.names if " " in name)]
    options = shuffled(found, others[:8], rng) if rng.random() < 0.5 else ()
    yield Pair(ask("title", "choice" if options else "free", rng), found, options)


def next_sentence(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """Which sentence comes next, among others of the passage."""
    for one, two in view.neighbours(rng):
        if max(len(one.text), len(two.text)) > MAX_QUOTED_CHARACTERS or '"' in one.text or "\u201c" in one.text:
            continue
        others = [s.text for s in view.sentences if s not in (one, two) and len(s.text) <= MAX_QUOTED_CHARACTERS]
        options = shuffled(two.text, others, rng)
        if options:
            question = ask("next_sentence", "choice", rng, first=one.text)
            yield Pair(question, two.text, options, span=_joined(one, two))


def order_of_sentences(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """Three or four neighbours, shuffled: which order is the passage's?"""
    for run in _runs(view, rng):
        shown = list(range(len(run)))
        while shown == sorted(shown):
            rng.shuffle(shown)
        lines = "\n".join(f"({place + 1}) {run[i].text}" for place, i in enumerate(shown))
        right = _order([shown.index(i) for i in range(len(run))])
        others = [_order(order) for order in permutations(range(len(run))) if list(order) != list(range(len(run)))]
        options = shuffled(right, others, rng) if rng.random() < 0.7 else ()
        question = ask("order_of_sentences", "choice" if options else "free", rng, sentences=lines)
        yield Pair(question, right, options, span=_joined(run[0], run[-1]))


def _runs(view: PassageView, rng: random.Random) -> Iterator[Sequence[Sentence]]:
    """Neighbouring sentences of one block, drawn; the first one must make sense as a beginning."""
    starts = range(len(view.sentences) - 2)
    for start in rng.sample(starts, min(len(starts), 12)):
        num_sentences = rng.choice((3, 4))
        run = view.sentences[start : start + num_sentences]
        together = all(a.block == b.block and a.place + 1 == b.place for a, b in pairwise(run))
        distinct = len({sentence.text for sentence in run}) == num_sentences
        if (
            together
            and distinct
            and stands_alone(run[0].text)
            and max(len(s.text) for s in run) <= MAX_QUOTED_CHARACTERS
        ):
            yield run


def _order(places: Sequence[int]) -> str:
    return "-".join(f"{place + 1}" for place in places)


def words_to_sentence(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """Three words of a sentence: write a sentence on the passage's subject that uses them."""
    for sentence in view.from_anywhere(rng):
        if sentence.quoted or not stands_alone(sentence.text) or not 8 <= sentence.text.count(" ") <= 35:
            continue
        words = list(dict.fromkeys(word for word in content_words(sentence.text) if len(word) > 5))
        if len(words) >= 3:
            chosen = sorted(rng.sample(range(len(words)), 3))
            listed = join([f'"{words[i]}"' for i in chosen])
            yield Pair(ask("words_to_sentence", "free", rng, words=listed), sentence.text, span=sentence.span)


def connective(view: PassageView, rng: random.Random) -> Iterator[Pair]:
    """Two sentences joined by "therefore", "however" and the like: how does the second relate to the first?"""
    for one, two in view.neighbours(rng):
        match = None if two.quoted or one.quoted or _OPENING.match(one.text) else _OPENING.match(two.text)
        if match is None:
            continue
        first, word, rest = one.text, match["connective"], match["rest"]
        second, kind = rest[:1].upper() + rest[1:], _KIND[word]
        form = rng.choice(("relation", "label", "word"))
        if form == "label" and kind in _LABEL and (kind != "contrast" or _opposed(first, second)):
            question = ask("connective", "label", rng, first=first, second=second)
            yield Pair(question, _LABEL[kind], ("Entailment", "Neutral", "Contradiction"), span=_joined(one, two))
        elif form == "word":
            others = [rng.choice(words) for other, words in _CONNECTIVES.items() if other != kind]
            options = shuffled(word, others, rng)
            question = ask("connective", "word", rng, first=first, rest=rest)
            yield Pair(question, word, options, span=_joined(one, two))
        else:
            options = shuffled(_RELATION[kind], _RELATION.values(), rng, most=rng.choice((3, 4)))
            rationale = ask("connective", "reason", rng, connective=word) if rng.random() < 0.5 else None
            question = ask("connective", "relation", rng, first=first, second=second)
            yield Pair(question, _RELATION[kind], options, rationale, span=_joined(one, two))


def _joined(first: Sentence, last: Sentence) -> Span:
    """Both sentences and what stands between them."""
    return first.span[0], last.span[1]


def _opposed(first: str, second: str) -> bool:
    """Contrast is contradiction only in a wide sense; ask for one side to deny what the other affirms."""
    return (_NEGATED.search(first) is None) != (_NEGATED.search(second) is None)
