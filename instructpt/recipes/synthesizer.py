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
from typing import Literal, TypeVar

from instructpt.artifacts import Stage
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import BuildVocabulary, Read, Split
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.evaluation.stages import Recorded
from instructpt.mining import RULES
from instructpt.mining.stages import Mine
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import fast_precision
from instructpt.recipes.flags import Precision
from instructpt.recipes.tuning import OPEN_LORA_RANK, Way, rows_of, tuned, way_for
from instructpt.records import Document
from instructpt.report.release import Release
from instructpt.synthesis.tagging import Tag
from instructpt.templates.stages import Template
from instructpt.training.settings import TrainSettings
from instructpt.training.stages import Source, Train, steps_for
from instructpt.verification.stages import Verify

T = TypeVar("T")

SAMPLE_PASSAGES = "sample:passages.jsonl.zst"
SAMPLE_TASKS = "sample:tasks.jsonl.zst"
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
UNANSWERABLE_SHARE = 0.1
MANY_PAIRS_WEIGHT = 2.0
"""Most sets have one pair a context, and a synthesizer tuned on them all writes one pair a passage (docs/log.md)."""
LONG_KINDS = ("next_sentence", "order_of_sentences")
"""Rules that are not learned: their questions quote half of the passage (150 tokens each, others 50), and a rule puts
sentences in order without a mistake."""


