"""How much of each kind of task a synthesizer sees: broad groups brought closer to each other, or weighted by hand.

    group        contexts    balance 0.5: sqrt     scaled: copies of a context
    NER            10,000          100                0.5            half are left out, those with the fewest pairs
    table QA        1,600           40                1.3            a third comes twice
    fables            100           10                4              never more often, however few there are

A group of n contexts is to have n ** exponent of them, times its weight: 1 leaves all as they are, 0 makes all groups
equal. What is wanted is scaled so that about as many contexts come out as went in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from instructpt.collection.catalog import Catalog, suggestion
from instructpt.errors import RecipeError
from instructpt.records import Reject, Shot
from instructpt.seeds import rng

MAX_COPIES = 4
"""Of a context. Four passes over the same text cost little, more do (arXiv 2305.16264, section 5)."""
MANY_PAIRS = 3
"""A synthesizer writes as many pairs as it was shown: from contexts with fewer it learns to stop early."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """What became of shots."""

    shots: list[Shot]
    """Those that stay, some of them more than once; copies bear no rejects."""
    rejects: list[Reject]
    """The pairs of those left out (`over_balance`)."""
    num_copies: int
    """How many of `shots` are there for the second time or more."""


def balance(
    shots: Sequence[Shot],
    *,
    catalog: Catalog,
    seed: int,
    exponent: float = 1.0,
    weights: str = "",
    many_pairs_weight: float = 1.0,
) -> Balanced:
    """Shots left out and repeated so that each group has its share.

    A shot with pairs of several groups counts for each by its share of the pairs. Of the shots of one source, those
    with the most pairs stay or are repeated first; of equals, drawn ones.

    weights: "reading comprehension=2,summarization=0.5", by group or category; both multiply. many_pairs_weight: the
    same for contexts with `MANY_PAIRS` and more.
    Raises RecipeError for weights that cannot be read or that name nothing, and for an exponent outside 0 to 1.
    """
    if not 0 < many_pairs_weight < float("inf"):
        raise RecipeError(f"many_pairs_weight is {many_pairs_weight}: give a number above 0")
    if not 0 <= exponent <= 1:
        raise RecipeError(f"balance is {exponent}: give 0 (all groups equal) to 1 (as they are)")
    factors = parse_weights(weights, catalog=catalog)
    if exponent == 1 and not factors and many_pairs_weight == 1:
        return Balanced(list(shots), [], 0)
    kinds = [_kinds(shot, catalog) for shot in shots]
    sizes: defaultdict[str, float] = defaultdict(float)
    for row in kinds:
        for group, _ in row:
            sizes[group] += 1 / len(row)
    wanted = [
        sum(sizes[group] ** (exponent - 1) * _factor(factors, group, category) for group, category in row)
        / len(row)
        * (many_pairs_weight if len(row) >= MANY_PAIRS else 1)
        for row in kinds
    ]
    scale = _scale(wanted)
    copies = _whole(
        shots,
        [min(MAX_COPIES, scale * value) for value in wanted],
        seed,
        [len(row) >= MANY_PAIRS and many_pairs_weight != 1 for row in kinds],
    )
    kept: list[Shot] = []
    dropped: list[Shot] = []
    for shot, count in zip(shots, copies, strict=True):
        (kept if count else dropped).append(shot)
        kept += [replace(shot, rejects=())] * (count - 1)
    rejects = [
        Reject(f"{pair.question}\n{pair.answer}"[:200], "over_balance") for shot in dropped for pair in shot.pairs
    ]
    return Balanced(kept, rejects, len(kept) + len(dropped) - len(shots))


def parse_weights(text: str, *, catalog: Catalog) -> dict[str, float]:
    """The weights in "a=2,b=0.5". Raises RecipeError naming what is wrong."""
    known = {name for entry in catalog.entries.values() for name in (entry.category, entry.group)}
    weights: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = (part.strip() for part in item.rpartition("="))
        if name not in known:
            raise RecipeError(f"weights names {name or item!r}, no category or group{suggestion(name or item, known)}")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = -1.0
        if not equals or not 0 <= weights[name] < float("inf"):
            raise RecipeError(f"weights has {item!r}: write name=number, the number 0 or more")
    return weights


def _kinds(shot: Shot, catalog: Catalog) -> list[tuple[str, str]]:
    """Group and category of each pair; a set that the catalog does not know is a group of its own."""
    entries = [(name, catalog.entries.get(name)) for name in shot.document.meta["pair_datasets"]]
    return [(entry.group, entry.category) if entry else (name, "") for name, entry in entries]


def _factor(weights: Mapping[str, float], group: str, category: str) -> float:
    own = weights.get(category, 1.0) if category != group else 1.0
    return weights.get(group, 1.0) * own


def _scale(wanted: Sequence[float]) -> float:
    """What to multiply `wanted` by so that its sum, each at most MAX_COPIES, is its length; or as near as can be."""
    values = sorted((value for value in wanted if value > 0), reverse=True)
    left, rest = float(len(wanted)), sum(values)
    for value in values:
        if left / rest * value <= MAX_COPIES:
            return left / rest
        left, rest = left - MAX_COPIES, rest - value
        if left <= 0 or rest <= 0:
            break
    return MAX_COPIES / values[-1] if values else 0.0


def _whole(shots: Sequence[Shot], copies: Sequence[float], seed: int, are_apart: Sequence[bool]) -> list[int]:
    """Whole numbers of copies: within a source, their sum is kept and the fullest shots are rounded up.

    are_apart: which shots are rounded among themselves, since they have a weight of their own.
    """
    sources: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, (shot, is_apart) in enumerate(zip(shots, are_apart, strict=True)):
        sources[shot.document.source, is_apart].append(place)
    whole = list(map(int, copies))
    for (source, is_apart), places in sources.items():
        rng(seed, "balance", source, *(["many pairs"] if is_apart else [])).shuffle(places)
        places.sort(key=lambda place: -len(shots[place].pairs))
        left = round(sum(copies[place] - whole[place] for place in places))
        for place in [place for place in places if copies[place] > whole[place]][:left]:
            whole[place] += 1
    return whole
