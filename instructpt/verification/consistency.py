"""Is a pair right? What a model is asked for that: the question once more, or its opinion. `texts` asks about texts.

    groups --Verify (checks)--> groups --Consistency--> groups --Judged--> groups
                                           |                        |
                                  the question again,        a rubric, a score from 1 to 5,
                                  answers compared           low ones left out

A pair that is kept carries how much the two answers agree, and where in its passage its answer stands
(`Pair.agreement`, `Pair.span`). No passage is lost; a pair that is left out becomes a reject with its reason. A pair
that the model gave no usable answer about is kept and counted ("unanswered/REASON"): a request that failed says nothing
about the pair.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import Tally, count_left_out, count_pairs
from instructpt.engines.models import Model, Prompting
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.seeds import digest
from instructpt.synthesis.forms import by_label, form_sources
from instructpt.synthesis.opening import ModelStage
from instructpt.verification.texts import INCONSISTENT, Forms, confirmed_texts, count_parts, questions
from instructpt.verification.texts import agreement as claim_agreement
from instructpt.words import overlap
from instructpt.words.batches import batches
from instructpt.words.evidence import bearing, count_covered

if TYPE_CHECKING:
    from instructpt.synthesis.asking import Synthesis
    from instructpt.verification.judge import Server

_UNANSWERED = "unanswered/"
UNKNOWN_CATEGORY = "unknown_category"
"""Why a reader is not asked about a pair."""
JUDGED_WRONG = "judged_wrong"
MIN_F1 = 0.5
"""Of an answer with the second one. Half of the words: "the hut" and "in the old hut" agree, two names do not."""
MIN_CONTAINED_WORDS = 2
"""Of a short answer that counts as part of a free one: a single word may stand anywhere."""
MIN_SCORE = 4.0
"""Of 5, in the rubric that ships: right, if not to the letter."""
BATCH_PAIRS = 4_096
"""Asked and held at a time; the engine runs dry once in so many answers of a shard, and other shards fill it."""


@dataclass(frozen=True, kw_only=True)
class Consistency(ModelStage):
    """Groups without the pairs whose question, asked again beside the passage, gets another answer.

    The model sees one passage and one question, no examples and no other pairs. It may be the one that wrote the pairs
    or another, best a reader (`recipes.reader`); what a model does not know it cannot confirm, so a weak one rejects
    much that is right. A reader is asked for answers without reasons, and its word that the passage does not say is
    another answer. It is not asked about categories that it was not tuned on, such as titles: these pairs are kept.

    A reader whose folder names a `min_likelihood` writes no answer: it says how likely it holds the pair's own, which
    tells more of answers that people gave (docs/verification.md). Of texts in forms it is asked what they
    claim (`texts`), and answers: of a sentence that says the same, the likelihood says little.
    """

    version = 3

    groups: Stage[Group]
    model: Model
    min_f1: float = MIN_F1
    """Word F1 of the two answers. Of a choice the options must be the same."""
    min_likelihood: float | None = field(default=None, metadata={"later": True})
    """Of a pair's answer, for a reader; None for what its own folder names."""
    max_new_tokens: int = 64
    forms: str = field(default="", metadata={"later": True})
    """Those whose texts are to be confirmed, as `--forms` has them; other texts stay."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """See `ModelStage`; and what the forms say."""
        return {**super().sources(run), **form_sources(self.forms)}

    def __post_init__(self) -> None:
        for name in ("min_f1", "min_likelihood"):
            if (least := getattr(self, name)) is not None and not 0 < least <= 1:
                raise RecipeError(f"{self.name}: {name} is {least:g}: give a share above 0, up to 1")

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, doubtful pairs turned into rejects; what the open shard's ledger holds is not asked."""
        prompting = self.prompting(run)
        with self.begun(index, run) as synthesis:
            num_asked, started, forms = 0, time.monotonic(), by_label(self.forms)
            for groups in _batches(run.take(self.groups, index)):
                asked = _pairs(groups)
                verdicts = self._verdicts(asked, synthesis, prompting)
                said = [one for group in groups for shot in group.shots for one in questions(shot, forms)]
                agreements = iter(self._agreements(said, synthesis, prompting, run.tally))
                confirm = functools.partial(confirmed_texts, forms=forms, agreements=agreements, least=self.min_f1)
                num_asked += len(asked) + len(said)
                rate = num_asked / (time.monotonic() - started)
                run.progress.news(self.name, {"asked": f"{num_asked:,}", "pairs/s": f"{rate:.1f}"})
                for group in _without(groups, verdicts, run, of_texts=confirm, forms=forms):
                    count_covered(group, run.tally)
                    yield group

    def _verdicts(
        self, asked: Sequence[tuple[Document, Pair]], synthesis: Synthesis, prompting: Prompting
    ) -> list[Pair | Reject]:
        """Each pair with its agreement, a reject if it is doubtful, or one `unanswered/...` if nothing can be said."""
        is_reader = bool(prompting.unanswerable)
        questions = [(document, replace(pair, rationale=None) if is_reader else pair) for document, pair in asked]
        refused = _refused(questions, synthesis, prompting)
        likelihood = prompting.min_likelihood if is_reader else None
        found = _opinions(questions, synthesis, refused, is_scored=likelihood is not None)
        least = self.min_f1 if likelihood is None else likelihood
        verdicts: list[Pair | Reject] = []
        for (document, pair), (agreement, said) in zip(asked, found, strict=True):
            if agreement is None:
                verdicts.append(Reject("", f"{_UNANSWERED}{said}"))
            elif agreement >= least:
                span = bearing(document.text, question=pair.question, answer=pair.answer)
                verdicts.append(replace(pair, span=span, agreement=round(agreement, 4)))
            else:
                verdicts.append(Reject(f"{pair.question}\n{pair.answer}\n{said}", INCONSISTENT))
        return verdicts

    def _agreements(
        self, said: Sequence[tuple[Document, Pair]], synthesis: Synthesis, prompting: Prompting, tally: Tally
    ) -> list[float | None]:
        """How much the model's answers say what texts claim; None, and counted, where there is no answer."""
        from instructpt.synthesis.responses import answers_alone

        found = list[float | None]()
        answers = answers_alone(said, synthesis=synthesis, refused=_refused(said, synthesis, prompting))
        for (_, pair), again in zip(said, answers, strict=True):
            if isinstance(again, Reject):
                tally.count(f"{_UNANSWERED}{again.reason}")
                found.append(None)
            elif prompting.unanswerable and overlap.exact_match(again.answer, prompting.unanswerable):
                found.append(0.0)
            else:
                found.append(claim_agreement(pair.answer, again.answer))
        return found

    def prompting(self, run: Run) -> Prompting:
        """See `ModelStage`."""
        return super().prompting(run).wished(min_likelihood=self.min_likelihood)


