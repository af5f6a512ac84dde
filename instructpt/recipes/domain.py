"""Continuing a base model on a domain's corpus, as the paper does it (section 5).

    documents --> Split -> Synthesize, 3 rounds -> Template -> Pack -> rows --.  1 : 1 by tokens
    general instructions -> "question response" ---------> Pack -> rows ------+--> Train, from the base model

All texts are augmented. Baselines and ablations are the arms of `arms`; general instructions are mixed into each.
"""

from __future__ import annotations

from dataclasses import dataclass

from instructpt.artifacts import Stage
from instructpt.assembly.blending import Blend
from instructpt.assembly.stages import Pack
from instructpt.collection.instructions import Instructions
from instructpt.corpus.stages import Read
from instructpt.engines.models import SHIPPED
from instructpt.errors import RecipeError
from instructpt.recipes.arms import ARMS, DOMAIN_ARMS, Corpus, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import (
    CONTINUED_BATCH_TOKENS,
    CONTINUED_TOKENS,
    WARMUP_STEPS,
    Budget,
    Precision,
    Wanted,
    budget_from_base,
)
from instructpt.records import Text
from instructpt.templates.stages import Template
from instructpt.training.stages import Source, Train

ROUNDS = 3
SAMPLE_TASKS = "sample:tasks.jsonl.zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """What the arms of an experiment that goes on from a base model share."""

    corpus: Corpus
    instructions: Stage[Text]
    ratio: float
    """Tokens of general instructions for each of the domain's."""
    base: str
    budget: Budget
    max_epochs: float

    def train(self, arm: str, *, name: str, seed: int, share: float = 1.0) -> Train:
        """The model of one arm. seed: of the order of its texts; all start from the base. share: of the budget."""
        chosen = ARMS[arm]
        parts = self.corpus.parts(chosen)
        mixture = []
        if parts:
            texts = Blend(name=f"{arm}-blend", parts=parts) if len(parts) > 1 else parts[0].texts
            mixture.append(Source(rows=self._rows(f"{arm}-rows", texts)))
        if self.ratio:
            mixture.append(
                Source(rows=self._rows("instructions-rows", self.instructions), share=self.ratio if parts else 1.0)
            )
        if not mixture:
            raise RecipeError(f"arm {arm} has no text without general instructions: give a ratio above 0")
        return Train(
            name=name,
            mixture=tuple(mixture),
            settings=self.budget.settings(seed=seed, share=share),
            batch_rows=self.budget.batch_rows,
            vocabulary=self.base,
            base=self.base,
            max_epochs=self.max_epochs,
        )

    def _rows(self, name: str, texts: Stage[Text]) -> Pack:
        return Pack(name=name, texts=texts, vocabulary=self.base, row_tokens=self.budget.row_tokens)


def domain(
    *,
    base: str,
    files: tuple[str, ...],
    arm: str = "instruct",
    instructions: tuple[str, ...] = (SAMPLE_TASKS,),
    instructions_ratio: float = 1.0,
    synthesizer: str = SHIPPED,
    augmented_share: float = 1.0,
    rounds: int = ROUNDS,
    training_tokens: int = CONTINUED_TOKENS,
    row_tokens: int | None = None,
    batch_tokens: int = CONTINUED_BATCH_TOKENS,
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
    """Continue the training of a base model on a domain's augmented corpus (the paper's section 5).

    Args:
        base: A causal language model, as a folder or Hub id. The paper has Llama3-8B.
        files: The domain's raw text: files, folders, globs or URLs.
        arm: What it is trained on: the paper's way (instruct), its baseline (raw), or an ablation: mined, one_round,
            without_corpora, share_half.
        instructions: General instructions in the neutral layout (docs/formats.md), mixed into every arm. The paper has
            OpenOrca; the default is the task data that ships, enough to try things out.
        instructions_ratio: Tokens of them for each of the domain's; the paper's 1. 0 leaves them out.
        synthesizer: What writes the pairs: a folder, a Hub id, or the small one that ships.
        augmented_share: Of the documents; the paper augments all.
        rounds: Passages a chain, M; the paper's 3.
        training_tokens: The budget; the paper's 4,000 steps of 2**18, instructions included.
        row_tokens: Tokens a row; 4,096, or what the base reads.
        batch_tokens: Tokens a step.
        learning_rate: The highest; 1e-5 at a width of 4,096 as in the paper, more for narrower models.
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
    check_arms([arm], known=DOMAIN_ARMS)
    documents = clean(Read(name="documents", files=files, text_field=text_field, id_field=id_field, limit=limit))
    corpus = Corpus(
        documents=documents,
        share=augmented_share,
        rounds=rounds,
        synthesizer=synthesizer,
        language=language,
        seed=seed,
    )
    wanted = Wanted(
        tokens=training_tokens,
        row_tokens=row_tokens,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        precision=precision,
        attend_across_documents=attend_across_documents,
    )
    experiment = Continued(
        corpus=corpus,
        instructions=instruction_texts(instructions, seed=seed),
        ratio=instructions_ratio,
        base=base,
        budget=budget_from_base(base, wanted),
        max_epochs=max_epochs,
    )
    return experiment.train(arm, name="model", seed=seed)


def instruction_texts(files: tuple[str, ...], *, seed: int) -> Template:
    """General instructions as the paper writes them: question and response with a blank between, loss on all."""
    groups = Instructions(name="instructions", files=files, seed=seed)
    return Template(name="instructions-texts", groups=groups, kind="instruction", layout="plain", seed=seed)
