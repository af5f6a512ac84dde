"""Pre-training from scratch, as the paper does it (section 4): one arm of it; `compare` trains several side by side.

    documents --> 1/5 --> Split -> Synthesize, 2 rounds -> Template --.
             '--> 4/5 -------------------------------------> Template --+-> Blend -> Pack -> rows -> Train
    task collection -> Convert ------> Template, 4 times ---------------'

The arms are in `arms`, what fits a shape (tokens, steps, rates) in `budgets`.
"""

from __future__ import annotations

from dataclasses import dataclass

from instructpt.artifacts import Stage
from instructpt.assembly.blending import Blend, Part
from instructpt.assembly.stages import Pack
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import BuildVocabulary, Read
from instructpt.engines.models import SHIPPED, Model
from instructpt.errors import RecipeError
from instructpt.recipes.arms import ARMS, Corpus, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import WARMUP_STEPS, Budget, Precision, Wanted, budget_from_scratch
from instructpt.records import Document, Text
from instructpt.templates.stages import Template
from instructpt.training.shapes import shape_named
from instructpt.training.stages import Source, Train

SAMPLE_PASSAGES = "sample:passages.jsonl.zst"
SAMPLE_TASKS = "sample:tasks.jsonl.zst"
AUGMENTED_SHARE = 0.2
"""40 of 200 million texts."""
ROUNDS = 2
TASK_COPIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FromScratch:
    """What the arms of an experiment from random weights share."""

    corpus: Corpus
    tasks: Stage[Text]
    task_copies: int
    task_share: float | None
    """Of the tokens; None leaves it to the copies."""
    vocabulary: Model
    shape: str
    budget: Budget
    max_epochs: float

    def __post_init__(self) -> None:
        if self.task_share is not None and not 0 < self.task_share < 1:
            raise RecipeError(
                f"task_share is {self.task_share:g}: give more than 0, less than 1; arm without_tasks has none"
            )

    def train(self, arm: str, *, name: str, seed: int, share: float = 1.0) -> Train:
        """The model of one arm. seed: of its weights and of the order of its texts. share: of the budget."""
        chosen = ARMS[arm]
        parts = self.corpus.parts(chosen)
        if not parts:
            raise RecipeError(f"arm {arm} has no raw text: lower augmented_share below 1, or take another arm")
        share_of_tasks = self.task_share if chosen.has_tasks else None
        if chosen.has_tasks and share_of_tasks is None:
            parts = (*parts, Part(texts=self.tasks, copies=self.task_copies))
        texts = Blend(name=f"{arm}-blend", parts=parts) if len(parts) > 1 else parts[0].texts
        mixture: tuple[Source, ...] = (Source(rows=self._rows(arm, texts), share=1 - (share_of_tasks or 0)),)
        if share_of_tasks:
            mixture = (*mixture, Source(rows=self._rows("tasks", self.tasks), share=share_of_tasks))
        return Train(
            name=name,
            mixture=mixture,
            settings=self.budget.settings(seed=seed, share=share),
            batch_rows=self.budget.batch_rows,
            vocabulary=self.vocabulary,
            shape=self.shape,
            max_epochs=self.max_epochs,
        )

    def _rows(self, name: str, texts: Stage[Text]) -> Pack:
        return Pack(name=f"{name}-rows", texts=texts, vocabulary=self.vocabulary, row_tokens=self.budget.row_tokens)


