"""Does it help? Arms of a recipe side by side: each trained with several seeds on one budget, all scored alike.

    documents, vocabulary, pairs, rows of an arm        made once, shared by all runs that need them
           |
           +-> (before: the base as it is, in recipe domain) ----------------------.
           +-> raw-seed0      -> held-out documents, benchmarks, unseen sets, exam -.
           +-> raw-seed1      -> ...                                                +-> comparison: means, intervals,
           +-> instruct-seed0 -> ...                                                |   differences paired by seed,
           '-> instruct-seed1 -> ...                                         ------'    tokens to reach a score

Every run, and every score of it, is an artifact: what is there is not made again, an arm or a seed can be added later.
A seed draws the weights that a model begins with and the order of its texts; documents and pairs are the same in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from instructpt.artifacts import Stage
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import Portion, Read
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.evaluation.drawing import Draw
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.held_back import HeldBack
from instructpt.evaluation.naming import Named
from instructpt.evaluation.overlap import Overlap
from instructpt.evaluation.questioning import Answering, Examine
from instructpt.evaluation.stages import Cell, Compare, Evaluate, HeldOut, Rate
from instructpt.recipes import flags
from instructpt.recipes.arms import ARMS, DOMAIN_ARMS, Experiment, check_arms
from instructpt.recipes.augment import clean
from instructpt.recipes.budgets import Pace, tuning_rate, usual_rate
from instructpt.recipes.domain import Continued
from instructpt.recipes.flags import recipe
from instructpt.recipes.general import FromScratch
from instructpt.recipes.instruct import BATCH_TOKENS, EPOCHS, WARMUP_STEPS, Tuning, tuning_texts
from instructpt.records import Document, Group, Score
from instructpt.training.shapes import shape_named
from instructpt.training.stages import Source, Train

TASKS = ("arc_easy", "arc_challenge", "boolq", "piqa", "winogrande")
BEFORE = "before"
"""The arm of a base that nothing was done to."""
UNSEEN_CONTEXTS = 50
"""A set. With the ten sets of the collection about 900 questions, which a model of 3 M reads in half a minute."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How every model is scored."""

    held_out: tuple[str, ...] = ()
    """Files of documents to measure bits per byte on, which must not be among the others. Without them a part of the
    documents is drawn and left out of training."""
    held_out_share: float = 0.02
    """How large that part is."""
    tasks: tuple[str, ...] = TASKS
    """Benchmarks; names of task files in instructpt/evaluation/tasks."""
    data: str | None = None
    """Folder with the benchmarks' rows; the small sample that ships, without it."""
    evaluation_items: int | None = None
    """Only so many items a benchmark, evenly spaced."""
    num_fewshot: int = 0
    """Examples before each item."""
    unseen_contexts: int | None = None
    """Also score the probability of right answers to questions on so many contexts of each set of tasks_data that the
    catalog keeps unseen; 50. Not in recipe domain, which trains on all sets."""
    questions: tuple[str, ...] = ()
    """Also examine every model, as the command exam does, with files of questions on passages of --files. Those on
    held-out documents are the control set."""
    held_back_pairs: int = 1
    """Without questions, recipe domain makes the exam from the pairs: it takes so many pairs per passage that the
    reader confirmed out of all arms' texts, and asks them. 0 makes no exam, nor does a synthesizer without a reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What every model is scored on."""

    scoring: Scoring
    held_out: Stage[Document]
    row_tokens: int
    unseen: Stage[Group] | None = None
    """Contexts of task sets that no arm is trained on, with their questions."""
    exam: Stage[Group] | None = None
    """Closed-book questions on documents of the corpus."""
    named_by: tuple[tuple[str, Named], ...] = ()
    """Which of them an arm's pairs name."""

    def results(self, model: Model, name: str, mixture: Sequence[Source] = ()) -> tuple[Stage[Score], ...]:
        """The scores of one model. mixture: what it was trained on."""
        found: list[Stage[Score]] = [
            HeldOut(name=f"{name}-held-out", model=model, documents=self.held_out, row_tokens=self.row_tokens)
        ]
        if self.scoring.tasks:
            items = Evaluate(
                name=f"{name}-items",
                model=model,
                tasks=self.scoring.tasks,
                data=self.scoring.data,
                limit=self.scoring.evaluation_items,
                num_fewshot=self.scoring.num_fewshot,
            )
            found.append(Rate(name=f"{name}-scores", items=items))
        if self.unseen is not None:
            answers = Answering(name=f"{name}-unseen-items", model=model, exam=self.unseen)
            found.append(Rate(name=f"{name}-unseen", items=answers, average=answers.task))
        if self.exam is not None:
            examined = Examine(name=f"{name}-exam-items", model=model, exam=self.exam)
            texts = [source.rows.texts for source in mixture]
            seen = tuple(Overlap(name=f"{part.name}-questions", texts=part, against=self.exam) for part in texts)
            found.append(
                Rate(name=f"{name}-exam", items=examined, overlaps=seen, named_by=self.named_by, model_name=name)
            )
        return tuple(found)


