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
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from tyro.conf import arg

from instructpt.corpus.stages import Reading as Reading
from instructpt.engines.models import AUTO, SHIPPED, Prompting
from instructpt.errors import RecipeError

if TYPE_CHECKING:
    from instructpt.collection.stages import Convert

R = TypeVar("R")
Precision = Literal["auto", "float32", "bfloat16"]

PairLayout = Literal["beside", "apart"]
TEXT_LAYOUTS: dict[PairLayout, Literal["drawn", "apart"]] = {"beside": "drawn", "apart": "apart"}
"""What `Template` calls them."""
PairLayoutFlag = Annotated[
    PairLayout,
    arg(
        help="beside: a passage and its pairs form one text, as in the paper. apart: each pair is a text of its own, "
        "never in the same row as its passage or another of its pairs."
    ),
]
Seed = Annotated[int, arg(help="Seed of everything that is drawn at random.")]
Language = Annotated[
    str,
    arg(help="Language of the templates: english, german... (docs/languages.md); auto uses the language of each text."),
]
PrecisionFlag = Annotated[
    Precision, arg(help="Number format in training. auto is bfloat16 if the device is fast at it, else float32.")
]
LoraRank = Annotated[int, arg(help="Rank of LoRA adapters, merged into the model at the end. 0 tunes all weights.")]
LoraLayers = Annotated[
    int | None,
    arg(
        help="Put adapters only into this many of the last layers; by default into all. Half of the layers take two "
        "thirds of the time."
    ),
]
RawText = Annotated[tuple[str, ...], arg(help="Raw text: files, folders, globs or URLs.")]
Hub = Annotated[bool, arg(help="Also stream those sets of the catalog that are on the Hugging Face Hub.")]
Sets = Annotated[tuple[str, ...], arg(help="Use only these task sets: names of sets, categories or groups.")]
Catalog = Annotated[str | None, arg(help="Your own catalog of task sets (docs/formats.md).")]
SynthesizerFlag = Annotated[
    str, arg(help="The model that writes the pairs: a folder or a Hub id. By default the small one in this package.")
]

Forms = Annotated[
    str,
    arg(
        help="What an instruct model writes about each passage, and how often: pairs=2,facts=1,paraphrase=1. The forms "
        "are pairs, faq, facts, paraphrase (or paraphrase:plain, :encyclopaedic, :spoken), summary, tutorial, table, "
        "problem, relations, dialogue, strategies, and .toml files of yours (docs/forms.md)."
    ),
]
Variants = Annotated[int, arg(help="Different texts for each that --forms asks for; in arms, sets of pairs a passage.")]

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
class Asking:
    """How the model is asked. The defaults come from the model's synthesizer.json, if it has one."""

    dialect: str = AUTO
    """How passages and pairs are written for the model: tags, steered or answers for synthesizers, chat for instruct
    models (chat:german, chat:my.toml). chat asks models with fewer than 3 billion parameters for plain lines and
    larger ones for JSON; chat:lines and chat:json force one. auto takes what the model's synthesizer.json says;
    without one, chat for chat models and remote:NAME, else tags."""
    pairs: int | None = None
    """Pairs to ask for per passage, if categories are asked for; usually 5."""
    passage_tokens: int | None = None
    """Length limit of a passage. Longer documents are split at paragraphs, then at sentences. By default what the model
    was tuned on, else 512."""
    window_tokens: int | None = None
    """Length limit of prompt and answer together: usually 4,096, or the model's context if that is shorter."""
    max_new_tokens: int | None = None
    """Length limit of an answer; usually 400."""

    def prompting(self, own: Prompting, *, mix: str | None = None, reader: str | None = None) -> Prompting:
        """What the model says of itself, with what is given in its place.

        Raises RecipeError for lengths that do not fit each other.
        """
        found = own.wished(**vars(self), mix=mix, reader=reader)
        if found.passage_tokens > found.window_tokens - found.max_new_tokens:
            raise RecipeError(
                f"a passage of {found.passage_tokens} tokens and an answer of {found.max_new_tokens} do not fit a "
                f"window of {found.window_tokens}: lower --passage-tokens or --max-new-tokens"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps in which a model is trained. By default they are chosen to suit it."""

    row_tokens: int | None = None
    """Tokens per row. By default 2,048 for the paper's shapes and for instruction tuning, 4,096 (or the context, if
    shorter) for a base, 512 for small shapes."""
    batch_tokens: int | None = None
    """Tokens per step. By default the paper's 2**19 for 500m, 2**20 for 1.3b and 2**18 for a base; 2**14 for
    instruction tuning; for small shapes it depends on the budget."""
    learning_rate: float | None = None
    """The peak learning rate. By default, from random weights, it follows from the shape; for a trained model it is
    1e-5 at a width of 4,096 as in the paper, higher for narrower models, and ten times that with LoRA."""
    warmup_steps: int = WARMUP_STEPS
    """Warm-up, at most a tenth of all steps."""
    precision: PrecisionFlag = "auto"


@dataclass(frozen=True, kw_only=True)
class Training(Steps):
    """How a model is pre-trained. By default the settings are chosen to suit it."""

    attend_across_documents: bool = False
    """Let tokens attend to earlier documents in the same row, as plain packing does."""
    max_epochs: float | None = None
    """The most passes over a text; a budget that needs more is refused. Usually 4, and 16 for a base on a small
    corpus."""


@dataclass(frozen=True, kw_only=True)
class Continuing:
    """How a base model is trained further on a corpus."""

    corpus_size: Literal["auto", "small", "large"] = "auto"
    """Which defaults to use: the paper's (large), or those for fewer than ten million tokens (small;
    docs/own-models.md). auto counts the tokens."""
    replay: tuple[str, ...] = (SAMPLE_PASSAGES,)
    """General text that is mixed in, so that the base forgets less. The sample in this package has 0.6 million
    tokens."""
    replay_share: float | None = None
    """Share of the tokens that are replayed text: by default 0.1 for a small corpus, else none."""
    lora_rank: LoraRank = 0
    lora_layers: LoraLayers = None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which documents get pairs, and who writes them."""

    synthesizer: SynthesizerFlag = SHIPPED
    augmented_share: float | None = None
    """Share of the documents that get pairs: by default the paper's 1/5 for random weights, all for a base."""
    rounds: int | None = None
    """Passages per chain, the paper's M: by default 2 for random weights, 3 for a base."""
    pair_layout: PairLayoutFlag = "beside"
    steps_apart: int = 0
    """With pairs apart, or variants: at least so many steps from one text of a passage to the next; 0: another row."""
    forms: Forms = ""
    variants: Variants = 1
    mixture: str = ""
    """Of arm forms: shares of the tokens, as raw=0.7,pairs=0.2,written=0.1. By default 0.3 is synthetic."""
    gold_pairs: tuple[str, ...] = ()
    """Files of pairs that people wrote about the same documents, for the arm gold: in the layout of an exam's questions
    (docs/formats.md). What the exam asks is left out of them."""


