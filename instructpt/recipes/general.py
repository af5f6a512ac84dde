"""Pre-training from scratch, as the paper does it (section 4): one arm of it; `compare` trains several side by side.

    documents --> 1/5 --> Split -> Synthesize, 2 rounds -> Template --.
             '--> 4/5 -------------------------------------> Template --+-> Blend -> Pack -> rows -> Train
    task collection -> Convert ------> Template, 4 times ---------------'

The arms are in `arms`, what fits a shape (tokens, steps, rates) in `budgets`.
"""

from __future__ import annotations

from dataclasses import dataclass

from instructpt.artifacts import Stage
from instructpt.assembly.blending import Blend, BlendPart
from instructpt.assembly.stages import Pack
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import BuildVocabulary
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.recipes.arms import ARMS, Corpus, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import TrainingBudget, budget_from_scratch
from instructpt.recipes.flags import (
    MAX_EPOCHS,
    SAMPLE_PASSAGES,
    SAMPLE_TASKS,
    Augmentation,
    Language,
    RandomWeights,
    RawText,
    Reading,
    Seed,
    TaskCollection,
    Training,
    recipe,
)
from instructpt.records import Document, Text
from instructpt.templates.stages import Template
from instructpt.training.shapes import shape_named
from instructpt.training.stages import Source, Train

AUGMENTED_SHARE = 0.2
"""40 of 200 million texts."""
ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FromScratch:
    """What the arms of an experiment from random weights share."""

    corpus: Corpus
    tasks: Stage[Text]
    collection: TaskCollection
    vocabulary: Model
    shape: str
    budget: TrainingBudget
    max_epochs: float

    def __post_init__(self) -> None:
        share = self.collection.task_share
        if share is not None and not 0 < share < 1:
            raise RecipeError(f"task_share is {share:g}: give more than 0, less than 1; arm without_tasks has none")

    def train(self, arm: str, *, name: str, seed: int, share: float = 1.0) -> Train:
        """The model of one arm. seed: of its weights and of the order of its texts. share: of the budget."""
        return Train(
            name=name,
            mixture=self._mixture(arm),
            settings=self.budget.settings(seed=seed, share=share),
            batch_rows=self.budget.batch_rows,
            vocabulary=self.vocabulary,
            shape=self.shape,
            max_epochs=self.max_epochs,
            choices=self.corpus.writing.choices() if ARMS[arm].pairs == "forms" else (),
        )

    def _mixture(self, arm: str) -> tuple[Source, ...]:
        chosen = ARMS[arm]
        if chosen.pairs == "forms":
            found = self.corpus.sources(chosen)
            return tuple(Source(rows=self._rows(f"{arm}-{part}", texts), share=share) for part, texts, share in found)
        parts = self.corpus.parts(chosen)
        if not parts:
            raise RecipeError(f"arm {arm} has no raw text: lower augmented_share below 1, or take another arm")
        share_of_tasks = self.collection.task_share if chosen.has_tasks else None
        if chosen.has_tasks and share_of_tasks is None:
            parts = (*parts, BlendPart(texts=self.tasks, copies=self.collection.task_copies))
        texts = Blend(name=f"{arm}-blend", parts=parts) if len(parts) > 1 else parts[0].texts
        of_texts = Source(rows=self._rows(arm, texts), share=1 - (share_of_tasks or 0))
        if not share_of_tasks:
            return (of_texts,)
        return of_texts, Source(rows=self._rows("tasks", self.tasks), share=share_of_tasks)

    def _rows(self, name: str, texts: Stage[Text]) -> Pack:
        return Pack(name=f"{name}-rows", texts=texts, vocabulary=self.vocabulary, row_tokens=self.budget.row_tokens)


@recipe
def general(
    *,
    files: RawText = (SAMPLE_PASSAGES,),
    arm: str = "instruct",
    model: RandomWeights = RandomWeights(),
    augmentation: Augmentation = Augmentation(),
    tasks: tuple[str, ...] = (SAMPLE_TASKS,),
    collection: TaskCollection = TaskCollection(),
    pretraining_tokens: int | None = None,
    training: Training = Training(),
    reading: Reading = Reading(),
    language: Language = "english",
    seed: Seed = 0,
) -> Train:
    """Pre-train a model from random weights on raw text, of which a part is augmented (the paper's section 4).

    Args:
        arm: What to train on: raw text (raw), raw text with task data (mixed), the paper's mixture (instruct), raw
            text and what is written in --forms (forms), or one of instruct_apart, mined, one_round, without_corpora,
            without_tasks, share_half, share_all.
        tasks: Task data in the neutral layout (docs/formats.md): files, folders or globs.
        pretraining_tokens: Tokens to train on. By default the paper's 100 billion for its shapes, and 20 per parameter
            for others.
    """
    check_arms([arm])
    experiment = from_scratch(
        clean(reading.read(files)),
        model=model,
        augmentation=augmentation,
        tasks=tasks,
        collection=collection,
        budget=budget_from_scratch(model.shape, training, tokens=pretraining_tokens),
        max_epochs=MAX_EPOCHS if training.max_epochs is None else training.max_epochs,
        language=language,
        seed=seed,
    )
    return experiment.train(arm, name="model", seed=seed)


def from_scratch(
    documents: Stage[Document],
    *,
    model: RandomWeights,
    augmentation: Augmentation,
    tasks: tuple[str, ...],
    collection: TaskCollection,
    budget: TrainingBudget,
    max_epochs: float,
    language: str,
    seed: int,
) -> FromScratch:
    """An experiment of models from random weights, as the flags describe it."""
    return FromScratch(
        corpus=Corpus.of(documents, augmentation, share=AUGMENTED_SHARE, rounds=ROUNDS, language=language, seed=seed),
        tasks=task_texts(files=tasks, hub=collection.hub, sets=collection.sets, language=language, seed=seed),
        collection=collection,
        vocabulary=model.vocabulary or vocabulary_of(documents, shape=model.shape, size=model.vocabulary_size),
        shape=model.shape,
        budget=budget,
        max_epochs=max_epochs,
    )


def task_texts(*, files: tuple[str, ...], hub: bool, sets: tuple[str, ...], language: str, seed: int) -> Template:
    """The task collection as natural text."""
    groups = Convert(name="tasks", files=files, hub=hub, sets=sets, seed=seed)
    return Template(name="tasks-texts", groups=groups, language=language, kind="task", seed=seed)


def vocabulary_of(documents: Stage[Document], *, shape: str, size: int | None) -> BuildVocabulary:
    """One trained on the documents, of the size that suits the shape unless it is given."""
    return BuildVocabulary(name="vocabulary", texts=(documents,), size=size or shape_named(shape).vocabulary_size)
