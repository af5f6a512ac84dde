"""Pre-training from scratch, as the paper does it (section 4): one arm of it; `compare` trains several side by side.

    documents --> 1/5 --> Split -> Synthesize, 2 rounds -> Template --.
             '--> 4/5 -------------------------------------> Template --+-> Blend -> Pack -> rows -> Train
    task collection -> Convert ------> Template, 4 times ---------------'

The arms are in `arms`, what fits a shape (tokens, steps, rates) in `budgets`.
"""

from __future__ import annotations

from dataclasses import dataclass

from instructpt.assembly.blending import BlendPart
from instructpt.corpus.stages import BuildVocabulary
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.recipes import flags
from instructpt.recipes.arms import ARMS, Experiment, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import TrainingBudget, budget_from_scratch
from instructpt.recipes.flags import recipe
from instructpt.training.shapes import shape_named
from instructpt.training.stages import Source, Train


@dataclass(frozen=True, kw_only=True)
class FromScratch(Experiment):
    """Models from random weights."""

    usual_share = 0.2
    """40 of 200 million texts."""
    usual_rounds = 2

    model: flags.RandomWeights

    def __post_init__(self) -> None:
        super().__post_init__()
        share = self.collection.task_share
        if share is not None and not 0 < share < 1:
            raise RecipeError(f"task_share is {share:g}: give more than 0, less than 1; arm without_tasks has none")

    @property
    def budget(self) -> TrainingBudget:
        """What fits the shape, unless the flags say otherwise."""
        return budget_from_scratch(self.model.shape, self.training, tokens=self.tokens)

    @property
    def vocabulary(self) -> Model:
        """One trained on the documents, of the size that suits the shape, unless it is given."""
        size = self.model.vocabulary_size or shape_named(self.model.shape).vocabulary_size
        return self.model.vocabulary or BuildVocabulary(name="vocabulary", texts=(self.documents,), size=size)

    def mixture(self, arm: str) -> list[Source]:
        """The arm's texts, with the task collection among them or beside them."""
        collection, has_tasks = self.collection, ARMS[arm].has_tasks
        share = (collection.task_share or 0) if has_tasks else 0
        blended = (
            (BlendPart(texts=self.task_texts(), copies=collection.task_copies),) if has_tasks and not share else ()
        )
        found = self.sources(arm, blended=blended, share=1 - share)
        if not found:
            raise RecipeError(f"arm {arm} has no raw text: lower augmented_share below 1, or take another arm")
        return [*found, Source(rows=self.rows("tasks", self.task_texts()), share=share)] if share else found


@recipe
def general(
    *,
    files: flags.RawText = (flags.SAMPLE_PASSAGES,),
    arm: str = "instruct",
    model: flags.RandomWeights = flags.RandomWeights(),
    augmentation: flags.Augmentation = flags.Augmentation(),
    tasks: tuple[str, ...] = (flags.SAMPLE_TASKS,),
    collection: flags.TaskCollection = flags.TaskCollection(),
    pretraining_tokens: int | None = None,
    training: flags.Training = flags.Training(),
    reading: flags.Reading = flags.Reading(),
    language: flags.Language = "english",
    seed: flags.Seed = 0,
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
    experiment = FromScratch(
        documents=clean(reading.read(files)),
        model=model,
        augmentation=augmentation,
        tasks=tasks,
        collection=collection,
        training=training,
        tokens=pretraining_tokens,
        language=language,
        seed=seed,
    )
    return experiment.train(arm, name="model", seed=seed)