@dataclass(frozen=True, kw_only=True)
class TaskCollection:
    """Task data that is mixed into the raw text."""

    hub: Hub = False
    sets: Sets = ()
    task_copies: int = 4
    """Passes over the task data for each pass over the raw text. The paper's 4 make 0.7 % of the paper's tokens; for a
    small corpus they would be most of the tokens, so give --task-share instead."""
    task_share: float | None = None
    """Share of the tokens that are task data, instead of --task-copies."""


@dataclass(frozen=True, kw_only=True)
class RandomWeights:
    """A model trained from random weights."""

    shape: str = "500m"
    """Size of the model, a name in instructpt/training/shapes.py. The paper's are 500m and 1.3b."""
    vocabulary: str | None = None
    """A model folder or Hub id whose tokenizer is used. By default one is trained on the texts."""
    vocabulary_size: int | None = None
    """Size of the vocabulary that is trained; by default it follows from the shape."""


@dataclass(frozen=True, kw_only=True)
class Collecting:
    """Which task data are used. The defaults suit what is made of them."""

    hub: Hub = False
    catalog: Catalog = None
    sets: Sets = ()
    """Use only these task sets: names of sets, categories or groups. By default all. For a reader, or with answers
    first, only those that suit it according to the catalog, and those that the catalog does not know."""
    benchmarks: bool = False
    """Also use sets that are parts of benchmarks."""
    redistributable: bool = False
    """Use only sets whose licence allows weights trained on them to be passed on."""
    evaluation: tuple[str, ...] = ()
    """Files of test items. Task records that share 13 words in a row with an item are left out."""
    max_contexts: int = 10_000
    """The most contexts per set, as in the paper; those with the most pairs are used."""
    unanswerable_share: float | None = None
    """Share of the unanswerable questions that is kept: by default 0.1 for a synthesizer, none with answers first, 0.5
    for a reader."""
    balance: float = 1.0
    """1 keeps the sizes of the groups of sets, 0 makes all groups equally large."""
    weights: str = ""
    """Use more or less of a category or group, such as "narrative QA=2,NER=0.5"."""
    many_pairs_weight: float | None = None
    """How much more often to use contexts with three or more pairs: by default 2 with answers first, else 1."""

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
        from instructpt.collection.stages import Convert

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
    """How a model is tuned on task data. The defaults are the paper's, or suit a small base."""

    tuning_tokens: int | None = None
    """Tokens to train on, instead of --epochs."""
    epochs: float | None = None
    """Passes over the task data: by default 5 as in the paper, 2 for a narrow base."""
    learning_rate: float | None = None
    """The peak learning rate: by default 5e-6 for a base (paper), 1e-4 for one narrower than 1,024, 1e-3 for random
    weights, and ten times that with LoRA."""
    batch_tokens: int | None = None
    """Tokens per step: by default 16,384 for a base (paper), 8,192 for a narrow one, 4,096 for random weights."""
    row_tokens: int | None = None
    """Tokens per row: by default 4,096 (or the context, if shorter) for a base (paper), 1,024 for others."""
    passage_tokens: int | None = None
    """Length limit of a context; longer ones are cut between sentences. By default 2,048 for a base, 448 for a narrow
    one, 384 for random weights."""
    lora_rank: int | None = None
    """Rank of LoRA adapters, which are merged into the model at the end; 0 tunes all weights. By default 32 for a
    reader and for a base with answers first, else 0."""
    lora_layers: LoraLayers = None
    precision: PrecisionFlag = "auto"
