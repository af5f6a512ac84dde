"""Mining: pairs found in a passage by the rules of a table, without a model. `mining/__init__.py` has the picture."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from instructpt.errors import RecipeError
from instructpt.mining.choosing import choose
from instructpt.mining.cloze import fill_the_blank, true_or_false
from instructpt.mining.passage import PassageView, read
from instructpt.mining.questions import definition, speaker, who_or_what
from instructpt.mining.structure import connective, next_sentence, order_of_sentences, title, words_to_sentence
from instructpt.records import Document, Pair, Shot
from instructpt.seeds import digest, rng

Rule = Callable[[PassageView, random.Random], Iterator[Pair]]
"""Finds pairs of one kind, lazily, in an order drawn from the stream it is given; it often finds none."""

RULES: dict[str, Rule] = {
    "fill_the_blank": fill_the_blank,
    "true_or_false": true_or_false,
    "who_or_what": who_or_what,
    "definition": definition,
    "speaker": speaker,
    "connective": connective,
    "title": title,
    "next_sentence": next_sentence,
    "order_of_sentences": order_of_sentences,
    "words_to_sentence": words_to_sentence,
}
"""Name -> rule. A pair's category is the name of the rule that found it, with blanks."""

LABELS = frozenset({"connective", "order_of_sentences", "true_or_false"})
"""Kinds whose answer is one of a set; the answer of every other kind stands in the passage word for word (99 in 100 of
8,000 pairs from six corpora)."""

MAX_PER_KIND = 2
ONCE = frozenset({"title", "next_sentence", "order_of_sentences", "words_to_sentence"})
"""Kinds that nearly any text can be asked about: a second such pair would only crowd out the others."""


def mine(
    document: Document,
    *,
    seed: int,
    max_pairs: int = 8,
    max_per_kind: int = MAX_PER_KIND,
    kinds: Sequence[str] | None = None,
    options: bool = True,
    beside: Sequence[Pair] = (),
) -> Shot:
    """The passage with up to `max_pairs` pairs that rules found in it: the paper's baseline, Table 4.

    They are spread over the passage's sentences and over the kinds, at most `max_per_kind` of each (`choosing.choose`).
    Every draw depends on the seed, the rule and the passage's text alone, not on its id. kinds: names in `RULES`;
    None = all. options: whether a question may list options that came out of the passage. beside: pairs of the same
    passage that stay; others are found for the sentences that these do not need.
    Raises RecipeError for an unknown kind or a negative `max_pairs`.
    """
    if max_pairs < 0:
        raise RecipeError(f"max_pairs is {max_pairs}, expected 0 or more: give how many pairs a passage may have")
    names = list(RULES if kinds is None else dict.fromkeys(kinds))
    unknown = [name for name in names if name not in RULES]
    if unknown:
        raise RecipeError(f"no rule is called {unknown[0]!r}: choose from {', '.join(RULES)}")
    view = read(document.text)
    key = digest(document.text).hex()
    rng(seed, "mine", "turns", key).shuffle(names)
    found = {name: RULES[name](view, rng(seed, "mine", name, key)) for name in names}
    if not options:
        found = {name: pairs if name in LABELS else _open(pairs) for name, pairs in found.items()}
    most = {name: min(1, max_per_kind) if name in ONCE else max_per_kind for name in names}
    taken = choose(found, document.text, beside=beside, max_pairs=max_pairs, max_per_kind=most)
    return Shot(document, tuple(replace(pair, category=category(name)) for name, pair in taken))


def _open(pairs: Iterator[Pair]) -> Iterator[Pair]:
    return (pair for pair in pairs if not pair.options)


def category(kind: str) -> str:
    """What pairs of a kind say they are."""
    return kind.replace("_", " ")
