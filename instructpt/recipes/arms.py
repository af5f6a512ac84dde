"""Arms: what the models of an experiment are trained on, with one thing changed at a time.

    arm               the texts to augment (paper: 1/5)       the other texts    task collection
    raw               raw                                     raw                                   Vanilla
    mixed             raw                                     raw                mixed in           Mix
    instruct          with pairs, chains of 2 passages        raw                mixed in           Instruct
    mined             with pairs mined by rules               raw                mixed in           ablation (table 4)
    gold              with pairs that people wrote            raw                mixed in           what pairs could do
    one_round         with pairs, each passage alone          raw                mixed in           ablation
    variants_5        5 times, each with pairs of its own     raw                mixed in
    variants_20       20 times, each with pairs of its own    raw                mixed in
    instruct_apart    with pairs, never in their row          raw                mixed in
    without_corpora   left out                                raw                mixed in           ablation
    without_tasks     with pairs                              raw
    share_half        with pairs: a half of all               raw                mixed in
    share_all         with pairs: all                                            mixed in
    forms             raw, and what is written in forms, each a share of tokens   raw

The names on the right are the paper's (arXiv 2406.14491, sections 4 and 7). All arms get one budget of tokens. Recipe
`domain` has those of `DOMAIN_ARMS`, with general instructions in the place of the task collection, in every arm; there
`mixed` is the control for format: raw text and as many tokens of passages with pairs that are not of the corpus.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar, Literal

from instructpt.artifacts import Stage, tree
from instructpt.assembly.blending import Blend, BlendPart, OfKind
from instructpt.assembly.stages import Pack
from instructpt.collection.questions import GoldPairs
from instructpt.collection.stages import Convert
from instructpt.corpus.stages import Portion, Split
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.held_back import HeldBack, Remainder
from instructpt.evaluation.naming import Named
from instructpt.mining.stages import Mine
from instructpt.recipes import flags
from instructpt.recipes.budgets import TrainingBudget
from instructpt.recipes.form_mixture import PARTS, chosen_shares, token_shares
from instructpt.recipes.writer import Writer, known_prompting
from instructpt.records import Document, Group, Text
from instructpt.synthesis.variants import TEMPERATURE, Variants
from instructpt.templates.stages import Template
from instructpt.training.stages import Source, Train
from instructpt.verification.stages import Verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm is trained on."""

    pairs: Literal["none", "synthesized", "mined", "gold", "forms"] = "none"
    """Who writes them; in forms other texts too."""
    share: float | None = None
    """Of the documents, drawn to be augmented; None: the recipe's."""
    rounds: int | None = None
    """Passages a chain; None: the recipe's."""
    variants: int | None = None
    """Sets of pairs a passage, each beside it in a text of its own; None: the recipe's."""
    has_augmented: bool = True
    """Whether the documents that were drawn are trained on at all."""
    has_tasks: bool = True
    pair_layout: flags.PairLayout | None = None
    """None: the recipe's."""


ARMS = {
    "raw": Arm(has_tasks=False),
    "mixed": Arm(),
    "instruct": Arm(pairs="synthesized"),
    "instruct_apart": Arm(pairs="synthesized", pair_layout="apart"),
    "mined": Arm(pairs="mined"),
    "gold": Arm(pairs="gold"),
    "one_round": Arm(pairs="synthesized", rounds=1),
    "variants_5": Arm(pairs="synthesized", variants=5),
    "variants_20": Arm(pairs="synthesized", variants=20),
    "without_corpora": Arm(pairs="synthesized", has_augmented=False),
    "without_tasks": Arm(pairs="synthesized", has_tasks=False),
    "share_half": Arm(pairs="synthesized", share=0.5),
    "share_all": Arm(pairs="synthesized", share=1.0),
    "forms": Arm(pairs="forms", has_tasks=False),
}
"""A new arm is a line here."""
DOMAIN_ARMS = tuple(arm for arm in ARMS if arm not in ("without_tasks", "share_all"))
"""Those that make sense where all texts are augmented and instructions are mixed into every arm."""


