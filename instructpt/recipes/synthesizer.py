"""An instruction synthesizer: task data in, a model that writes pairs for any text out (paper, section 1).

    corpora -> rows -> "base", from random weights --.
                                                     +--> "tuned" --> "synthesizer": a folder that needs nothing else
    a base model of yours ---------------------------'      ^
                                                            |
    task data -> Convert -> Tag -> Pack --------------------+
    corpora -> Split -> Mine -> Verify -> Tag -> Pack ------+   with --mined-share
    corpora -> Pack ----------------------------------------'   with --raw-share

Three ways, three sets of defaults: `tuning.PAPER` for a base, `tuning.OPEN` for a small one, `tuning.SMALL` from random
weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from instructpt.artifacts import Stage
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import BuildVocabulary, Read, Split
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.evaluation.stored import Stored
from instructpt.mining import RULES
from instructpt.mining.stages import Mine
from instructpt.recipes.augment import clean
from instructpt.recipes.flags import SAMPLE_PASSAGES, SAMPLE_TASKS, Collecting, Seed, TaskTuning, recipe
from instructpt.recipes.tuning import OPEN_LORA_RANK, Way, rows_of, tuned, way_for
from instructpt.records import Document
from instructpt.report.release import Card, Release
from instructpt.synthesis.tagging import Tag
from instructpt.templates.stages import Template
from instructpt.training.settings import TrainSettings
from instructpt.training.stages import Source, Train, steps_for
from instructpt.verification.stages import Verify

T = TypeVar("T")

SAMPLE_PRETRAINING_TOKENS = 2_000_000
"""Not four passes over the sample's passages."""
PRETRAINING_TOKENS = 18_000_000
PRETRAINING_WARMUP_STEPS = 100
DEFAULT_SHAPE = "7m"
POSITIONS = 1024
"""The longest text that a model from random weights is made for, unless its tuning rows are longer."""
MARKS = ("<CON>", "</CON>", "<QUE>", "<ANS>", "</END>", "<CAT>", "<ASK>", "</ASK>")
"""Tags of all dialects: few tokens each in a new vocabulary, whatever dialect comes later."""
MINED_PAIRS = (3, 6)
"""Fewest and most pairs of a mined passage that is tuned on."""
ANSWER_FIRST = "answers"
"""The dialect whose data and settings are chosen for it."""
PAIR_TOKENS = 128
"""The longest answer in that dialect where a mix is asked for, since then each pair is asked for by itself."""
UNANSWERABLE_SHARE = 0.1
MANY_PAIRS_WEIGHT = 2.0
"""Most sets have one pair a context, and a synthesizer tuned on them all writes one pair a passage (docs/log.md)."""
LONG_KINDS = ("next_sentence", "order_of_sentences")
"""Rules that are not learned: their questions quote half of the passage (150 tokens each, others 50), and a rule puts
sentences in order without a mistake."""


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """Raw text, to begin with and to tune on beside the task data."""

    corpora: tuple[str, ...] = ()
    """Raw text, one source a file; without a base by default the passages that ship with the package."""
    held_out_documents: int = 300
    """Documents at the start of every corpus file that are left out, to test the synthesizer on."""
    raw_share: float = 0.0
    """Share of the tuning tokens that are raw text of the corpora."""
    mined_share: float = 0.0
    """Share of the tuning tokens that are passages of the corpora with pairs mined by rules."""
    mined_documents: int = 2500
    """Documents of each corpus that are mined for it."""

    @property
    def shares(self) -> tuple[float, float]:
        """Of the tuning tokens: raw text, mined pairs."""
        return self.raw_share, self.mined_share

    def texts(self, *, limit: int | None = None) -> dict[str, Stage[Document]]:
        """Name -> documents of a corpus, those kept: of the sample if none is given, whose held-out part lies apart.

        The name is the file's, without what follows its first dot. limit: only so many, as stages of their own. Raises
        RecipeError if two have one name.
        """
        texts: dict[str, Stage[Document]] = {}
        for file in self.corpora or (SAMPLE_PASSAGES,):
            stem = file.removeprefix("sample:").rstrip("/").rpartition("/")[2].partition(".")[0]
            name = re.sub(r"[^\w-]+", "_", stem)
            if name in texts:
                raise RecipeError(
                    f"two corpora are called {name!r}: rename one of their files, its name is the source's"
                )
            part = name if limit is None else f"{name}-part"
            skip = self.held_out_documents if self.corpora else 0
            texts[name] = clean(Read(name=part, files=(file,), skip=skip, limit=limit), prefix=f"{part}-")
        return texts


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How a model from random weights begins, before it is tuned."""

    shape: str | None = None
    """Of the model; a name in instructpt/training/shapes.py, 7m by default."""
    vocabulary_size: int = 8192
    """Ids of the vocabulary trained on the corpora."""
    pretraining_tokens: int | None = None
    """Budget on raw text: 18,000,000, or 2,000,000 of what ships."""
    pretraining_row_tokens: int = 512
    """Tokens a row on raw text."""
    pretraining_batch_tokens: int = 4096
    """Tokens a step on raw text."""
    pretraining_learning_rate: float = 2e-3
    """The highest on raw text."""


@recipe
def synthesizer(
    *,
    base: str | None = None,
    pretraining: Pretraining = Pretraining(),
    raw: Corpora = Corpora(),
    tasks: tuple[str, ...] = (SAMPLE_TASKS,),
    collecting: Collecting = Collecting(),
    dialect: str = "steered",
    context_tokens: int | None = None,
    tuning: TaskTuning = TaskTuning(),
    mix: str = "",
    pairs: int = 5,
    field_characters: int | None = None,
    reader: str = "",
    scores: str | None = None,
    card: Card = Card(),
    seed: Seed = 0,
) -> Release:
    """Task data to an instruction synthesizer: tuned from any base model, or made from random weights.

    Args:
        base: A causal language model to tune: a folder or a Hub id. The default settings are the paper's. Without a
            base, a model is trained from random weights: pre-trained on the corpora, then tuned.
        tasks: Task data in the neutral layout (docs/formats.md): files, folders or globs.
        dialect: The markup that the model learns. steered writes each pair's category and can be asked for categories;
            answers also writes each answer before its question, which suits small bases.
        context_tokens: With answers first, the length limit of the contexts that it is tuned on, and of what it sees of
            a passage later, around the sentence that a pair is to be about. By default --passage-tokens.
        mix: What the finished synthesizer is asked for by default, such as "narrative QA=2,title writing=1".
        pairs: How many pairs it is asked for per passage, if it has a mix.
        field_characters: Length limit of each question, option and answer that it writes, which ends the loops of a
            small model. By default 400 for random weights, none for a base.
        reader: The model that will answer the questions of its pairs again, so that only confirmed pairs are kept.
        scores: The folder `quality` that `instructpt run quality` wrote. The artifact `measured` is then the
            synthesizer with these numbers on its card.
    """
    _check(base=base, pretraining=pretraining, corpora=raw, tuning=tuning)
    check_names(collecting, dialect=dialect, shape=pretraining.shape)
    is_answer_first = dialect == ANSWER_FIRST
    if context_tokens is not None and not is_answer_first:
        raise RecipeError(f"context_tokens is {context_tokens} for the dialect {dialect}: it goes with answers first")
    way = way_for(base, tuning, usual_rank=OPEN_LORA_RANK if is_answer_first and base is not None else 0)
    texts = raw.texts() if base is None or any(raw.shares) else {}
    words: Model = base or _vocabulary(texts, size=pretraining.vocabulary_size)
    start: Model = base or _pretrained(
        texts,
        pretraining,
        words=words,
        budget_tokens=PRETRAINING_TOKENS if raw.corpora else SAMPLE_PRETRAINING_TOKENS,
        max_positions=max(POSITIONS, way.row_tokens),
        precision=way.precision,
        seed=seed,
    )
    converted = collecting.convert(
        tasks,
        suits="writer" if is_answer_first else "",
        unanswerable_share=0.0 if is_answer_first else UNANSWERABLE_SHARE,
        many_pairs_weight=MANY_PAIRS_WEIGHT if is_answer_first else 1.0,
        vocabulary=words,
        dialect=dialect,
        context_tokens=context_tokens or way.passage_tokens,
        group_tokens=way.row_tokens,
        shots=1 if is_answer_first else None,
        seed=seed,
    )
    part = raw.texts(limit=raw.mined_documents) if raw.mined_share else {}
    mined = {name: _mined(name, text, words, way, seed) for name, text in part.items()}
    mixture = _mixture(converted, texts, mined, shares=raw.shares, words=words, way=way)
    model = tuned(mixture, words=words, base=start, way=way, seed=seed)
    return Release(
        name="measured" if scores else "synthesizer",
        model=model,
        tasks=converted,
        dialect=dialect,
        passage_tokens=way.passage_tokens,
        context_tokens=context_tokens,
        window_tokens=way.row_tokens,
        max_new_tokens=min(way.max_new_tokens, PAIR_TOKENS) if is_answer_first and mix else way.max_new_tokens,
        field_characters=field_characters or way.field_characters,
        mix=mix,
        pairs=pairs if mix else None,
        reader=reader,
        mined=tuple(mined.values()),
        mined_share=raw.mined_share,
        corpora=tuple(texts.values()),
        scores=Stored(name="recorded-scores", folder=scores, kind="Score") if scores else None,
        **vars(card),
    )


def _check(*, base: str | None, pretraining: Pretraining, corpora: Corpora, tuning: TaskTuning) -> None:
    shape, shares = pretraining.shape, corpora.shares
    if base is not None and shape is not None:
        raise RecipeError(f"base is {base} and shape {shape}: give a base to tune, or the shape of a new model")
    if min(shares) < 0 or sum(shares) >= 1:
        raise RecipeError(f"raw_share is {shares[0]} and mined_share {shares[1]}: give 0 or more, less than 1 together")
    if base is not None and corpora.corpora and not any(shares):
        raise RecipeError("corpora are given, but a base is tuned on none of them: give raw_share or mined_share too")
    if tuning.tuning_tokens is not None and tuning.epochs is not None:
        raise RecipeError(f"tuning_tokens is {tuning.tuning_tokens} and epochs {tuning.epochs}: give one of them")


def check_names(collecting: Collecting, *, dialect: str = "tags", shape: str | None = None) -> None:
    """Names that would be found wrong only hours into a run. Raises RecipeError with those most like them."""
    from instructpt.collection.balance import parse_weights
    from instructpt.collection.catalog import load
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.training.shapes import shape_named

    known = load(collecting.catalog)
    known.named(collecting.sets)
    parse_weights(collecting.weights, catalog=known)
    open_dialect(dialect)
    shape_named(shape or DEFAULT_SHAPE)


def _vocabulary(texts: Mapping[str, Stage[Document]], *, size: int) -> BuildVocabulary:
    documents = tuple(texts.values())
    return BuildVocabulary(name="vocabulary", texts=documents, size=size, limit_bytes=8_000_000, words=MARKS)


def _pretrained(
    texts: Mapping[str, Stage[Document]],
    pretraining: Pretraining,
    *,
    words: Model,
    budget_tokens: int,
    max_positions: int,
    precision: Literal["float32", "bfloat16"],
    seed: int,
) -> Train:
    """A model from random weights, trained on an equal share of every corpus."""
    row_tokens = pretraining.pretraining_row_tokens
    batch_rows = max(1, pretraining.pretraining_batch_tokens // row_tokens)
    steps = steps_for(pretraining.pretraining_tokens or budget_tokens, row_tokens=row_tokens, batch_rows=batch_rows)
    return Train(
        name="base",
        mixture=tuple(
            Source(rows=rows_of(f"{name}-rows", _plain(name, text), words, row_tokens)) for name, text in texts.items()
        ),
        settings=TrainSettings(
            steps=steps,
            learning_rate=pretraining.pretraining_learning_rate,
            warmup_steps=min(PRETRAINING_WARMUP_STEPS, steps),
            precision=precision,
            seed=seed,
        ),
        batch_rows=batch_rows,
        vocabulary=words,
        shape=pretraining.shape or DEFAULT_SHAPE,
        max_positions=max_positions,
    )


def _plain(name: str, text: Stage[Document]) -> Template:
    return Template(name=f"{name}-texts", groups=text)


def _mined(name: str, text: Stage[Document], words: Model, way: Way, seed: int) -> Verify:
    """Passages with what rules find in them. One a group: two with all their pairs would not fit a row."""
    passages = Split(name=f"{name}-passages", documents=text, vocabulary=words, budget_tokens=way.passage_tokens)
    kinds = tuple(kind for kind in RULES if kind not in LONG_KINDS)
    pairs = Mine(
        name=f"{name}-mined-pairs",
        passages=passages,
        shots=1,
        max_pairs=MINED_PAIRS[1],
        max_per_kind=3,
        kinds=kinds,
        options=False,
        seed=seed,
    )
    return Verify(name=f"{name}-mined", groups=pairs)


def _mixture(
    tasks: Convert,
    texts: Mapping[str, Stage[Document]],
    mined: Mapping[str, Verify],
    *,
    shares: tuple[float, float],
    words: Model,
    way: Way,
) -> tuple[Source, ...]:
    """Rows of tagged tasks, and beside them raw text and tagged mined pairs with their `shares` of the tokens."""
    raw, dialect = texts if shares[0] else {}, tasks.dialect
    tagged = Tag(name="tasks-tagged", groups=tasks, dialect=dialect)
    rest = 1 - sum(shares)
    sources = [Source(rows=rows_of("tasks-tagged-rows", tagged, words, way.row_tokens), share=rest)]
    for name, text in raw.items():
        rows = rows_of(f"{name}-tuning-rows", _plain(name, text), words, way.row_tokens)
        sources.append(Source(rows=rows, share=shares[0] / len(raw)))
    for name, groups in mined.items():
        pairs = Tag(name=f"{name}-mined-tagged", groups=groups, dialect=dialect, min_pairs=MINED_PAIRS[0])
        rows = rows_of(f"{name}-mined-rows", pairs, words, way.row_tokens)
        sources.append(Source(rows=rows, share=shares[1] / len(mined)))
    return tuple(sources)
