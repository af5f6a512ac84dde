"""A reader: the same task data as a synthesizer's, learnt the other way round: passage and question in, answer out.

    task data -> Convert -> Tag (loss on answers, swapped questions) -> Pack -> Train -> Release

It answers in few words from the passage, or says that the passage does not. `verify --consistency` asks it each pair's
question again.
"""

from __future__ import annotations

from instructpt.recipes.flags import Collecting, Seed, TaskTuning, recipe
from instructpt.recipes.tuning import OPEN_LORA_RANK, rows_of, tuned, way_for
from instructpt.report.release import Card, Release
from instructpt.synthesis.tagging import UNANSWERABLE, Tag
from instructpt.training.stages import Source

DIALECT = "tags"
"""A reader writes no categories: it is asked as every dialect of tags asks."""
UNANSWERABLE_SHARE = 0.5
MIN_LIKELIHOOD = 0.015
"""The reader that ships holds 109 of 120 right answers so likely, and 19 answers to another question."""
ANSWER_TOKENS = 64
"""The longest answer that is waited for: 48 words."""


@recipe
def reader(
    *,
    base: str,
    tasks: tuple[str, ...],
    collecting: Collecting = Collecting(),
    swapped_share: float = 0.2,
    min_likelihood: float = MIN_LIKELIHOOD,
    tuning: TaskTuning = TaskTuning(),
    card: Card = Card(title="A reader for instruction pairs"),
    seed: Seed = 0,
) -> Release:
    """Task data to a reader: a model that answers a question from its passage, or says that the passage does not.

    Args:
        base: A causal language model to tune, as a folder or Hub id.
        tasks: Task data in the neutral layout (docs/formats.md): files, folders or globs.
        swapped_share: Share of the questions that belong to another passage, so that the right answer is that the text
            does not say.
        min_likelihood: How likely it is to hold each token of a pair's answer to confirm the pair. 0 writes down no
            such number: the reader then answers by itself, and the answers are compared.
    """
    from instructpt.recipes.synthesizer import check_names

    check_names(collecting)
    way = way_for(base, tuning, usual_rank=OPEN_LORA_RANK)
    converted = collecting.convert(
        tasks,
        suits="reader",
        unanswerable_share=UNANSWERABLE_SHARE,
        unanswerable=UNANSWERABLE,
        vocabulary=base,
        dialect=DIALECT,
        context_tokens=way.passage_tokens,
        group_tokens=way.row_tokens,
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
        min_likelihood=min_likelihood or None,
        **vars(card),
    )
