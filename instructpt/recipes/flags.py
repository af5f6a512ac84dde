"""Flags that recipes share: groups that go together, single ones, each with its help written once.

    augment(files, *, mine: bool, reading: Reading, asking: Asking, seed: Seed)
        on the command line    instructpt augment FILES... --mine --limit 10 --pairs 5
        in Python              augment(files, mine=True, limit=10, pairs=5)    (`recipe` puts flags into their groups)

A group's default says where a recipe differs from the others. None is "what suits", which the help names.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import arg

from instructpt.collection.stages import Convert
from instructpt.corpus.stages import SHARD_BYTES, Read
from instructpt.engines.models import AUTO, SHIPPED, Prompting
from instructpt.errors import RecipeError

R = TypeVar("R")
Precision = Literal["auto", "float32", "bfloat16"]

PairLayout = Literal["beside", "apart"]
PairLayoutFlag = Annotated[
    PairLayout,
    arg(
        help="Where pairs stand: beside their passage in one text, as in the paper; or apart, each a text of its own "
        "and never in a row with its passage or with another pair of it."
    ),
]
Seed = Annotated[int, arg(help="Of every draw.")]
Language = Annotated[
    str, arg(help="Of the templates: english, german... (docs/languages.md), or auto for each group's own.")
]
PrecisionFlag = Annotated[
    Precision,
    arg(help="Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is."),
]
LoraRank = Annotated[
    int,
    arg(help="Tune adapters of this rank (LoRA) and merge them in; 0 tunes all weights."),
]
RawText = Annotated[tuple[str, ...], arg(help="Raw text: files, folders, globs or URLs.")]
Hub = Annotated[bool, arg(help="Also stream the catalog's sets that lie on the Hugging Face Hub.")]
Sets = Annotated[tuple[str, ...], arg(help="Only these task sets: names of sets, categories or groups.")]
Catalog = Annotated[str | None, arg(help="A catalog of task sets of your own (docs/formats.md).")]
SynthesizerFlag = Annotated[
    str, arg(help="What writes the pairs: a folder, a Hub id, or by default the small one that ships.")
]

SAMPLE_PASSAGES = "sample:passages.jsonl.zst"
SAMPLE_TASKS = "sample:tasks.jsonl.zst"
MAX_EPOCHS = 4.0
"""Four passes are nearly as good as fresh text (arXiv 2305.16264)."""
WARMUP_STEPS = 1000
"""The paper's, and never more than a tenth of the steps."""


