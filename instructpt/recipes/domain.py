"""Continuing a base model on a domain's corpus, as the paper does it (section 5).

    documents --> Split -> Synthesize, 3 rounds -> Template -> Pack -> rows --.  1 : 1 by tokens
    general instructions -> "question response" ---------> Pack -> rows ------+--> Train, from the base model
    other passages with pairs (arm mixed) -> Template ---> Pack -> rows ------'

For a small corpus the settings are others (`small_corpora`). All texts are augmented. Baselines and ablations are the
arms of `arms`; general instructions are mixed into each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from instructpt.collection.instructions import Instructions
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.recipes import flags
from instructpt.recipes.arms import ARMS, DOMAIN_ARMS, Experiment, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import TrainingBudget
from instructpt.recipes.flags import recipe
from instructpt.recipes.small_corpora import Continuation, continuation
from instructpt.templates.stages import Template
from instructpt.training.stages import Source, Train


@dataclass(frozen=True, kw_only=True)
class Continued(Experiment):
    """Models that go on from a base. Arm mixed has a token of tasks for each of the corpus'."""

    usual_share = 1.0
    usual_rounds = 3

    base: str
    files: tuple[str, ...]
    """All that the corpus is read from: its size decides what suits it."""
    reading: flags.Reading
    continuing: flags.Continuing
    instructions_ratio: float | None = None

    @cached_property
    def way(self) -> Continuation:
        """As the flags say, and where they say nothing as suits the corpus."""
        return continuation(
            self.base,
            self.files,
            reading=self.reading,
            training=self.training,
            continuing=self.continuing,
            tokens=self.tokens,
            instructions_ratio=self.instructions_ratio,
        )

    @property
    def budget(self) -> TrainingBudget:
        """See `Experiment`."""
        return self.way.budget

    @property
    def vocabulary(self) -> Model:
        """The base's own."""
        return self.base

    @property
    def max_epochs(self) -> float:
        """See `Experiment`."""
        return self.way.max_epochs

    @property
    def choices(self) -> tuple[tuple[str, str, str], ...]:
        """See `Experiment`."""
        return self.way.choices

    def mixture(self, arm: str) -> list[Source]:
        """The arm's texts; general instructions and general text as the way says."""
        found = self.sources(arm)
        if ARMS[arm].has_tasks and ARMS[arm].pairs == "none":
            found.append(Source(rows=self.rows("tasks", self.task_texts())))
        if ratio := self.way.instructions_ratio:
            found.append(Source(rows=self.rows("instructions", self._instructions()), share=ratio if found else 1.0))
        if not found:
            raise RecipeError(f"arm {arm} has no text without general instructions: give a ratio above 0")
        if again := self.way.replay_share:
            whole = sum(source.share for source in found) / (1 - again)
            found.append(Source(rows=self.rows("replay", self.way.replay), share=again * whole))
        return found

    def _instructions(self) -> Template:
        """As the paper writes them: question and response with a blank between, loss on all."""
        groups = Instructions(name="instructions", files=self.tasks, seed=self.seed)
        return Template(name="instructions-texts", groups=groups, kind="instruction", layout="plain", seed=self.seed)


@recipe
def domain(
    *,
    base: str,
    files: flags.RawText,
    arm: str = "instruct",
    instructions: tuple[str, ...] = (flags.SAMPLE_TASKS,),
    instructions_ratio: float | None = None,
    augmentation: flags.Augmentation = flags.Augmentation(),
    training_tokens: int | None = None,
    training: flags.Training = flags.Training(),
    continuing: flags.Continuing = flags.Continuing(),
    reading: flags.Reading = flags.Reading(),
    language: flags.Language = "english",
    seed: flags.Seed = 0,
) -> Train:
    """Continue the training of a base model on a domain's augmented corpus (the paper's section 5).

    For a corpus of less than ten million tokens other settings are chosen: instructpt plan domain says which and why.

    Args:
        base: A causal language model, as a folder or Hub id. The paper has Llama3-8B.
        arm: What it is trained on: the paper's way (instruct), its baseline (raw), pairs that are apart from their
            passages (instruct_apart), several sets of pairs for each passage (variants_5, variants_20), raw text with
            pairs of other passages (mixed), pairs that people wrote (gold), raw text and what is written in forms
            (forms), or an ablation: mined, one_round, without_corpora, share_half.
        instructions: General instructions in the neutral layout (docs/formats.md), mixed into every arm. The paper has
            OpenOrca; the default is the task data that ships, enough to try things out.
        instructions_ratio: Tokens of them for each of the domain's: the paper's 1, or none for a small corpus.
        training_tokens: The budget, all that is mixed in included: the paper's 4,000 steps of 2**18, or 8 passes over a
            small corpus.
    """
    check_arms([arm], known=DOMAIN_ARMS)
    experiment = Continued(
        base=base,
        files=files,
        documents=clean(reading.read(files)),
        augmentation=augmentation,
        tasks=instructions,
        reading=reading,
        training=training,
        continuing=continuing,
        tokens=training_tokens,
        instructions_ratio=instructions_ratio,
        language=language,
        seed=seed,
    )
    return experiment.train(arm, name="model", seed=seed)
