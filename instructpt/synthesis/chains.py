"""Chains: which passages form one example of several shots, and how much of a chain a model gets to see.

Passages of one source that follow one another form a chain, M (`shots`) of them at most. With M = 3:

    passages   a1 a2 a3 a4 b1 b2        (a, b: their sources)
    chains     (a1 a2 a3) (a4) (b1 b2)

Round r of a chain shows the model the passages and pairs of its earlier rounds, the latest first to be kept, as many
as fit the window together with the passage and the room for an answer:

    round 1                                     passage 1 -> pairs 1
    round 2               passage 1, pairs 1;   passage 2 -> pairs 2
    round 3   (dropped)   passage 2, pairs 2;   passage 3 -> pairs 3      passage 1 did not fit

What fits is measured in tokens of the model's vocabulary. Of a prompt that is a conversation, the model's own chat
template makes the tokens, later and elsewhere: there its texts are counted, and an allowance for what templates add.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from instructpt import engines
from instructpt.engines import Conversation, Form
from instructpt.errors import RecipeError
from instructpt.records import Document, Reject, Shot
from instructpt.synthesis.dialects import Dialect
from instructpt.synthesis.markup import NOTHING_KNOWN
from instructpt.synthesis.spans import shares
from instructpt.words.evidence import Span, sentences
from instructpt.words.vocabulary import Vocabulary

MESSAGE_TOKENS = 8
"""Allowed for what a chat template puts around one message. ChatML, Llama 3 and Gemma put 5."""
CONVERSATION_TOKENS = 40
"""Allowed for what it adds once: begin of text, the opening of the reply (with an empty thought: 8), the dates that
Llama 3.1 writes into the system's turn (25)."""


TOO_LONG = "passage_too_long"
"""The reason of a reject for a passage that does not fit, so that no model saw it."""
NOTHING_TO_ASK = "nothing_to_ask"
"""The same, for one that holds nothing to ask for: a list of words, a run of signs."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to go on from."""

    content: engines.Prompt
    """Ids of the model's vocabulary, or a conversation."""
    num_tokens: int
    """Of ids, how many; of a conversation, as `measure` counts."""
    follows: int
    """How many earlier shots it holds."""
    form: Form | None = None
    """What an engine is to hold the answer to."""
    scored: tuple[int, ...] = ()
    """An answer: the model is not to go on, but to say how likely it holds each of these ids. They count to
    `num_tokens`."""


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


def measure(
    asked: Sequence[str] | Conversation, *, vocabulary: Vocabulary, follows: int, form: Form | None = None
) -> Prompt:
    """The prompt in what a dialect asks (`Dialect.prompt`, `Dialect.ask`), with its length in tokens of `vocabulary`.

    Strings become ids, a conversation stays one. Its length is that of its texts, and `MESSAGE_TOKENS` and
    `CONVERSATION_TOKENS` for the template: an upper bound for the usual ones, if `vocabulary` is the model's own.
    """
    if isinstance(asked, Conversation):
        texts = vocabulary.encode_arrays([message.content for message in asked.messages])
        num_tokens = sum(map(len, texts)) + MESSAGE_TOKENS * len(texts) + CONVERSATION_TOKENS
        return Prompt(asked, num_tokens, follows, form)
    ids = vocabulary.sequence(asked)
    return Prompt(ids, len(ids), follows, form)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a passage is asked for at a time."""

    categories: tuple[str, ...]
    spans: tuple[str, ...] = ()
    """That an answer is to come from; none: any."""
    part: Span | None = None
    """Where they stand; None: anywhere."""


def turns(
    categories: Sequence[str],
    *,
    passage: str,
    dialect: Dialect,
    answers: Mapping[str, str] = NOTHING_KNOWN,
) -> list[Turn]:
    """All at once, as a rule. A dialect that `asks_apart` is asked for one pair after the other; those whose `answers`
    are spans come first and share out what the passage holds (`spans.shares`), so that pairs spread over all of it.
    Where it holds less, less is asked for.
    """
    if not dialect.asks_apart or not categories:
        return [Turn(tuple(categories))]
    taken = [name for name in categories if answers.get(name) == "span"]
    others = [name for name in categories if answers.get(name) != "span"]
    shared = zip(taken, shares(passage, len(taken)), strict=False)
    return [
        *(Turn((name,), share.spans, share.part) for name, share in shared),
        *(Turn((name,)) for name in others),
    ]


def shown(passage: str, part: Span, *, vocabulary: Vocabulary, context_tokens: int) -> str:
    """What a model sees of a passage that it is to ask about a part of: the sentences of that part, and before them as
    many as fit `context_tokens` together with them."""
    bounds = [one for one in sentences(passage) if one[0] < part[1]]
    sizes = list(map(len, vocabulary.encode_arrays([passage[slice(*one)] for one in bounds])))
    first = next(place for place, one in enumerate(bounds) if part[0] < one[1])
    room = context_tokens - sum(sizes[first:])
    while first and sizes[first - 1] <= room:
        first -= 1
        room -= sizes[first]
    return passage[bounds[first][0] : bounds[-1][1]]


def joined(document: Document, parts: Sequence[Shot]) -> Shot:
    """What was written at each turn of one passage, together. A passage that is too long is so once; one of which there
    was nothing to ask gets a reject that says so."""
    if not parts:
        return Shot(document, rejects=(Reject("", NOTHING_TO_ASK),))
    rejects = tuple(dict.fromkeys(reject for part in parts for reject in part.rejects if reject.reason == TOO_LONG))
    rejects += tuple(reject for part in parts for reject in part.rejects if reject.reason != TOO_LONG)
    pairs = tuple(pair for part in parts for pair in part.pairs)
    return Shot(document, pairs, min(part.follows for part in parts), rejects)


def fit(
    earlier: Sequence[Shot],
    *,
    passage: str,
    dialect: Dialect,
    vocabulary: Vocabulary,
    budget_tokens: int,
    categories: Sequence[str] = (),
    spans: Sequence[str] = (),
    guided: bool = False,
    field_characters: int | None = None,
    answers: Mapping[str, str] = NOTHING_KNOWN,
) -> Prompt | None:
    """The prompt for `passage` with as many of the latest earlier shots as fit; None if not even the passage fits.

    earlier: oldest first; shots without pairs are not carried. budget_tokens: the window less the room for an answer,
    counted as `measure` does, ids for begin and end of text included. categories: to ask for, as in `Dialect.prompt`.
    guided: whether an engine is to hold the answer to `Dialect.form`; spans, field_characters, answers: as there.

    The paper keeps all of the history or none, by an estimated length (`Dialect`s of other markup may count
    differently, so whole prompts are measured here).
    """
    carried = [shot for shot in earlier if shot.pairs]
    form = None
    if guided:
        form = dialect.form(
            categories, passage=passage, spans=spans, field_characters=field_characters, answers=answers
        )
    best: Prompt | None = None
    low, high = 0, len(carried)
    follows = high  # all of them fits as a rule; only then is it worth a search
    while low <= high:
        asked = dialect.prompt(carried[len(carried) - follows :], passage, categories=categories)
        prompt = measure(asked, vocabulary=vocabulary, follows=follows, form=form)
        if prompt.num_tokens <= budget_tokens:
            best, low = prompt, follows + 1
        else:
            high = follows - 1
        follows = (low + high) // 2
    return best