def general(
    *,
    files: tuple[str, ...] = (SAMPLE_PASSAGES,),
    arm: str = "instruct",
    shape: str = "500m",
    synthesizer: str = SHIPPED,
    augmented_share: float = AUGMENTED_SHARE,
    rounds: int = ROUNDS,
    tasks: tuple[str, ...] = (SAMPLE_TASKS,),
    hub: bool = False,
    sets: tuple[str, ...] = (),
    task_copies: int = TASK_COPIES,
    task_share: float | None = None,
    vocabulary: str | None = None,
    vocabulary_size: int | None = None,
    pretraining_tokens: int | None = None,
    row_tokens: int | None = None,
    batch_tokens: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: int = WARMUP_STEPS,
    attend_across_documents: bool = False,
    max_epochs: float = 4.0,
    text_field: str = "text",
    id_field: str = "id",
    limit: int | None = None,
    language: str = "english",
    precision: Precision = "auto",
    seed: int = 0,
) -> Train:
    """Pre-train a model from random weights on raw text, of which a part is augmented (the paper's section 4).

    Args:
        files: Raw text: files, folders, globs or URLs.
        arm: What it is trained on: raw text (raw), raw text with the task collection (mixed), the paper's way
            (instruct); or an ablation: mined, one_round, without_corpora, without_tasks, share_half, share_all.
        shape: Of the model; a name in instructpt/training/shapes.py. The paper has 500m and 1.3b.
        synthesizer: What writes the pairs: a folder, a Hub id, or the small one that ships.
        augmented_share: Of the documents, drawn to be augmented; the paper's 1/5.
        rounds: Passages a chain, M; the paper's 2.
        tasks: The task collection in the neutral layout (docs/formats.md): files, folders or globs.
        hub: Also stream the catalog's sets that lie on the Hugging Face Hub.
        sets: Only these task sets: names of sets, categories or groups.
        task_copies: How often the task collection is seen for each pass over the raw text; the paper's 4, with which
            it is 0.7 % of the paper's tokens. Of a small corpus it would be most: then give task_share.
        task_share: Of the tokens that are task collection, instead of task_copies.
        vocabulary: A model folder or Hub id whose tokenizer is used; one is trained on the texts without it.
        vocabulary_size: Of the vocabulary that is trained; what suits the shape by default.
        pretraining_tokens: The budget. The paper's 100 billion for its shapes, 20 a parameter for the others.
        row_tokens: Tokens a row; 2,048 for the paper's shapes, 512 for the others.
        batch_tokens: Tokens a step; the paper's 2**19 for 500m and 2**20 for 1.3b, for the others by the budget.
        learning_rate: The highest; what suits the shape by default.
        warmup_steps: At most a tenth of the steps.
        attend_across_documents: Let a token see the documents before its own in a row, as plain packing does.
        max_epochs: How often a text may be seen at most; a budget that asks for more is refused.
        text_field: Field or column that holds the text.
        id_field: Field or column that holds the id.
        limit: Only the first so many rows.
        language: Of the templates: english, german... (docs/languages.md), or auto for each group's own.
        precision: Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is.
        seed: Of every draw.
    """
    check_arms([arm])
    wanted = Wanted(
        tokens=pretraining_tokens,
        row_tokens=row_tokens,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        precision=precision,
        attend_across_documents=attend_across_documents,
    )
    budget = budget_from_scratch(shape, wanted)
    documents = clean(Read(name="documents", files=files, text_field=text_field, id_field=id_field, limit=limit))
    experiment = FromScratch(
        corpus=Corpus(
            documents=documents,
            share=augmented_share,
            rounds=rounds,
            synthesizer=synthesizer,
            language=language,
            seed=seed,
        ),
        tasks=task_texts(files=tasks, hub=hub, sets=sets, language=language, seed=seed),
        task_copies=task_copies,
        task_share=task_share,
        vocabulary=vocabulary or vocabulary_of(documents, shape=shape, size=vocabulary_size),
        shape=shape,
        budget=budget,
        max_epochs=max_epochs,
    )
    return experiment.train(arm, name="model", seed=seed)


def task_texts(*, files: tuple[str, ...], hub: bool, sets: tuple[str, ...], language: str, seed: int) -> Template:
    """The task collection as natural text."""
    groups = Convert(name="tasks", files=files, hub=hub, sets=sets, seed=seed)
    return Template(name="tasks-texts", groups=groups, language=language, kind="task", seed=seed)


def vocabulary_of(documents: Stage[Document], *, shape: str, size: int | None) -> BuildVocabulary:
    """One trained on the documents, of the size that suits the shape unless it is given."""
    return BuildVocabulary(name="vocabulary", texts=(documents,), size=size or shape_named(shape).vocabulary_size)
