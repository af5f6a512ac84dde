"""A reader: the same task data as a synthesizer's, learnt the other way round: passage and question in, answer out.

    task data -> Convert -> Tag (loss on answers, swapped questions) -> Pack -> Train -> Release

It answers in few words from the passage, or says that the passage does not. `verify --consistency` asks it each pair's
question again.
"""

from __future__ import annotations

from instructpt.collection.stages import Convert
from instructpt.recipes.budgets import fast_precision
from instructpt.recipes.flags import Precision
from instructpt.recipes.tuning import OPEN_LORA_RANK, rows_of, tuned, way_for
from instructpt.report.release import Release
from instructpt.synthesis.reading import UNANSWERABLE
from instructpt.synthesis.tagging import Tag
from instructpt.training.stages import Source

DIALECT = "tags"
"""A reader writes no categories: it is asked as every dialect of tags asks."""
ANSWER_TOKENS = 64
"""The longest answer that is waited for: 48 words."""


def reader(
    *,
    base: str,
    tasks: tuple[str, ...],
    hub: bool = False,
    catalog: str | None = None,
    sets: tuple[str, ...] = (),
    redistributable: bool = False,
    evaluation: tuple[str, ...] = (),
    max_contexts: int = 10_000,
    unanswerable_share: float = 0.5,
    swapped_share: float = 0.2,
    balance: float = 1.0,
    weights: str = "",
    tuning_tokens: int | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_tokens: int | None = None,
    row_tokens: int | None = None,
    passage_tokens: int | None = None,
    lora_rank: int = OPEN_LORA_RANK,
    title: str = "A reader for instruction pairs",
    note: str = "",
    licence: str | None = None,
    max_bytes: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
) -> Release:
    """Task data to a reader: a model that answers a question from its passage, or says that the passage does not.

    Args:
        base: A causal language model to tune, as a folder or Hub id.
        tasks: Task data in the neutral layout (docs/formats.md): files, folders or globs.
        hub: Also stream the catalog's sets that lie on the Hugging Face Hub.
        catalog: A catalog of task sets of your own (docs/formats.md).
        sets: Only these task sets: names of sets, categories or groups. By default those that the catalog says suit a
            reader, and those that it does not know.
        redistributable: Only sets whose licence lets weights trained on them be passed on.
        evaluation: Files of test items: task records that share 13 words in a row with one are left out.
        max_contexts: Contexts a set, those with the most pairs.
        unanswerable_share: Which part of the questions that their text does not answer is kept.
        swapped_share: Which part of all questions are another passage's, so that the right answer is that the text does
            not say.
        balance: 1 leaves groups of sets as large as they are, 0 makes them equal.
        weights: More or less of a category or group, such as "narrative QA=2,table QA=0.5".
        tuning_tokens: The budget, instead of epochs.
        epochs: Passes over the task data; 2 by default for a small base, 5 for others.
        learning_rate: The highest; by default 1e-3 for adapters on a small base.
        batch_tokens: Tokens a step; 8,192 for a small base.
        row_tokens: The longest sequence; 1,024 for a small base.
        passage_tokens: The longest context; longer ones are cut between sentences. 448 for a small base.
        lora_rank: Tune adapters of this rank (LoRA, needs the extra `tune`) and merge them in; 0 tunes all weights.
        title: Of the model card.
        note: A paragraph of yours on the card.
        licence: Of the weights, as the Hub spells it; what the data ask for by default.
        max_bytes: Fail if the finished folder is larger.
        precision: Of training; auto is bfloat16 where this machine computes in it.
        seed: Of every draw.
    """
    from instructpt.recipes.synthesizer import check_names

    check_names(catalog=catalog, sets=sets, weights=weights)
    way = way_for(
        base,
        row_tokens=row_tokens,
        passage_tokens=passage_tokens,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        epochs=epochs,
        has_adapters=lora_rank > 0,
    )
    converted = Convert(
        name="tasks",
        files=tasks,
        hub=hub,
        catalog=catalog,
        sets=sets,
        suits="" if sets else "reader",
        redistributable=redistributable,
        evaluation=evaluation,
        max_contexts=max_contexts,
        unanswerable_share=unanswerable_share,
        unanswerable=UNANSWERABLE,
        vocabulary=base,
        dialect=DIALECT,
        context_tokens=way.passage_tokens,
        group_tokens=way.row_tokens,
        balance=balance,
        weights=weights,
        seed=seed,
    )
    questions = Tag(
        name="questions", groups=converted, dialect=DIALECT, loss="answers", swapped_share=swapped_share, seed=seed
    )
    model = tuned(
        (Source(rows=rows_of("questions-rows", questions, base, way.row_tokens)),),
        words=base,
        base=base,
        way=way,
        tokens=tuning_tokens,
        rank=lora_rank,
        precision=fast_precision(precision),
        seed=seed,
    )
    return Release(
        name="reader",
        model=model,
        tasks=converted,
        dialect=DIALECT,
        passage_tokens=way.passage_tokens,
        window_tokens=way.row_tokens,
        max_new_tokens=ANSWER_TOKENS,
        field_characters=way.field_characters,
        unanswerable=UNANSWERABLE,
        title=title,
        note=note,
        licence=licence,
        max_bytes=max_bytes,
    )