def _refused(asked: Sequence[tuple[Document, Pair]], synthesis: Synthesis, prompting: Prompting) -> list[str | None]:
    """Why each question is not to be asked; None where it is. A reader knows the categories that it was tuned on."""
    known = {None, *prompting.answers} if prompting.unanswerable and prompting.answers else None
    return [
        synthesis.dialect.refuse(pair) if known is None or pair.category in known else UNKNOWN_CATEGORY
        for _, pair in asked
    ]


def _opinions(
    asked: Sequence[tuple[Document, Pair]], synthesis: Synthesis, refused: Sequence[str | None], *, is_scored: bool
) -> Iterator[tuple[float | None, str]]:
    """How far a model agrees with each pair's answer, and its own answer, or how likely it holds the pair's; None, and
    why, where it cannot say."""
    from instructpt.synthesis.responses import answers_alone, likelihoods

    if is_scored:
        for likelihood in likelihoods(asked, synthesis=synthesis, refused=refused):
            if isinstance(likelihood, Reject):
                yield None, likelihood.reason
            else:
                yield likelihood, f"(held likely to {likelihood:.3f})"
        return
    answers = answers_alone(asked, synthesis=synthesis, refused=refused)
    for (_, pair), again in zip(asked, answers, strict=True):
        if isinstance(again, Reject):
            yield None, again.reason
        else:
            yield agree(pair, again.answer, kind=synthesis.answers.get(pair.category or "", "")), again.answer


