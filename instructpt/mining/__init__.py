"""Mined pairs: the paper's rule-based baseline in the manner of AdaptLLM (arXiv 2309.09530), patterns our own.

    passage  --read-->  PassageView: title, headings, whole sentences
                          |
                          |   A total of 40 patients were included.           fill_the_blank   A total of ____ ...
                          |   The rate was higher in men.                     true_or_false    ... lower in men.
                          |   If it hurts, ... However, most patients ...     connective       How does B relate to A?
                          |   "Run," said Ada.                               speaker          Who says "Run"?
                          v
    RULES: name -> function (PassageView, stream) -> pairs, lazily
                          |
                          v
    choose: those that need sentences which no other pair needs yet

    sentences             1    2    3    4    5    6        a pair beside: 2
    order of sentences              [---------]             three more: first
    next sentence              [----]                       none more: 2 and 3 are needed by now
    fill the blank        x         x    x         x        one more: 1 or 6
    title                                                   needs none: when no pair is left that needs a new one

Rules prefer silence to a bad question: a sentence that is broken is not asked about, one that leans on the sentence
before only with that. A new rule is a function here, a line in `RULES` and a
table of wordings in `wording/english.toml`.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from operator import itemgetter
from typing import NamedTuple

from instructpt.errors import RecipeError
from instructpt.mining.cloze import fill_the_blank, true_or_false
from instructpt.mining.passage import PassageView, read
from instructpt.mining.questions import definition, speaker, who_or_what
from instructpt.mining.structure import connective, next_sentence, order_of_sentences, title, words_to_sentence
from instructpt.records import Document, Pair, Shot
from instructpt.seeds import digest, rng
from instructpt.words.evidence import Span, sentences

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

    They are spread over the passage's sentences and over the kinds, at most `max_per_kind` of each (`choose`).
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


CANDIDATES_PER_KIND = 12
"""Of which one is chosen; a rule finds few more in a passage of the usual length."""
MIN_TELLING_CHARACTERS = 12
"""An answer at least this long that stands in another question gives that pair away; "Paris" may stand anywhere."""


class _Candidate(NamedTuple):
    kind: str
    pair: Pair
    needs: range
    """Sentences of the passage, by number."""


def choose(
    found: Mapping[str, Iterator[Pair]],
    passage: str,
    *,
    beside: Sequence[Pair],
    max_pairs: int,
    max_per_kind: Mapping[str, int],
) -> list[tuple[str, Pair]]:
    """At most so many of the pairs that each kind found, each with its kind: spread over the passage and the kinds.

    As long as some sentence is needed by no pair, those are taken that need most of such sentences; then those whose
    sentences fewest pairs need. Of equals, those of whose sentences least was found, then the kind that `found` names
    first. A kind gives its second pair after the others have given a first one. A sentence has one pair of its own at
    most, and with the pairs beside them they are no more than the passage has sentences.
    """
    within = sentences(passage)
    waiting = [
        _Candidate(kind, pair, _needs(pair, within))
        for kind, pairs in found.items()
        for pair in islice(pairs, CANDIDATES_PER_KIND)
    ]
    rivals = Counter(number for candidate in waiting for number in candidate.needs)
    there = [_Candidate("", pair, _needs(pair, within)) for pair in beside]
    taken = list[tuple[int, _Candidate]]()
    turns = range(1, max(max_per_kind.values(), default=0) + 1)
    for is_new, turn in product((True, False), turns):
        while len(there) < min(max_pairs + len(beside), len(within)):
            given = Counter(candidate.kind for candidate in there)
            open_kinds = {kind for kind, most in max_per_kind.items() if given[kind] < min(turn, most)}
            candidates = [candidate for candidate in waiting if candidate.kind in open_kinds]
            best = _best(candidates, there, rivals, is_new=is_new)
            if best is None:
                break
            waiting.remove(best)
            there.append(best)
            taken.append((given[best.kind], best))
    kinds = list(found)
    taken.sort(key=lambda item: (item[0], kinds.index(item[1].kind)))
    return [(candidate.kind, candidate.pair) for _, candidate in taken]


def _best(
    candidates: Sequence[_Candidate], there: Sequence[_Candidate], rivals: Mapping[int, int], *, is_new: bool
) -> _Candidate | None:
    """The first of those that may stand beside what is there; None if none may. is_new: it needs a new sentence."""
    needed = Counter(number for other in there for number in other.needs)
    alone = {other.needs[0] for other in there if len(other.needs) == 1}
    ranked = list[tuple[int, float, float, int]]()
    for place, candidate in enumerate(candidates):
        needs = candidate.needs
        num_new = sum(number not in needed for number in needs)
        if (is_new and not num_new) or (len(needs) == 1 and needs[0] in alone):
            continue
        length = max(1, len(needs))
        times = sum(needed[number] for number in needs) / length
        ranked.append((-num_new, times, sum(rivals[number] for number in needs) / length, place))
    in_order = (candidates[place] for *_, place in sorted(ranked))
    return next((one for one in in_order if not any(clash(one.pair, other.pair) for other in there)), None)


def _needs(pair: Pair, within: Sequence[Span]) -> range:
    """The sentences that a pair's span touches, by number."""
    if pair.span is None:
        return range(0)
    start, stop = pair.span
    return range(bisect_right(within, start, key=itemgetter(1)), bisect_left(within, stop, key=itemgetter(0)))


def clash(one: Pair, two: Pair) -> bool:
    """The same question twice, or one pair's question holding the other's answer."""
    return one.question == two.question or _tells(one.question, two.answer) or _tells(two.question, one.answer)


def _tells(question: str, answer: str) -> bool:
    return len(answer) >= MIN_TELLING_CHARACTERS and answer.rstrip(".") in question
