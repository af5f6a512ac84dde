"""Arms: what the models of an experiment are trained on, with one thing changed at a time.

    arm               the texts to augment (paper: 1/5)       the other texts    task collection
    raw               raw                                     raw                                   Vanilla
    mixed             raw                                     raw                mixed in           Mix
    instruct          with pairs, chains of 2 passages        raw                mixed in           Instruct
    mined             with pairs mined by rules               raw                mixed in           ablation (table 4)
    gold              with pairs that people wrote            raw                mixed in           what pairs could do
    one_round         with pairs, each passage alone          raw                mixed in           ablation
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

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from instructpt.artifacts import Stage
from instructpt.assembly.blending import Blend, BlendPart, OfKind
from instructpt.collection.questions import GoldPairs
from instructpt.corpus.portions import Portion
from instructpt.corpus.stages import Split
from instructpt.errors import RecipeError
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.held_back import HeldBack, Remainder
from instructpt.mining.stages import Mine
from instructpt.recipes.augment import is_known, known_prompting, synthesized, written
from instructpt.recipes.flags import Augmentation, PairLayout
from instructpt.recipes.form_mixture import PARTS, FormMixture
from instructpt.records import Document, Group, Text
from instructpt.synthesis.stages import check_writes_forms
from instructpt.templates.stages import Template
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
    has_augmented: bool = True
    """Whether the documents that were drawn are trained on at all."""
    has_tasks: bool = True
    pair_layout: PairLayout | None = None
    """None: the recipe's."""


ARMS = {
    "raw": Arm(has_tasks=False),
    "mixed": Arm(),
    "instruct": Arm(pairs="synthesized"),
    "instruct_apart": Arm(pairs="synthesized", pair_layout="apart"),
    "mined": Arm(pairs="mined"),
    "gold": Arm(pairs="gold"),
    "one_round": Arm(pairs="synthesized", rounds=1),
    "without_corpora": Arm(pairs="synthesized", has_augmented=False),
    "without_tasks": Arm(pairs="synthesized", has_tasks=False),
    "share_half": Arm(pairs="synthesized", share=0.5),
    "share_all": Arm(pairs="synthesized", share=1.0),
    "forms": Arm(pairs="forms", has_tasks=False),
}
"""A new arm is a line here."""
DOMAIN_ARMS = (
    "raw",
    "mixed",
    "instruct",
    "instruct_apart",
    "mined",
    "gold",
    "one_round",
    "without_corpora",
    "share_half",
    "forms",
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Documents to train on, and how those of an arm that are augmented get their pairs: shared by all arms."""

    documents: Stage[Document]
    share: float
    """Of the documents that are augmented."""
    rounds: int
    """Passages a chain."""
    synthesizer: str
    pair_layout: PairLayout
    language: str
    seed: int
    writing: FormMixture = field(default_factory=FormMixture)
    """Of arm forms."""
    gold_pairs: tuple[str, ...] = ()
    """Files of pairs that people wrote about the documents."""
    exam: Questions | HeldBack | None = None
    """What it asks stands in no gold pair and, if it was made of the corpus' own pairs, in none of any arm."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise RecipeError(f"augmented_share is {self.share:g}: give more than 0, at most 1, or train arm raw")
        if self.rounds < 1:
            raise RecipeError(f"rounds is {self.rounds}: give at least 1")

    @classmethod
    def of(
        cls,
        documents: Stage[Document],
        augmentation: Augmentation,
        *,
        share: float,
        rounds: int,
        language: str,
        seed: int,
    ) -> Corpus:
        """As the flags describe it. share, rounds: where they say nothing."""
        return cls(
            documents=documents,
            share=share if augmentation.augmented_share is None else augmentation.augmented_share,
            rounds=rounds if augmentation.rounds is None else augmentation.rounds,
            synthesizer=augmentation.synthesizer,
            pair_layout=augmentation.pair_layout,
            language=language,
            seed=seed,
            writing=FormMixture(forms=augmentation.forms, variants=augmentation.variants, shares=augmentation.mixture),
            gold_pairs=augmentation.gold_pairs,
        )

    def held_back(self, per_passage: int) -> HeldBack | None:
        """An exam of the pairs that the reader confirmed, so many a passage; None if nothing reads them again."""
        if not known_prompting(self.synthesizer).reader:
            return None
        pairs = self._groups(ARMS["instruct"], self.share)
        return HeldBack(name="exam", groups=pairs, per_passage=per_passage, control_share=0.0, seed=self.seed)

    def sources(self, arm: Arm) -> tuple[tuple[str, Stage[Text], float], ...]:
        """Name, texts and share of the tokens of what arm forms is trained on. Raises RecipeError without forms."""
        share = arm.share or self.share
        groups = self._trained_on(arm, share)
        texts = Template(
            name=f"{groups.name}-texts", groups=groups, language=self.language, layout="apart", seed=self.seed
        )
        found = []
        for name, part in self.writing.parts().items():
            of_kind: Stage[Text] = OfKind(name=f"forms-{name}-texts", texts=texts, kind=PARTS[name])
            if name == "raw" and share < 1:
                of_kind = Blend(name="forms-raw-blend", parts=(self._rest(share), BlendPart(texts=of_kind)))
            found.append((name, of_kind, part))
        return tuple(found)

    def parts(self, arm: Arm) -> tuple[BlendPart, ...]:
        """The texts of an arm, without the task collection. Raises RecipeError if there are none."""
        share = arm.share or self.share
        if arm.pairs == "none":
            return (BlendPart(texts=Template(name="raw-texts", groups=self.documents)),)
        parts = []
        if share < 1:
            parts.append(self._rest(share))
        if arm.has_augmented:
            groups = self._trained_on(arm, share)
            is_apart = (arm.pair_layout or self.pair_layout) == "apart"
            texts = Template(
                name=f"{groups.name}{'-apart' if is_apart else ''}-texts",
                groups=groups,
                language=self.language,
                layout="apart" if is_apart else "drawn",
                seed=self.seed,
            )
            parts.append(BlendPart(texts=texts))
        return tuple(parts)

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
        drawn = Portion(name=f"drawn-{share:g}", documents=self.documents, stop=share, draw="augmented", seed=self.seed)
        if arm.pairs == "gold":
            if not self.gold_pairs:
                raise RecipeError("arm gold has pairs that people wrote: name their files with --gold-pairs")
            return GoldPairs(name=f"gold-{share:g}", files=self.gold_pairs, documents=drawn)
        prompting = known_prompting(self.synthesizer)
        if arm.pairs == "forms" and is_known(self.synthesizer):
            check_writes_forms(self.synthesizer, prompting)
        passages = Split(
            name=f"passages-{share:g}",
            documents=drawn,
            vocabulary=self.synthesizer,
            budget_tokens=prompting.passage_tokens,
        )
        rounds = arm.rounds or self.rounds
        label = f"{share:g}-in-{rounds}"
        if arm.pairs == "forms":
            return written(
                f"written-{label}",
                passages,
                self.synthesizer,
                prompting,
                forms=self.writing.forms,
                variants=self.writing.variants,
                shots=rounds,
                seed=self.seed,
            )
        if arm.pairs == "mined":
            mined = Mine(name=f"mined-pairs-{label}", passages=passages, shots=rounds, seed=self.seed)
            return Verify(name=f"mined-{label}", groups=mined)
        return synthesized(f"synthesized-{label}", passages, self.synthesizer, prompting, shots=rounds, seed=self.seed)
