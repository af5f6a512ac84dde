"""Chains: which passages form one example of several shots, and how much of a chain a model gets to see.

Passages of one source that follow one another form a chain, M (`shots`) of them at most. With M = 3:

    passages   a1 a2 a3 a4 b1 b2        (a, b: their sources)
    chains     (a1 a2 a3) (a4) (b1 b2)

Round r of a chain shows the model the passages and pairs of its earlier rounds, the latest first to be kept, as many
as fit the window together with the passage and the room for an answer:

    round 1                                     passage 1 -> pairs 1
    round 2               passage 1, pairs 1;   passage 2 -> pairs 2
    round 3   (dropped)   passage 2, pairs 2;   passage 3 -> pairs 3      passage 1 did not fit
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from instructpt.errors import RecipeError
from instructpt.records import Document, Shot
from instructpt.synthesis.dialects import Dialect
from instructpt.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to go on from."""

    ids: list[int]
    follows: int
    """How many earlier shots it holds."""


def chains(documents: Iterable[Document], *, shots: int) -> Iterator[tuple[Document, ...]]:
    """Passages in order, in chains of one source and at most `shots` passages; each passage in exactly one chain.

    Raises RecipeError if shots < 1.
    """
    if shots < 1:
        raise RecipeError(f"shots is {shots}: a chain needs at least 1 passage")
    return _chains(documents, shots=shots)


def _chains(documents: Iterable[Document], *, shots: int) -> Iterator[tuple[Document, ...]]:
    chain: list[Document] = []
    for document in documents:
        if chain and (len(chain) == shots or chain[-1].source != document.source):
            yield tuple(chain)
            chain = []
        chain.append(document)
    if chain:
        yield tuple(chain)


def fit(
    earlier: Sequence[Shot],
    *,
    passage: str,
    dialect: Dialect,
    vocabulary: Vocabulary,
    budget_tokens: int,
    categories: Sequence[str] = (),
) -> Prompt | None:
    """The prompt for `passage` with as many of the latest earlier shots as fit; None if not even the passage fits.

    earlier: oldest first; shots without pairs are not carried. budget_tokens: the window less the room for an answer,
    counted in ids of `vocabulary`, those for begin and end of text included. categories: to ask for, as in
    `Dialect.prompt`. The paper keeps all of the history or none, by an estimated length (`Dialect`s of other markup may
    count differently, so whole prompts are measured here).
    """
    carried = [shot for shot in earlier if shot.pairs]
    best: Prompt | None = None
    low, high = 0, len(carried)
    follows = high  # all of them fits as a rule; only then is it worth a search
    while low <= high:
        ids = vocabulary.sequence(dialect.prompt(carried[len(carried) - follows :], passage, categories=categories))
        if len(ids) <= budget_tokens:
            best, low = Prompt(ids, follows), follows + 1
        else:
            high = follows - 1
        follows = (low + high) // 2
    return best
