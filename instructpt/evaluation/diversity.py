"""How different pairs are from one another: repeated questions, distinct n-grams, entropy of categories.

These are numbers about all pairs together, written as means so that a bootstrap over passages can be had. A run of
words that occurs c times counts 1/c each time, and the mean over occurrences is then (different runs) / (all runs):

    which year | which year | what colour        1/2 + 1/2 + 1 = 2 different of 3
                                                 mean 2 / 3

The more pairs, the more repetition: shares of different runs compare between models that wrote about as much.
In the same way the entropy is the mean of -log2(share of the category) over pairs. The drawn sets of the bootstrap
keep the counts of the whole: drawing passages twice would itself make repetitions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence

from instructpt.evaluation.bootstrap import Measure, measure
from instructpt.records import Pair, Shot
from instructpt.words.overlap import grams, words

GRAM_LENGTHS = (1, 2, 3)


def diversity_measures(shots: Sequence[Shot]) -> Iterator[Measure]:
    """Duplicates within and across passages, distinct n-grams, first words, and categories where pairs have any."""
    keys = [[question_key(pair) for pair in shot.pairs] for shot in shots]
    yield measure("duplicate_questions", (_seen_before(asked) for asked in keys))
    yield _by_frequency("repeated_questions", keys, lambda count, _: float(count > 1))
    for field in ("question", "answer"):
        for length in GRAM_LENGTHS:
            runs = [[run for pair in shot.pairs for run in grams(getattr(pair, field), length)] for shot in shots]
            yield _by_frequency(f"distinct_{length}_{field}s", runs, lambda count, _: 1.0 / count)
    first = [[found[0] for pair in shot.pairs if (found := words(pair.question))] for shot in shots]
    yield _by_frequency("first_word_entropy_bits", first, lambda count, total: math.log2(total / count))
    categories = [[pair.category for pair in shot.pairs if pair.category] for shot in shots]
    yield _by_frequency("category_entropy_bits", categories, lambda count, total: math.log2(total / count))
    for name in sorted({category for found in categories for category in found}):
        yield measure(f"category/{name}", ([float(category == name) for category in found] for found in categories))


def question_key(pair: Pair) -> tuple[tuple[str, ...], ...]:
    """Equal for questions of the same words with the same options in any order."""
    return (tuple(words(pair.question)), *sorted(tuple(words(option)) for option in pair.options))


def _seen_before(keys: Sequence[Hashable]) -> list[float]:
    return [float(key in keys[:place]) for place, key in enumerate(keys)]


def _by_frequency(metric: str, items: Sequence[Sequence[Hashable]], value: Callable[[int, int], float]) -> Measure:
    """The mean over all items of `value(how often the item occurs, how many items there are)`."""
    counts = Counter(item for found in items for item in found)
    total = counts.total()
    return measure(metric, ([value(counts[item], total) for item in found] for found in items))