def check_arms(names: Iterable[str], *, known: Collection[str] = tuple(ARMS)) -> None:
    """Raise RecipeError for an arm that there is not, naming those most like it, and for one that is named twice."""
    seen: set[str] = set()
    for name in names:
        if name not in known:
            near = get_close_matches(name.casefold().replace("-", "_"), known, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(known)}"
            raise RecipeError(f"no arm is called {name!r}: {hint}")
        if name in seen:
            raise RecipeError(f"the arm {name!r} is named twice: name each once")
        seen.add(name)


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Models of one budget, an arm each: what they share."""

    usual_share: ClassVar[float]
    """Of the documents that are augmented, where the flags say nothing."""
    usual_rounds: ClassVar[int]
    """Passages a chain, where the flags say nothing."""

    documents: Stage[Document]
    """To train on."""
    augmentation: flags.Augmentation
    tasks: tuple[str, ...]
    """Files of task data: passages with pairs that are not of the corpus."""
    collection: flags.TaskCollection = flags.TaskCollection()
    training: flags.Training
    tokens: int | None
    """The budget; None for what suits."""
    language: str = "english"
    seed: int
    model: flags.RandomWeights | None = None
    """What the models are, or"""
    base: str | None = None
    """what they go on from."""
    exam: Questions | HeldBack | None = None
    """What it asks stands in no gold pair and, if it was made of the corpus' own pairs, in none of any arm."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise RecipeError(f"augmented_share is {self.share:g}: give more than 0, at most 1, or train arm raw")
        if self.rounds < 1:
            raise RecipeError(f"rounds is {self.rounds}: give at least 1")
        if self.augmentation.variants < 1:
            raise RecipeError(f"variants is {self.augmentation.variants}: give at least 1")
        if self.augmentation.steps_apart < 0:
            raise RecipeError(f"steps_apart is {self.augmentation.steps_apart}: give 0 or more")

    @property
    @abstractmethod
    def budget(self) -> TrainingBudget:
        """Of every arm."""

    @property
    @abstractmethod
    def vocabulary(self) -> Model:
        """Of all rows."""

    @abstractmethod
    def mixture(self, arm: str) -> list[Source]:
        """What an arm is trained on. Raises RecipeError if that is nothing."""

    @property
    def max_epochs(self) -> float:
        """The most passes over a text."""
        return flags.MAX_EPOCHS if self.training.max_epochs is None else self.training.max_epochs

    @property
    def choices(self) -> tuple[tuple[str, str, str], ...]:
        """What was chosen where the flags say nothing: setting, value, why."""
        return ()

    @property
    def share(self) -> float:
        """Of the documents that are augmented."""
        given = self.augmentation.augmented_share
        return self.usual_share if given is None else given

    @property
    def rounds(self) -> int:
        """Passages a chain."""
        return self.usual_rounds if self.augmentation.rounds is None else self.augmentation.rounds

    def train(self, arm: str, *, name: str, seed: int, share: float = 1.0) -> Train:
        """The model of one arm. seed: of new weights and of the order of its texts. share: of the budget."""
        wanted = self.augmentation
        of_forms = chosen_shares(wanted.forms, wanted.mixture) if ARMS[arm].pairs == "forms" else ()
        return Train(
            name=name,
            mixture=tuple(self.mixture(arm)),
            settings=self.budget.settings(seed=seed, tokens=round(self.budget.tokens * share)),
            batch_rows=self.budget.batch_rows,
            vocabulary=self.vocabulary,
            shape=self.model.shape if self.model else None,
            base=self.base,
            max_epochs=self.max_epochs,
            choices=(*self.choices, *of_forms),
        )

    def sources(self, arm: str, *, blended: Iterable[BlendPart] = (), share: float = 1.0) -> list[Source]:
        """Rows of an arm's texts, with others blended into them; nothing where the arm has no text of the corpus."""
        if ARMS[arm].pairs == "forms":
            return [
                Source(rows=self.rows(f"{arm}-{part}", texts), share=of_tokens)
                for part, texts, of_tokens in self._in_forms(ARMS[arm])
            ]
        if not (own := self._parts(ARMS[arm])):
            return []
        parts = (*own, *blended)
        texts = Blend(name=f"{arm}-blend", parts=parts) if len(parts) > 1 else parts[0].texts
        return [Source(rows=self.rows(arm, texts), share=share)]

    def rows(self, name: str, texts: Stage[Text]) -> Pack:
        """Texts in rows of the budget's length; those of one passage, where it has several, as far apart as is said."""
        budget = self.budget
        are_apart = any(isinstance(stage, Template) and stage.keeps_apart for stage in tree(texts))
        return Pack(
            name=f"{name}-rows",
            texts=texts,
            vocabulary=self.vocabulary,
            row_tokens=budget.row_tokens,
            rows_apart=max(1, self.augmentation.steps_apart * budget.batch_rows) if are_apart else 1,
        )

    def task_texts(self) -> Template:
        """The task collection as natural text."""
        return task_texts(self.tasks, self.collection, language=self.language, seed=self.seed)

    def held_back(self, per_passage: int) -> HeldBack | None:
        """An exam of the pairs that the reader confirmed, so many a passage; None if nothing reads them again."""
        if not known_prompting(self.augmentation.synthesizer).reader:
            return None
        pairs = self._groups(ARMS["instruct"], self.share)
        return HeldBack(name="exam", groups=pairs, per_passage=per_passage, control_share=0.0, seed=self.seed)

    def named_by(self, arms: Iterable[str]) -> tuple[tuple[str, Named], ...]:
        """Which questions of the exam each set of pairs names, by the first arm that is trained on it."""
        if (exam := self.exam) is None:
            return ()
        found: dict[Stage[Group], str] = {}
        for name in arms:
            arm = ARMS[name]
            if arm.pairs != "none" and arm.has_augmented:
                found.setdefault(self._trained_on(arm, arm.share or self.share), name)
        return tuple((name, Named(name=f"{name}-names", groups=groups, exam=exam)) for groups, name in found.items())

    def _in_forms(self, arm: Arm) -> Iterator[tuple[str, Stage[Text], float]]:
        """Name, texts and share of the tokens of what arm forms is trained on. Raises RecipeError without forms."""
        share = arm.share or self.share
        shares = token_shares(self.augmentation.forms, self.augmentation.mixture)
        texts = self._texts(self._trained_on(arm, share), "apart")
        for name, of_tokens in shares.items():
            of_kind: Stage[Text] = OfKind(name=f"forms-{name}-texts", texts=texts, kind=PARTS[name])
            if name == "raw" and share < 1:
                of_kind = Blend(name="forms-raw-blend", parts=(self._rest(share), BlendPart(texts=of_kind)))
            yield name, of_kind, of_tokens

    def _parts(self, arm: Arm) -> list[BlendPart]:
        """The texts of an arm, without the task collection."""
        share = arm.share or self.share
        if arm.pairs == "none":
            return [BlendPart(texts=Template(name="raw-texts", groups=self.documents))]
        parts = [self._rest(share)] if share < 1 else []
        if arm.has_augmented:
            layout = flags.TEXT_LAYOUTS[arm.pair_layout or self.augmentation.pair_layout]
            suffix = "-apart" if layout == "apart" else ""
            parts.append(BlendPart(texts=self._texts(self._trained_on(arm, share), layout, suffix=suffix)))
        return parts

    def _texts(self, groups: Stage[Group], layout: Literal["drawn", "apart"], *, suffix: str = "") -> Template:
        name = f"{groups.name}{suffix}-texts"
        is_spread = any(isinstance(stage, Variants) for stage in tree(groups))
        return Template(
            name=name, groups=groups, language=self.language, layout=layout, is_spread=is_spread, seed=self.seed
        )

    def _rest(self, share: float) -> BlendPart:
        """The documents that were not drawn."""
        rest = Portion(name=f"rest-{share:g}", documents=self.documents, start=share, draw="augmented", seed=self.seed)
        return BlendPart(texts=Template(name=f"{rest.name}-texts", groups=rest))

    def _trained_on(self, arm: Arm, share: float) -> Stage[Group]:
        """The groups of an arm without what the exam asks."""
        groups = self._groups(arm, share)
        if isinstance(self.exam, HeldBack) or (self.exam is not None and arm.pairs == "gold"):
            return Remainder(name=f"{groups.name}-remainder", groups=groups, exam=self.exam)
        return groups

    def _groups(self, arm: Arm, share: float) -> Stage[Group]:
        """Passages of the drawn documents with pairs."""
        wanted = self.augmentation
        drawn = Portion(name=f"drawn-{share:g}", documents=self.documents, stop=share, draw="augmented", seed=self.seed)
        if arm.pairs == "gold":
            if not wanted.gold_pairs:
                raise RecipeError("arm gold has pairs that people wrote: name their files with --gold-pairs")
            return GoldPairs(name=f"gold-{share:g}", files=wanted.gold_pairs, documents=drawn)
        writer = Writer(
            model=wanted.synthesizer,
            prompting=known_prompting(wanted.synthesizer),
            forms=wanted.forms if arm.pairs == "forms" else "",
            variants=wanted.variants,
            shots=arm.rounds or self.rounds,
            seed=self.seed,
        )
        passages = Split(
            name=f"passages-{share:g}",
            documents=drawn,
            vocabulary=wanted.synthesizer,
            budget_tokens=writer.prompting.passage_tokens,
        )
        label = f"{share:g}-in-{writer.shots}"
        if arm.pairs == "mined":
            mined = Mine(name=f"mined-pairs-{label}", passages=passages, shots=writer.num_shots, seed=self.seed)
            return Verify(name=f"mined-{label}", groups=mined)
        return _sets(writer, f"{'written' if writer.forms else 'synthesized'}-{label}", passages, arm.variants)


def _sets(writer: Writer, name: str, passages: Stage[Document], variants: int | None) -> Stage[Group]:
    """What is written about passages; of pairs, several sets: the first as it always is, the others drawn anew."""
    number = writer.variants if variants is None else variants
    first = writer.groups(name, passages)
    if writer.forms or number == 1:
        return first
    others = (
        replace(writer, temperature=TEMPERATURE, seed=writer.seed + place).groups(f"{name}-again-{place}", passages)
        for place in range(1, number)
    )
    return Variants(name=f"{name}-{number}-variants", sets=(first, *others))


def task_texts(files: tuple[str, ...], collection: flags.TaskCollection, *, language: str, seed: int) -> Template:
    """The task collection as natural text."""
    groups = Convert(name="tasks", files=files, hub=collection.hub, sets=collection.sets, seed=seed)
    return Template(name="tasks-texts", groups=groups, language=language, kind="task", seed=seed)