def synthesizer(
    *,
    base: str | None = None,
    shape: str | None = None,
    corpora: tuple[str, ...] = (),
    held_out_documents: int = 300,
    tasks: tuple[str, ...] = (SAMPLE_TASKS,),
    hub: bool = False,
    catalog: str | None = None,
    sets: tuple[str, ...] = (),
    benchmarks: bool = False,
    redistributable: bool = False,
    evaluation: tuple[str, ...] = (),
    max_contexts: int = 10_000,
    unanswerable_share: float | None = None,
    balance: float = 1.0,
    weights: str = "",
    many_pairs_weight: float | None = None,
    dialect: str = "steered",
    tuning_tokens: int | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_tokens: int | None = None,
    row_tokens: int | None = None,
    passage_tokens: int | None = None,
    lora_rank: int | None = None,
    raw_share: float = 0.0,
    mined_share: float = 0.0,
    mined_documents: int = 2500,
    vocabulary_size: int = 8192,
    pretraining_tokens: int | None = None,
    pretraining_row_tokens: int = 512,
    pretraining_batch_tokens: int = 4096,
    pretraining_learning_rate: float = 2e-3,
    mix: str = "",
    pairs: int = 5,
    field_characters: int | None = None,
    scores: str | None = None,
    title: str = "An instruction synthesizer",
    note: str = "",
    licence: str | None = None,
    max_bytes: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
) -> Release:
    """Task data to an instruction synthesizer: tuned from any base model, or made from random weights.

    Args:
        base: A causal language model to tune, as a folder or Hub id; its settings are the paper's by default. Without
            one, a model is made from random weights: pre-trained on the corpora, then tuned.
        shape: Of the model from random weights; a name in instructpt/training/shapes.py, 7m by default.
        corpora: Raw text, one source a file; without a base by default the passages that ship with the package.
        held_out_documents: Documents at the start of every corpus file that are left out, to test the synthesizer on.
        tasks: Task data in the neutral layout (docs/formats.md): files, folders or globs.
        hub: Also stream the catalog's sets that lie on the Hugging Face Hub.
        catalog: A catalog of task sets of your own (docs/formats.md).
        sets: Only these task sets: names of sets, categories or groups. By default all, and with answers first those
            that the catalog says suit a writer, and those that it does not know.
        benchmarks: Also take the sets that are parts of scored benchmarks.
        redistributable: Only sets whose licence lets weights trained on them be passed on.
        evaluation: Files of test items: task records that share 13 words in a row with one are left out.
        max_contexts: Contexts a set, those with the most pairs; the paper's number.
        unanswerable_share: Which part of the questions that their text does not answer is kept; 0.1 by default, none
            with answers first.
        balance: 1 leaves groups of sets as large as they are, 0 makes them equal.
        weights: More or less of a category or group, such as "narrative QA=2,NER=0.5".
        many_pairs_weight: How many times as often contexts with three pairs and more are taken as others; 2 with
            answers first, else 1.
        dialect: The markup that the model learns; steered names the category of each pair and can be asked for some,
            answers does so too and names each answer before its question, which suits small bases.
        tuning_tokens: The budget, instead of epochs.
        epochs: Passes over the task data; 5 by default, as in the paper, 2 for a narrow base.
        learning_rate: The highest; 5e-6 for a base (paper), 1e-4 for one narrower than 1,024, 1e-3 from random weights,
            ten times that with LoRA.
        batch_tokens: Tokens a step; 16,384 for a base (paper), 8,192 for a narrow one, 4,096 from random weights.
        row_tokens: The longest sequence; 4,096 for a base (paper) or what it reads, 1,024 for others.
        passage_tokens: The longest context; longer ones are cut between sentences. 2,048 for a base, 448 for a narrow
            one, 384 without.
        lora_rank: Tune adapters of this rank (LoRA, needs the extra `tune`) and merge them in; 0 tunes all weights. 32
            by default for a base with answers first, else 0.
        raw_share: Share of the tuning tokens that are raw text of the corpora.
        mined_share: Share of the tuning tokens that are passages of the corpora with pairs mined by rules.
        mined_documents: Documents of each corpus that are mined for it.
        vocabulary_size: Ids of the vocabulary trained on the corpora; from random weights.
        pretraining_tokens: Budget on raw text; from random weights. 18,000,000, or 2,000,000 of what ships.
        pretraining_row_tokens: Tokens a row on raw text.
        pretraining_batch_tokens: Tokens a step on raw text.
        pretraining_learning_rate: The highest on raw text.
        mix: What the finished synthesizer is asked for by default, as "narrative QA=2,title writing=1".
        pairs: How many pairs it is asked for a passage, with a mix.
        field_characters: A bound on each question, option and answer that it is to write, so that loops of a small
            model end; 400 from random weights, none for a base.
        scores: What `instructpt evaluate --synthesizer` measured, its folder `quality`; the artifact `measured` is then
            the synthesizer with these numbers on its card.
        title: Of the model card.
        note: A paragraph of yours on the card: how the base was made, say.
        licence: Of the weights, as the Hub spells it; what the data ask for by default.
        max_bytes: Fail if the finished folder is larger.
        precision: Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is.
        seed: Of every draw.
    """
    _check(base=base, shape=shape, corpora=corpora, shares=(raw_share, mined_share), budget=(tuning_tokens, epochs))
    check_names(catalog=catalog, sets=sets, weights=weights, dialect=dialect, shape=shape)
    precise, is_answer_first = fast_precision(precision), dialect == ANSWER_FIRST
    rank = _given(lora_rank, OPEN_LORA_RANK if is_answer_first and base is not None else 0)
    way = way_for(
        base,
        row_tokens=row_tokens,
        passage_tokens=passage_tokens,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        epochs=epochs,
        has_adapters=rank > 0,
    )
    texts = _texts(corpora, skip=held_out_documents) if base is None or raw_share or mined_share else {}
    words: Model = base or _vocabulary(texts, size=vocabulary_size)
    start: Model = base or _pretrained(
        texts,
        words=words,
        shape=shape or DEFAULT_SHAPE,
        budget_tokens=pretraining_tokens or (PRETRAINING_TOKENS if corpora else SAMPLE_PRETRAINING_TOKENS),
        row_tokens=pretraining_row_tokens,
        batch_tokens=pretraining_batch_tokens,
        learning_rate=pretraining_learning_rate,
        max_positions=max(POSITIONS, way.row_tokens),
        precision=precise,
        seed=seed,
    )
    converted = Convert(
        name="tasks",
        files=tasks,
        hub=hub,
        catalog=catalog,
        sets=sets,
        suits="writer" if is_answer_first and not sets else "",
        benchmarks=benchmarks,
        redistributable=redistributable,
        evaluation=evaluation,
        max_contexts=max_contexts,
        unanswerable_share=_given(unanswerable_share, 0.0 if is_answer_first else UNANSWERABLE_SHARE),
        vocabulary=words,
        dialect=dialect,
        context_tokens=way.passage_tokens,
        group_tokens=way.row_tokens,
        balance=balance,
        weights=weights,
        many_pairs_weight=_given(many_pairs_weight, MANY_PAIRS_WEIGHT if is_answer_first else 1.0),
        seed=seed,
    )
    part = _texts(corpora, skip=held_out_documents, limit=mined_documents) if mined_share else {}
    mined = {name: _mined(name, text, words, way, seed) for name, text in part.items()}
    mixture = _mixture(converted, texts, mined, shares=(raw_share, mined_share), words=words, way=way)
    model = tuned(
        mixture, words=words, base=start, way=way, tokens=tuning_tokens, rank=rank, precision=precise, seed=seed
    )
    return Release(
        name="measured" if scores else "synthesizer",
        model=model,
        tasks=converted,
        dialect=dialect,
        passage_tokens=way.passage_tokens,
        window_tokens=way.row_tokens,
        max_new_tokens=way.max_new_tokens,
        field_characters=field_characters or way.field_characters,
        mix=mix,
        pairs=pairs if mix else None,
        mined=tuple(mined.values()),
        mined_share=mined_share,
        corpora=tuple(texts.values()),
        scores=Recorded(name="recorded-scores", folder=scores) if scores else None,
        title=title,
        note=note,
        licence=licence,
        max_bytes=max_bytes,
    )


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _check(
    *,
    base: str | None,
    shape: str | None,
    corpora: tuple[str, ...],
    shares: tuple[float, float],
    budget: tuple[int | None, float | None],
) -> None:
    if base is not None and shape is not None:
        raise RecipeError(f"base is {base} and shape {shape}: give a base to tune, or the shape of a new model")
    if min(shares) < 0 or sum(shares) >= 1:
        raise RecipeError(f"raw_share is {shares[0]} and mined_share {shares[1]}: give 0 or more, less than 1 together")
    if base is not None and corpora and not any(shares):
        raise RecipeError("corpora are given, but a base is tuned on none of them: give raw_share or mined_share too")
    if None not in budget:
        raise RecipeError(f"tuning_tokens is {budget[0]} and epochs {budget[1]}: give one of them")