def recipe(function: Callable[..., R]) -> Callable[..., R]:
    """A recipe that takes the fields of its groups as keywords too, named as the flags are.

    Raises TypeError for a keyword that is neither a parameter nor a field of a group.
    """
    parameters = inspect.signature(function).parameters
    groups = {name: known.default for name, known in parameters.items() if is_dataclass(known.default)}
    names = [f.name for default in groups.values() for f in fields(default)]
    assert len({*names, *parameters}) == len(names) + len(parameters), (
        "a flag stands in two groups, or is called like a parameter"
    )

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> R:
        for name, default in groups.items():
            own = {f.name: keywords.pop(f.name) for f in fields(default) if f.name in keywords}
            if own:
                keywords[name] = replace(keywords.get(name, default), **own)
        return function(*args, **keywords)

    return call


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files of raw text are read."""

    text_field: str = "text"
    """Field or column that holds the text; a path with dots reaches into objects (content.text)."""
    id_field: str = "id"
    """Field or column that holds the id."""
    limit: int | None = None
    """Only the first so many rows."""
    shard_bytes: int = SHARD_BYTES
    """Text a shard, the unit of resuming and of sharing work among machines."""

    def read(self, files: tuple[str, ...], *, name: str = "documents") -> Read:
        """Their documents."""
        return Read(
            name=name,
            files=files,
            text_field=self.text_field,
            id_field=self.id_field,
            limit=self.limit,
            shard_bytes=self.shard_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How the model is asked. What is not given is as the model's synthesizer.json says, else the usual."""

    dialect: str = AUTO
    """How the model is talked with: tags, steered, answers, or chat (chat:german, chat:chinese, chat:my.toml) for
    instruct models. chat asks models below 3 billion parameters for plain lines, others for JSON; chat:lines and
    chat:json say which. auto is what its synthesizer.json says; without one, chat for a model that was tuned to chat
    and for remote:NAME, else tags."""
    pairs: int | None = None
    """How many to ask for a passage, where categories are asked for; usually 5."""
    passage_tokens: int | None = None
    """The longest passage; longer documents are split at paragraphs, then sentences. Usually what the model was tuned
    on, else 512."""
    window_tokens: int | None = None
    """Prompt and answer together, usually 4,096; the model's context, where that is less."""
    max_new_tokens: int | None = None
    """The longest answer a passage, usually 400."""

    def prompting(self, own: Prompting, *, mix: str | None = None, reader: str | None = None) -> Prompting:
        """What the model says of itself, with what is given in its place.

        Raises RecipeError for lengths that do not fit each other.
        """
        found = own.wished(
            dialect=self.dialect,
            mix=mix,
            reader=reader,
            pairs=self.pairs,
            passage_tokens=self.passage_tokens,
            window_tokens=self.window_tokens,
            max_new_tokens=self.max_new_tokens,
        )
        if found.passage_tokens > found.window_tokens - found.max_new_tokens:
            raise RecipeError(
                f"a passage of {found.passage_tokens} tokens and an answer of {found.max_new_tokens} do not fit a "
                f"window of {found.window_tokens}: lower --passage-tokens or --max-new-tokens"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Steps:
    """In which steps a model is trained; what is not given is what suits it."""

    row_tokens: int | None = None
    """Tokens a row. 2,048 for the paper's shapes and instruction tuning, 4,096 for a base, or what the base reads, 512
    for small shapes."""
    batch_tokens: int | None = None
    """Tokens a step. The paper's 2**19 for 500m, 2**20 for 1.3b and 2**18 for a base, 2**14 for instruction tuning, for
    small shapes by the budget."""
    learning_rate: float | None = None
    """The highest. From random weights what suits the shape; of a trained model 1e-5 at a width of 4,096 as in the
    paper, more for narrower ones, ten times that with LoRA."""
    warmup_steps: int = WARMUP_STEPS
    """At most a tenth of the steps."""
    precision: PrecisionFlag = "auto"


@dataclass(frozen=True, kw_only=True)
class Training(Steps):
    """How a model is pre-trained; what is not given is what suits it."""

    attend_across_documents: bool = False
    """Let a token see the documents before its own in a row, as plain packing does."""
    max_epochs: float | None = None
    """How often a text may be seen at most; a budget that asks for more is refused. Usually 4, 16 where a base goes on
    with a small corpus."""


@dataclass(frozen=True, kw_only=True)
class Continuing:
    """How a base goes on with a corpus."""

    corpus_size: Literal["auto", "small", "large"] = "auto"
    """Whose settings are taken where nothing is given: the paper's (large), or those that suit less than ten million
    tokens (small): docs/own-models.md. auto counts the tokens."""
    replay: tuple[str, ...] = (SAMPLE_PASSAGES,)
    """General text that is mixed in, so that the base forgets less of what it knew; the sample that ships is 0.6
    million tokens."""
    replay_share: float | None = None
    """Of all tokens; 0.1 for a small corpus, else none."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which documents get pairs, and who writes them."""

    synthesizer: SynthesizerFlag = SHIPPED
    augmented_share: float | None = None
    """Of the documents, drawn to be augmented: the paper's 1/5 from random weights, all where a base goes on."""
    rounds: int | None = None
    """Passages a chain, M: the paper's 2 from random weights, 3 where a base goes on."""
    pair_layout: PairLayoutFlag = "beside"


@dataclass(frozen=True, kw_only=True)
class TaskCollection:
    """The task collection that is mixed into the raw text."""

    hub: Hub = False
    sets: Sets = ()
    task_copies: int = 4
    """How often it is seen for each pass over the raw text; with the paper's 4 it is 0.7 % of the paper's tokens. Of a
    small corpus it would be most: then give task_share."""
    task_share: float | None = None
    """Of the tokens that are task collection, instead of task_copies."""


@dataclass(frozen=True, kw_only=True)
class RandomWeights:
    """A model from random weights."""

    shape: str = "500m"
    """Of the model; a name in instructpt/training/shapes.py. The paper has 500m and 1.3b."""
    vocabulary: str | None = None
    """A model folder or Hub id whose tokenizer is used; one is trained on the texts without it."""
    vocabulary_size: int | None = None
    """Of the vocabulary that is trained; what suits the shape by default."""


@dataclass(frozen=True, kw_only=True)
class Collecting:
    """Which task data are taken; what is not given suits what is made of them."""

    hub: Hub = False
    catalog: Catalog = None
    sets: Sets = ()
    """Only these task sets: names of sets, categories or groups. By default all; of a reader, and with answers first,
    those that the catalog says suit it, and those that it does not know."""
    benchmarks: bool = False
    """Also take the sets that are parts of scored benchmarks."""
    redistributable: bool = False
    """Only sets whose licence lets weights trained on them be passed on."""
    evaluation: tuple[str, ...] = ()
    """Files of test items: task records that share 13 words in a row with one are left out."""
    max_contexts: int = 10_000
    """Contexts a set, those with the most pairs; the paper's number."""
    unanswerable_share: float | None = None
    """Which part of the questions that their text does not answer is kept: 0.1 of a synthesizer's, none with answers
    first, 0.5 of a reader's."""
    balance: float = 1.0
    """1 leaves groups of sets as large as they are, 0 makes them equal."""
    weights: str = ""
    """More or less of a category or group, such as "narrative QA=2,NER=0.5"."""
    many_pairs_weight: float | None = None
    """How many times as often contexts with three pairs and more are taken as others; 2 with answers first, else 1."""

    def convert(
        self,
        files: tuple[str, ...],
        *,
        suits: Literal["", "writer", "reader"],
        unanswerable_share: float,
        many_pairs_weight: float = 1.0,
        **settings: Any,
    ) -> Convert:
        """The task data. suits: what they are for. The shares are those where the flags say nothing."""
        share, weight = self.unanswerable_share, self.many_pairs_weight
        return Convert(
            name="tasks",
            files=files,
            hub=self.hub,
            catalog=self.catalog,
            sets=self.sets,
            suits="" if self.sets else suits,
            benchmarks=self.benchmarks,
            redistributable=self.redistributable,
            evaluation=self.evaluation,
            max_contexts=self.max_contexts,
            unanswerable_share=unanswerable_share if share is None else share,
            balance=self.balance,
            weights=self.weights,
            many_pairs_weight=many_pairs_weight if weight is None else weight,
            **settings,
        )


@dataclass(frozen=True, kw_only=True)
class TaskTuning:
    """How a model is tuned on task data; what is not given suits the base: the paper's, or a small one's."""

    tuning_tokens: int | None = None
    """The budget, instead of epochs."""
    epochs: float | None = None
    """Passes over the task data; 5 by default, as in the paper, 2 for a narrow base."""
    learning_rate: float | None = None
    """The highest; 5e-6 for a base (paper), 1e-4 for one narrower than 1,024, 1e-3 from random weights, ten times that
    with LoRA."""
    batch_tokens: int | None = None
    """Tokens a step; 16,384 for a base (paper), 8,192 for a narrow one, 4,096 from random weights."""
    row_tokens: int | None = None
    """The longest sequence; 4,096 for a base (paper) or what it reads, 1,024 for others."""
    passage_tokens: int | None = None
    """The longest context; longer ones are cut between sentences. 2,048 for a base, 448 for a narrow one, 384
    without."""
    lora_rank: int | None = None
    """Tune adapters of this rank (LoRA) and merge them in; 0 tunes all weights. 32 by default
    for a reader and for a base with answers first, else 0."""
    lora_layers: int | None = None
    """Adapters in this many of the last layers only; by default in all. Half of the layers take two thirds of the
    time."""
    precision: PrecisionFlag = "auto"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the finished model's card says."""

    title: str = "An instruction synthesizer"
    """Of the model card."""
    note: str = ""
    """A paragraph of yours on the card: how the base was made, say."""
    licence: str | None = None
    """Of the weights, as the Hub spells it; what the data ask for by default."""
    max_bytes: int | None = None
    """Fail if the finished folder is larger."""
    adapters_only: bool = False
    """Pass on what LoRA learned without the base, some megabytes: who uses them needs the base, under the same name."""
