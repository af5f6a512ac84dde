"""Which passage answers a question, as far as words can tell: BM25 finds some, their best sentence decides.

    passages --words, beginnings of words--> bm25s: a weight for each word and passage ---.
             --beginnings, in order-------------------------------------------------------+--> a folder of arrays
    query    --words, beginnings--> 50 passages of the most weight --best sentence--> hits, best first

A word counts twice: as it stands, and by its first six letters, which "engineer" and "engineers" share; so it goes in
many languages. Signs of scripts without blanks count one by one and in twos. What a plain sum of words misses is
whether they stand together: a passage gets on top what its best sentence has of the query's words, and half of what
words have that stand side by side in both. docs/results.md has what this is worth.

The arrays are read from disk where they lie, so that an index takes little memory however large it is; making it takes
about 10 times its shard's text. One shard's index knows the others' passages by how often each word occurs in them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from instructpt.words.evidence import sentences
from instructpt.words.languages import common_words, identify
from instructpt.words.overlap import NO_BLANKS
from instructpt.words.wordforms import folded_words

K1, B = 1.2, 0.5
"""Of BM25: how soon a word that occurs often has said enough, and how much long passages are held back."""
STEM_CHARACTERS = 6
CANDIDATES = 50
"""Passages whose sentences are looked at: they have the right one for 96 of 100 questions."""
SENTENCE_WEIGHT, NEIGHBOUR_WEIGHT = 1.0, 0.5
LANGUAGES_OF_FIRST, LANGUAGE_OF_EVERY = 1_000, 10
"""Passages whose language is told: the first of a shard, and one in ten after them."""
_ARRAYS = ("data", "indices", "indptr", "keys", "ids", "stems", "passages", "sentences")

_ASKING = frozenset(("how", "why", "where", "whose", "whom", "many", "much"))

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found for a query."""

    shard: int
    row: int
    score: float
    covered: float
    """Of the weight of the query's words, those aside that name nothing, the share that the passage has."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is looked for in a text."""

    every: list[str]
    """Words, and their beginnings or, of signs, twos."""
    stems: list[str]
    """One a word, in order: its beginning, or the sign."""


def terms(text: str) -> Terms:
    """The terms of a text."""
    every, stems, before = list[str](), list[str](), ""
    for word in folded_words(text):
        if NO_BLANKS.match(word):
            stems.append(word)
            if before:
                every.append(f"~{before}{word}")
            before = word
            every.append(word)
        else:
            stem, before = f"~{word[:STEM_CHARACTERS]}", ""
            stems.append(stem)
            every += [word, stem]
    return Terms(every, stems)


def build(passages: Iterable[str], folder: Path) -> int:
    """Index passages into arrays in `folder`; how many there were."""
    from bm25s import BM25

    ids: dict[str, int] = {}
    documents: list[array[int]] = []
    stems, starts, sentence_starts = array("i"), array("q", [0]), array("q")
    languages = Counter[str]()
    for passage in passages:
        own = array("i")
        for start, stop in sentences(passage):
            found = terms(passage[start:stop])
            sentence_starts.append(len(stems))
            own.extend(ids.setdefault(term, len(ids)) for term in found.every)
            stems.extend(ids[stem] for stem in found.stems)
        documents.append(own)
        starts.append(len(stems))
        is_looked_at = len(documents) <= LANGUAGES_OF_FIRST or len(documents) % LANGUAGE_OF_EVERY == 0
        if is_looked_at and (language := identify(passage)):
            languages[language] += 1
    folder.mkdir(exist_ok=True)
    (folder / "about.json").write_bytes(
        orjson.dumps({"num_passages": len(documents), "languages": languages}, option=orjson.OPT_SORT_KEYS)
    )
    if not ids:
        return len(documents)
    bm25 = BM25(k1=K1, b=B)
    bm25.index((documents, ids), create_empty_token=False, show_progress=False)
    keys = np.fromiter(map(_key, ids), np.uint64, len(ids))
    order = np.argsort(keys)
    arrays: dict[str, NDArray[np.generic]] = {
        **{name: bm25.scores[name] for name in ("data", "indices", "indptr")},
        "keys": keys[order],
        "ids": order.astype(np.int32),
        "stems": np.asarray(stems, np.int32),
        "passages": np.asarray(starts, np.int64),
        "sentences": np.asarray(sentence_starts, np.int64),
    }
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])
    return len(documents)


