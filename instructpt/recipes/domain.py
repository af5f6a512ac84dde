"""Continuing a base model on a domain's corpus, as the paper does it (section 5).

    documents --> Split -> Synthesize, 3 rounds -> Template -> Pack -> rows --.  1 : 1 by tokens
    general instructions -> "question response" ---------> Pack -> rows ------+--> Train, from the base model
    other passages with pairs (arm mixed) -> Template ---> Pack -> rows ------'

For a small corpus the settings are others (`small_corpora`). All texts are augmented. Baselines and ablations are the
arms of `arms`; general instructions are mixed into each.
"""

from __future__ import annotations

from dataclasses import dataclass

from instructpt.artifacts import Stage
from instructpt.assembly.blending import Blend
from instructpt.assembly.stages import Pack
from instructpt.collection.instructions import Instructions
from instructpt.errors import RecipeError
from instructpt.recipes.arms import ARMS, DOMAIN_ARMS, Corpus, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import TrainingBudget
from instructpt.recipes.flags import (
    SAMPLE_TASKS,
    Augmentation,
    Continuing,
    Language,
    RawText,
    Reading,
    Seed,
    Training,
    recipe,
)
from instructpt.recipes.general import task_texts
from instructpt.recipes.small_corpora import Continuation, continuation
from instructpt.records import Text
from instructpt.templates.stages import Template
from instructpt.training.stages import Source, Train

AUGMENTED_SHARE = 1.0
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """What the arms of an experiment that goes on from a base model share."""

    corpus: Corpus
    instructions: Stage[Text]
    tasks: Stage[Text]
    """Passages with pairs that are not of the domain, of arm mixed: a token for each of the domain's."""
    base: str
    way: Continuation

    @property
    def budget(self) -> TrainingBudget:
        """The budget of every arm."""
        return self.way.budget

    def train(self, arm: str, *, name: str, seed: int, share: float = 1.0) -> Train:
        """The model of one arm. seed: of the order of its texts; all start from the base. share: of the budget."""
        chosen = ARMS[arm]
        is_in_forms = chosen.pairs == "forms"
        parts = () if is_in_forms else self.corpus.parts(chosen)
        mixture = []
        if is_in_forms:
            for part, texts, of_tokens in self.corpus.sources(chosen):
                mixture.append(Source(rows=self._rows(f"{arm}-{part}-rows", texts), share=of_tokens))
        if parts:
            texts = Blend(name=f"{arm}-blend", parts=parts) if len(parts) > 1 else parts[0].texts
            mixture.append(Source(rows=self._rows(f"{arm}-rows", texts)))
        if chosen.has_tasks and chosen.pairs == "none":
            mixture.append(Source(rows=self._rows("tasks-rows", self.tasks)))
        if ratio := self.way.instructions_ratio:
            mixture.append(
                Source(rows=self._rows("instructions-rows", self.instructions), share=ratio if mixture else 1.0)
            )
        if not mixture:
            raise RecipeError(f"arm {arm} has no text without general instructions: give a ratio above 0")
        if share_again := self.way.replay_share:
            whole = sum(source.share for source in mixture) / (1 - share_again)
            mixture.append(Source(rows=self._rows("replay-rows", self.way.replay), share=share_again * whole))
        return Train(
            name=name,
            mixture=tuple(mixture),
            settings=self.budget.settings(seed=seed, share=share),
            batch_rows=self.budget.batch_rows,
            vocabulary=self.base,
            base=self.base,
            max_epochs=self.way.max_epochs,
            choices=(*self.way.choices, *(self.corpus.writing.choices() if is_in_forms else ())),
        )

    def _rows(self, name: str, texts: Stage[Text]) -> Pack:
        return Pack(name=name, texts=texts, vocabulary=self.base, row_tokens=self.budget.row_tokens)


@recipe
def domain(
    *,
    base: str,
    files: RawText,
    arm: str = "instruct",
    instructions: tuple[str, ...] = (SAMPLE_TASKS,),
    instructions_ratio: float | None = None,
    augmentation: Augmentation = Augmentation(),
    training_tokens: int | None = None,
    training: Training = Training(),
    continuing: Continuing = Continuing(),
    reading: Reading = Reading(),
    language: Language = "english",
    seed: Seed = 0,
) -> Train:
    """Continue the training of a base model on a domain's augmented corpus (the paper's section 5).

    For a corpus of less than ten million tokens other settings are chosen: instructpt plan domain says which and why.

    Args:
        base: A causal language model, as a folder or Hub id. The paper has Llama3-8B.
        arm: What it is trained on: the paper's way (instruct), its baseline (raw), pairs that are apart from their
            passages (instruct_apart), raw text with pairs of other passages (mixed), pairs that people wrote (gold),
            raw text and what is written in forms (forms), or an ablation: mined, one_round, without_corpora,
            share_half.
        instructions: General instructions in the neutral layout (docs/formats.md), mixed into every arm. The paper has
            OpenOrca; the default is the task data that ships, enough to try things out.
        instructions_ratio: Tokens of them for each of the domain's: the paper's 1, or none for a small corpus.
        training_tokens: The budget, all that is mixed in included: the paper's 4,000 steps of 2**18, or 8 passes over a
            small corpus.
    """
    check_arms([arm], known=DOMAIN_ARMS)
    documents = clean(reading.read(files))
    experiment = Continued(
        corpus=Corpus.of(documents, augmentation, share=AUGMENTED_SHARE, rounds=ROUNDS, language=language, seed=seed),
        instructions=instruction_texts(instructions, seed=seed),
        tasks=task_texts(files=instructions, hub=False, sets=(), language=language, seed=seed),
        base=base,
        way=continuation(
            base,
            files,
            reading=reading,
            training=training,
            continuing=continuing,
            tokens=training_tokens,
            instructions_ratio=instructions_ratio,
        ),
    )
    return experiment.train(arm, name="model", seed=seed)


def instruction_texts(files: tuple[str, ...], *, seed: int) -> Template:
    """General instructions as the paper writes them: question and response with a blank between, loss on all."""
    groups = Instructions(name="instructions", files=files, seed=seed)
    return Template(name="instructions-texts", groups=groups, kind="instruction", layout="plain", seed=seed)
