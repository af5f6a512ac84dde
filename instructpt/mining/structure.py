"""Rules about the passage as a text: its title, the order of its sentences, words it is made of."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

from instructpt.mining.grammar import content_words, join, shuffled, stands_alone
from instructpt.mining.passage import Sentence, View
from instructpt.mining.phrases import ask
from instructpt.records import Pair

MIN_BODY_CHARACTERS = 150
"""Of text under a title, to ask for it."""
MAX_QUOTED_CHARACTERS = 260
"""Of a sentence set as an option or shuffled; longer ones are tiresome to compare."""

_NO_TITLE = re.compile(
    r"(?:introduction|background|methods?|results?|discussion|conclusions?|abstract|summary|overview|references|"
    r"acknowledge?ments|contents|preface|chapter [ivxlc\d]+|table \d+.*|figure \d+.*|.*\.(?:com|org))$",
    re.IGNORECASE,
)


def title(view: View, rng: random.Random) -> Iterator[Pair]:
    """The passage's own title, alone or among its headings and the names it mentions."""
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


def next_sentence(view: View, rng: random.Random) -> Iterator[Pair]:
    """Which sentence comes next, among others of the passage."""
    for one, two in view.neighbours(rng):
        if max(len(one.text), len(two.text)) > MAX_QUOTED_CHARACTERS or '"' in one.text or "\u201c" in one.text:
            continue
        others = [s.text for s in view.sentences if s not in (one, two) and len(s.text) <= MAX_QUOTED_CHARACTERS]
        options = shuffled(two.text, others, rng)
        if options:
            yield Pair(ask("next_sentence", "choice", rng, first=one.text), two.text, options)


def order_of_sentences(view: View, rng: random.Random) -> Iterator[Pair]:
    """Three or four neighbours, shuffled: which order is the passage's?"""
    for run in _runs(view, rng):
        shown = list(range(len(run)))
        while shown == sorted(shown):
            rng.shuffle(shown)
        lines = "\n".join(f"({place + 1}) {run[i].text}" for place, i in enumerate(shown))
        right = _order([shown.index(i) for i in range(len(run))])
        others = [_order(order) for order in permutations(range(len(run))) if list(order) != list(range(len(run)))]
        options = shuffled(right, others, rng) if rng.random() < 0.7 else ()
        yield Pair(ask("order_of_sentences", "choice" if options else "free", rng, sentences=lines), right, options)


def _runs(view: View, rng: random.Random) -> Iterator[Sequence[Sentence]]:
    """Neighbouring sentences of one block, drawn; the first one must make sense as a beginning."""
    num_sentences = rng.choice((3, 3, 4))
    starts = range(len(view.sentences) - num_sentences + 1)
    for start in rng.sample(starts, min(len(starts), 12)):
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


def words_to_sentence(view: View, rng: random.Random) -> Iterator[Pair]:
    """Three words of a sentence: write a sentence on the passage's subject that uses them."""
    for sentence in view.from_anywhere(rng):
        if sentence.quoted or not stands_alone(sentence.text) or not 8 <= sentence.text.count(" ") <= 35:
            continue
        words = list(dict.fromkeys(word for word in content_words(sentence.text) if len(word) > 5))
        if len(words) >= 3:
            chosen = sorted(rng.sample(range(len(words)), 3))
            listed = join([f'"{words[i]}"' for i in chosen])
            yield Pair(ask("words_to_sentence", "free", rng, words=listed), sentence.text)