class Index:
    """The index of one shard's passages, in a folder that `build` made."""

    def __init__(self, folder: Path) -> None:
        about = orjson.loads((folder / "about.json").read_bytes())
        self.num_passages: int = about["num_passages"]
        self.languages = Counter[str](about["languages"])
        self._arrays = {
            name: np.load(path, mmap_mode="r") for name in _ARRAYS if (path := folder / f"{name}.npy").exists()
        }

    def ids(self, keys: NDArray[np.uint64]) -> Whole:
        """The number that each term has here; -1 for what no passage has."""
        if not self._arrays:
            return np.full(len(keys), -1)
        known = self._arrays["keys"]
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[places] == keys, self._arrays["ids"][places], -1)

    def num_passages_with(self, ids: Whole) -> Whole:
        """Of terms, in how many passages each is."""
        if not self._arrays:
            return np.zeros(len(ids), np.int64)
        bounds = self._arrays["indptr"]
        return np.where(ids < 0, 0, bounds[ids + 1] - bounds[ids])

    def scores(self, ids: Whole, weights: Floats) -> NDArray[np.float32]:
        """What each passage has of the terms, by BM25, each times its weight."""
        total = np.zeros(self.num_passages, np.float32)
        for term, weight in zip(ids.tolist(), weights.tolist(), strict=True):
            if term >= 0:
                place = slice(*self._arrays["indptr"][term : term + 2].tolist())
                total[self._arrays["indices"][place]] += np.float32(weight) * self._arrays["data"][place]
        return total

    def evidence(self, rows: Whole, stems: Whole, weights: Floats, telling: Floats) -> tuple[Floats, Floats, Floats]:
        """Of each passage: what its best sentence has of the weight of the query's stems, what neighbours that are so
        in both have, and what the whole passage has of `telling`. stems: of each word of the query, in order."""
        sentence, beside, whole = (np.zeros(len(rows)) for _ in range(3))
        distinct, firsts = np.unique(stems[stems >= 0], return_index=True)
        if not len(distinct) or not len(rows):
            return sentence, beside, whole
        weight, told = weights[stems >= 0][firsts], telling[stems >= 0][firsts]
        places, at, owner = self._found(rows, distinct)
        if not len(at):
            return sentence, beside, whole
        number = np.searchsorted(self._arrays["sentences"], at, side="right")
        numbers, own = np.unique(number, return_inverse=True)
        owners = np.zeros(len(numbers), np.int64)
        owners[own] = owner
        np.maximum.at(sentence, owners, _held(own, places, len(numbers), weight))
        whole = _held(owner, places, len(rows), told)
        where = np.searchsorted(distinct, stems)
        wanted = [int(a * len(distinct) + b) for a, b in pairwise(where) if a < len(distinct) and b < len(distinct)]
        side = np.flatnonzero((np.diff(at) == 1) & (np.diff(number) == 0))
        codes = places[side] * len(distinct) + places[side + 1]
        chosen = np.isin(codes, wanted)
        pairs = np.unique(np.stack([owner[side][chosen], codes[chosen]]), axis=1)
        np.add.at(beside, pairs[0], weight[pairs[1] // len(distinct)] + weight[pairs[1] % len(distinct)])
        return sentence, beside, whole

    def _found(self, rows: Whole, distinct: Whole) -> tuple[Whole, Whole, Whole]:
        """Where in passages the stems `distinct` stand: which stem, at which word of the shard, in which of `rows`."""
        bounds = self._arrays["passages"]
        starts, stops = bounds[rows], bounds[rows + 1]
        words = np.concatenate([self._arrays["stems"][a:b] for a, b in zip(starts, stops, strict=True)])
        places = np.minimum(np.searchsorted(distinct, words), len(distinct) - 1)
        hits = np.flatnonzero(distinct[places] == words)
        ends = np.cumsum(stops - starts)
        owner = np.searchsorted(ends, hits, side="right")
        return places[hits], hits + (stops - ends)[owner], owner


def _held(owner: Whole, places: Whole, num_owners: int, weight: Floats) -> Floats:
    """Of each owner, the weight of all stems that it has, each once. The weights are such that sums are exact."""
    has = np.zeros((num_owners, len(weight)), bool)
    has[owner, places] = True
    return np.asarray(has @ weight)


class Search:
    """Finds passages in all shards of a corpus."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._shards = [Index(folder) for folder in folders]
        self.num_passages = sum(shard.num_passages for shard in self._shards)
        self.languages = sum((shard.languages for shard in self._shards), Counter[str]())
        plain = {word for language in self.languages for word in common_words(language)}
        self._plain = sorted(set(terms(" ".join(sorted(plain | _ASKING))).stems))

    def find(self, query: str, *, most: int = 10) -> list[Hit]:
        """The passages that share words with a query, best first; of equals the first of the corpus."""
        found = terms(query)
        every, rarity = self._look_up(found.every)
        stems, stem_rarity = self._look_up(found.stems)
        if not found.every:
            return []
        candidates = list[tuple[float, int, int]]()
        for number, shard in enumerate(self._shards):
            ids = every[number]
            scores = shard.scores(ids, rarity / _rarity(shard.num_passages, shard.num_passages_with(ids)))
            candidates += [(-float(scores[row]), number, row) for row in _best(scores)]
        candidates = sorted(candidates)[:CANDIDATES]
        rarest = _rarity(self.num_passages, np.ones(1, np.int64))  # of few passages no word would say as much as a name
        telling = np.where(np.isin(found.stems, self._plain), 0.0, np.minimum(stem_rarity, rarest))
        total = float(telling[np.unique(found.stems, return_index=True)[1]].sum()) or 1.0
        hits = list[Hit]()
        for number, shard in enumerate(self._shards):
            own = [(minus, row) for minus, where, row in candidates if where == number]
            found_in = shard.evidence(np.array([row for _, row in own], np.int64), stems[number], stem_rarity, telling)
            for (minus, row), sentence, beside, whole in zip(own, *found_in, strict=True):
                score = SENTENCE_WEIGHT * sentence + NEIGHBOUR_WEIGHT * beside - minus
                hits.append(Hit(number, row, round(float(score), 4), round(float(whole) / total, 4)))
        return sorted(hits, key=lambda hit: (-hit.score, hit.shard, hit.row))[:most]

    def _look_up(self, sought: Sequence[str]) -> tuple[list[Whole], Floats]:
        """Each term's number in every shard, and how rare it is in all of them."""
        keys = np.fromiter(map(_key, sought), np.uint64, len(sought))
        ids = [shard.ids(keys) for shard in self._shards]
        counts = sum(
            (shard.num_passages_with(own) for shard, own in zip(self._shards, ids, strict=True)),
            np.zeros(len(keys), np.int64),
        )
        return ids, _rarity(self.num_passages, counts)


def _rarity(num_passages: int, num_with: Whole) -> Floats:
    """The inverse document frequency as Lucene and bm25s have it, in 1,024ths, so that sums of it are exact."""
    return np.asarray(
        np.maximum(np.round(1024 * np.log(1 + (num_passages - num_with + 0.5) / (num_with + 0.5))), 1) / 1024
    )


def _best(scores: NDArray[np.float32]) -> list[int]:
    """The rows of the highest scores above 0, the first of equals, so that it is the same on every machine."""
    bar = np.partition(scores, -CANDIDATES)[-CANDIDATES] if len(scores) > CANDIDATES else np.float32(0)
    rows = np.flatnonzero((scores >= bar) & (scores > 0))
    return [int(row) for row in rows[np.lexsort((rows, -scores[rows]))][:CANDIDATES]]


def _key(term: str) -> int:
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