def agree(pair: Pair, answer: str, *, kind: str = "") -> float:
    """How much another answer says what a pair's does, 0 to 1.

    Of a choice the options are the same or not. Else word F1; and where an answer is in words of its own (`kind` is
    "free", or it is longer than a span), the share of the shorter answer's words that the longer one holds, if that is
    more: "because it rained" is part of "they stayed at home because it rained hard", two names are not.
    """
    if pair.options:
        return float(overlap.exact_match(pair.answer, answer))
    ours, theirs = (overlap.content_words(text) for text in (pair.answer, answer))
    f1, shorter = overlap.f1(pair.answer, answer), min(len(ours), len(theirs))
    is_free = kind == "free" or len(ours) > overlap.MAX_EXTRACTIVE_WORDS
    if not is_free or shorter < MIN_CONTAINED_WORDS:
        return f1
    return max(f1, (Counter(ours) & Counter(theirs)).total() / shorter)


@dataclass(frozen=True, kw_only=True)
class AsksJudge:
    """What stages have in common that ask a judge."""

    model: str
    """The judge: what its server calls it."""
    url: str = field(repr=False, compare=False, metadata={"note": True})
    """Where it answers, with commas if there are several. Where is not what: a judge that moves is the same judge."""

    def __post_init__(self) -> None:
        self.server()  # what cannot be asked is refused before anything is made

    def server(self) -> Server:
        """Where it answers. Raises RecipeError, as `Server` does."""
        from instructpt.verification.judge import Server

        return Server(self.url, self.model)


@dataclass(frozen=True, kw_only=True)
class Judged(AsksJudge, Stage[Group]):
    """Groups without the pairs that a judge, asked with a rubric, scores below a threshold."""

    placement = "driver"

    groups: Stage[Group]
    rubric: str = ""
    """A file with {passage}, {question} and {answer} that asks for {"score": ...}; "" is the one that ships."""
    min_score: float = MIN_SCORE
    """Pairs below it are left out."""

    def sources(self, run: Run) -> Mapping[str, str]:
        """The rubric by content."""
        from instructpt.verification.judge import load_rubric

        return {"rubric": digest(load_rubric(self.rubric)).hex()}

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, pairs with low scores turned into rejects; kept replies are not asked for again."""
        from instructpt.verification.judge import load_rubric, rate

        folder, num_done = run.workspace(self, index), 0
        for groups in _batches(run.take(self.groups, index)):
            scores = rate(
                _pairs(groups),
                server=self.server(),
                replies=folder / "ledger.sqlite",
                rubric=load_rubric(self.rubric),
            )
            verdicts = [
                Reject("", f"{_UNANSWERED}{score.reason}")
                if isinstance(score, Reject)
                else Reject(f"{pair.question}\n{pair.answer}", JUDGED_WRONG)
                if score < self.min_score
                else pair
                for (_, pair), score in zip(_pairs(groups), scores, strict=True)
            ]
            num_done += len(scores)
            run.progress.news(self.name, {"judged": f"{num_done:,}"})
            yield from _without(groups, verdicts, run)


def _batches(groups: Iterable[Group]) -> Iterator[list[Group]]:
    def num_asked(group: Group) -> int:
        return sum(len(shot.pairs) + len(shot.writings) for shot in group.shots)

    return batches(groups, size=num_asked, enough=BATCH_PAIRS)


def _pairs(groups: Sequence[Group]) -> list[tuple[Document, Pair]]:
    return [(shot.document, pair) for group in groups for shot in group.shots for pair in shot.pairs]


def _without(
    groups: Sequence[Group],
    verdicts: Sequence[Pair | Reject],
    run: Run,
    *,
    of_texts: Callable[[Shot], Shot] = lambda shot: shot,
    forms: Forms = MappingProxyType({}),
) -> Iterator[Group]:
    """The groups with the pairs that the verdicts leave; those that nothing could be said of stay and are counted.

    of_texts: what is left of a shot's texts; of the forms that are looked at.
    """
    left = iter(verdicts)
    for group in groups:
        shots = []
        for shot in group.shots:
            kept, gone = [], []
            for pair in shot.pairs:
                verdict = next(left)
                if isinstance(verdict, Pair):
                    kept.append(verdict)
                elif verdict.reason.startswith(_UNANSWERED):
                    run.tally.count(verdict.reason)
                    kept.append(pair)
                else:
                    gone.append(verdict)
            shots.append(of_texts(replace(shot, pairs=tuple(kept), rejects=(*shot.rejects, *gone))))
        checked = Group(group.id, tuple(shots))
        count_left_out(group, checked, run.tally)
        count_parts(group, forms, run.tally)
        yield count_pairs(checked, run.tally)
