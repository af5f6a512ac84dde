"""Which of the pairs that rules find are taken: those about sentences that no other pair needs yet.

    sentences             1    2    3    4    5    6        a pair beside: 2
    order of sentences              [---------]             three more: first
    next sentence              [----]                       none more: 2 and 3 are needed by now
    fill the blank        x         x    x         x        one more: 1 or 6
    title                                                   needs none: when no pair is left that needs a new one

This is what makes the pairs of a passage need most of it, however few they are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from operator import itemgetter
from typing import NamedTuple

from instructpt.records import Pair
from instructpt.words.evidence import Span, sentences

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