def check_names(
    *, catalog: str | None, sets: tuple[str, ...], weights: str, dialect: str = "tags", shape: str | None = None
) -> None:
    """Names that would be found wrong only hours into a run. Raises RecipeError with those most like them."""
    from instructpt.collection.balance import parse_weights
    from instructpt.collection.catalog import load
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.training.shapes import shape_named

    known = load(catalog)
    known.named(sets)
    parse_weights(weights, catalog=known)
    open_dialect(dialect)
    shape_named(shape or DEFAULT_SHAPE)


def _texts(corpora: tuple[str, ...], *, skip: int, limit: int | None = None) -> dict[str, Stage[Document]]:
    """Name -> documents of a corpus, those kept: of the sample if none is given, whose held-out part is a file apart.

    The name is the file's, without what follows its first dot. limit: only so many, as stages of their own. Raises
    RecipeError if two have one name.
    """
    texts: dict[str, Stage[Document]] = {}
    for file in corpora or (SAMPLE_PASSAGES,):
        stem = file.removeprefix("sample:").rstrip("/").rpartition("/")[2].partition(".")[0]
        name = re.sub(r"[^\w-]+", "_", stem)
        if name in texts:
            raise RecipeError(f"two corpora are called {name!r}: rename one of their files, its name is the source's")
        part = name if limit is None else f"{name}-part"
        documents = Read(name=part, files=(file,), skip=skip if corpora else 0, limit=limit)
        texts[name] = clean(documents, prefix=f"{part}-")
    return texts


def _vocabulary(texts: Mapping[str, Stage[Document]], *, size: int) -> BuildVocabulary:
    documents = tuple(texts.values())
    return BuildVocabulary(name="vocabulary", texts=documents, size=size, limit_bytes=8_000_000, words=MARKS)


def _pretrained(
    texts: Mapping[str, Stage[Document]],
    *,
    words: Model,
    shape: str,
    budget_tokens: int,
    row_tokens: int,
    batch_tokens: int,
    learning_rate: float,
    max_positions: int,
    precision: Literal["float32", "bfloat16"],
    seed: int,
) -> Train:
    """A model from random weights, trained on an equal share of every corpus."""
    batch_rows = max(1, batch_tokens // row_tokens)
    steps = steps_for(budget_tokens, row_tokens=row_tokens, batch_rows=batch_rows)
    return Train(
        name="base",
        mixture=tuple(
            Source(
                rows=rows_of(f"{name}-rows", _plain(name, text), words, row_tokens),
            )
            for name, text in texts.items()
        ),
        settings=TrainSettings(
            steps=steps,
            learning_rate=learning_rate,
            warmup_steps=min(PRETRAINING_WARMUP_STEPS, steps),
            precision=precision,
            seed=seed,
        ),
        batch_rows=batch_rows,
        vocabulary=words,
        shape=shape,
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