def unseen_exam(files: tuple[str, ...], *, num_contexts: int, seed: int) -> Draw:
    """Contexts of the sets that the catalog keeps unseen, evenly spaced.

    The task collection of an arm, and of tuning, is the catalog's seen part (`Convert`'s own default). The catalog
    gives sets that share contexts one part, and a set that it does not know is never unseen.
    """
    contexts = Convert(name="unseen-tasks", files=files, part="unseen", shots=1, seed=seed)
    return Draw(name="unseen-exam", contexts=contexts, contexts_per_set=num_contexts, seed=seed)


@recipe
def compare(
    *,
    recipe: Literal["general", "domain"] = "general",
    arms: tuple[str, ...] = ("raw", "mixed", "instruct"),
    seeds: int = 3,
    budget_shares: tuple[float, ...] = (1.0,),
    tuned: bool = False,
    tuning_epochs: float = EPOCHS,
    files: flags.RawText = (flags.SAMPLE_PASSAGES,),
    model: flags.RandomWeights = flags.RandomWeights(shape="15m"),
    base: str | None = None,
    augmentation: flags.Augmentation = flags.Augmentation(),
    tasks_data: tuple[str, ...] = (flags.SAMPLE_TASKS,),
    collection: flags.TaskCollection = flags.TaskCollection(),
    pretraining_tokens: int | None = None,
    training: flags.Training = flags.Training(),
    continuing: flags.Continuing = flags.Continuing(),
    scoring: Scoring = Scoring(),
    reading: flags.Reading = flags.Reading(),
    language: flags.Language = "english",
    seed: flags.Seed = 0,
) -> Compare:
    """Train the arms of a recipe side by side, several seeds each, and compare them with intervals.

    Args:
        recipe: general, from random weights; or domain, from --base.
        arms: raw, mixed, instruct, instruct_apart, variants_5, variants_20, gold, and ablations: mined, one_round,
            without_corpora, without_tasks, share_half, share_all. The others are compared with the first; recipe domain
            also scores the base as it was before.
        seeds: Runs an arm. Intervals need two; with three they are still 4.3 standard errors wide to each side.
        budget_shares: Also train every arm with these shares of the budget, 0.25 0.5 1, to see how many tokens an arm
            needs for what the first has at the whole budget. Each is a complete run with a schedule of its own.
        tuned: Also instruction-tune every model of the whole budget on the task data, and score it again.
        tuning_epochs: Passes over the task data for that; 0.1 of a large collection is enough for a small model.
        base: The base model of recipe domain: a folder or Hub id.
        tasks_data: The task collection, in recipe domain the general instructions: neutral layout (docs/formats.md).
        pretraining_tokens: The budget of every run; as recipe general or domain has it by default.
        seed: Of every draw that all runs share; that of the first run, the others count on from it.
    """
    _check(recipe=recipe, arms=arms, seeds=seeds, shares=budget_shares, base=base)
    unseen_contexts = _unseen_contexts(scoring.unseen_contexts, recipe=recipe)
    corpus = reading.read(files)
    documents, held_out = _held_out(clean(corpus), scoring, reading, seed=seed)
    shared: dict[str, Any] = {
        "documents": documents,
        "augmentation": augmentation,
        "tasks": tasks_data,
        "collection": collection,
        "training": training,
        "tokens": pretraining_tokens,
        "language": language,
        "seed": seed,
    }
    experiment: Experiment
    if base is None:
        experiment = FromScratch(model=model, **shared)
    else:
        experiment = Continued(base=base, files=files, reading=reading, continuing=continuing, **shared)
    exam: Questions | HeldBack | None = None
    if scoring.questions:
        exam = Questions(name="exam", files=scoring.questions, documents=corpus, trained_on=documents, control=held_out)
    elif base is not None and scoring.held_back_pairs and any(ARMS[arm].pairs == "synthesized" for arm in arms):
        exam = experiment.held_back(scoring.held_back_pairs)
    experiment = replace(experiment, exam=exam)
    row_tokens = experiment.budget.row_tokens
    measuring = Measuring(
        scoring=scoring,
        held_out=held_out,
        row_tokens=row_tokens,
        unseen=unseen_exam(tasks_data, num_contexts=unseen_contexts, seed=seed) if unseen_contexts else None,
        exam=exam,
        named_by=experiment.named_by(arms),
    )
    tuning = Tuning(
        texts=tuning_texts(tasks=tasks_data, sets=collection.sets, language=language, seed=seed),
        pace=Pace(
            row_tokens=row_tokens,
            batch_rows=max(1, BATCH_TOKENS // row_tokens),
            learning_rate=usual_rate(base, None) if base else tuning_rate(shape_named(model.shape).hidden),
            warmup_steps=WARMUP_STEPS,
            precision=experiment.budget.precision,
        ),
        epochs=tuning_epochs,
    )
    return Compare(
        name="comparison",
        measured_on=tuple(stage for stage in (held_out, measuring.unseen, exam) if stage is not None),
        cells=cells(
            experiment,
            arms,
            seeds=range(seed, seed + seeds),
            shares=budget_shares,
            measuring=measuring,
            tuning=tuning if tuned else None,
        ),
    )


def cells(
    experiment: Experiment,
    arms: Sequence[str],
    *,
    seeds: Sequence[int],
    shares: Sequence[float],
    measuring: Measuring,
    tuning: Tuning | None,
) -> tuple[Cell, ...]:
    """A cell for every arm, seed and share of the budget, one more for every model that is tuned, and for the base.

    Seeds come first: with the first one done, all arms can be looked at.
    """

    def scored(model: Train) -> tuple[Stage[Score], ...]:
        return measuring.results(model, model.name, model.mixture)

    found = []
    for share in sorted(shares):
        tokens = round(experiment.budget.tokens * share)
        for seed in seeds:
            for arm in arms:
                name = f"{arm}-seed{seed}" + ("" if share == 1 else f"-{share:g}")
                model = experiment.train(arm, name=name, seed=seed, share=share)
                found.append(Cell(arm=arm, seed=seed, tokens=tokens, model=model, results=scored(model)))
                if tuning is not None and share == max(shares):
                    later = tuning.train(model, vocabulary=model.vocabulary, name=f"{name}-tuned", seed=seed)
                    found.append(
                        Cell(arm=arm, seed=seed, tokens=tokens, phase="tuned", model=later, results=scored(later))
                    )
    if base := experiment.base:  # the same in all runs: a cell a seed, so that differences from it are paired, too
        results, tokens = measuring.results(base, BEFORE), experiment.budget.tokens
        found += [Cell(arm=BEFORE, seed=seed, tokens=tokens, model=base, results=results) for seed in seeds]
    return tuple(found)


def _held_out(
    documents: Stage[Document], scoring: Scoring, reading: flags.Reading, *, seed: int
) -> tuple[Stage[Document], Stage[Document]]:
    """Documents to train on, and those to measure on."""
    share = scoring.held_out_share
    if scoring.held_out:
        return documents, Read(name="held-out", files=scoring.held_out, text_field=reading.text_field)
    if not 0 < share < 1:
        raise RecipeError(f"held_out_share is {share:g}: give more than 0, less than 1, or files with --held-out")
    advice = f"--held-out-share is {share:g}, give a {{}} one, or files of other documents with --held-out"
    draw: dict[str, Any] = {"documents": documents, "draw": "held out", "seed": seed}
    unseen = Portion(name="held-out", stop=share, if_empty=advice.format("larger"), **draw)
    return Portion(name="training", start=share, if_empty=advice.format("smaller"), **draw), unseen


def _unseen_contexts(number: int | None, *, recipe: str) -> int:
    if number is None:
        return 0 if recipe == "domain" else UNSEEN_CONTEXTS
    if number < 0:
        raise RecipeError(f"unseen_contexts is {number}: give 0 or more")
    if number and recipe == "domain":
        raise RecipeError(
            "recipe domain mixes all sets of tasks_data into its arms, so that none is unseen: leave out "
            "--unseen-contexts"
        )
    return number


def _check(*, recipe: str, arms: Sequence[str], seeds: int, shares: Sequence[float], base: str | None) -> None:
    check_arms(arms, known=DOMAIN_ARMS if recipe == "domain" else tuple(ARMS))
    if not arms:
        raise RecipeError("no arm is named: give those to compare, such as --arms raw instruct")
    if seeds < 1:
        raise RecipeError(f"seeds is {seeds}: give at least 1, and 2 or more for intervals")
    if not shares or min(shares) <= 0 or max(shares) != 1 or len(set(shares)) < len(shares):
        raise RecipeError(f"budget_shares are {shares}: give different shares above 0, of which the largest is 1")
    if (recipe == "domain") != (base is not None):
        raise RecipeError(f"recipe is {recipe} and base {base}: recipe domain needs a base, general has none")
