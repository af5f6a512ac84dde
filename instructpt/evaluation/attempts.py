"""How good a synthesizer is: contexts drawn from annotated sets, what a model writes for them, what that is worth.

    annotated sets, passages -> Draw ---------> exam: each context behind a few others of its set
                                 exam -> Attempt (pairs)   --> what the model wrote for each passage  -.
                                 exam -> Attempt (answers) --> its answers to people's questions  ------+-> Quality
                                                                                                       '    -> scores
The same exam serves any number of models: a base model stands beside the one that was tuned from it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.engines.models import Model, Prompting, prompting_of
from instructpt.errors import RecipeError
from instructpt.evaluation import drawing
from instructpt.progress.view import time_left
from instructpt.records import Group, Reject, Score, Shot
from instructpt.seeds import digest
from instructpt.synthesis.mix import draw, mix_of, parse_mix
from instructpt.synthesis.opening import ModelStage
from instructpt.verification.consistency import AsksJudge
from instructpt.verification.judge import LANGUAGE, Verdict, judge, load_template

if TYPE_CHECKING:
    from instructpt.evaluation.quality import Output
    from instructpt.synthesis.asking import Synthesis
    from instructpt.synthesis.chains import Prompt
    from instructpt.synthesis.mix import Mix

Mode = Literal["pairs", "answers"]


@dataclass(frozen=True, kw_only=True)
class Attempt(ModelStage):
    """What a model makes of an exam: a group of one shot for each of its groups, with all that was no pair as rejects.

    Mode "pairs": pairs for the passage, as in synthesis but unchecked. Mode "answers": its gold pairs' questions with
    the model's own answers, one request a question.
    """

    may_leave_nothing = True

    takes: ClassVar[str] = "groups"

    exam: Stage[Group]
    model: Model
    mode: Mode = "pairs"
    examples: int = 0
    """So many of the exam's examples at most, as many of them as fit; 0 = zero-shot."""
    max_questions: int = 4
    """A context in mode "answers", evenly spaced."""
    categories: str = ""
    """What to ask for in mode "pairs", as in `Synthesize`."""
    pairs: int = 5
    """A passage, where categories are asked for."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.categories and self.mode != "pairs":
            raise RecipeError(
                f"categories are {self.categories!r} in mode {self.mode!r}: only pairs are asked for by kind"
            )

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The exam's groups in order; what the open shard's ledger holds is not asked again."""
        groups = list(run.records(self.exam, index))
        run.tally.take(len(groups))
        run.tally.keep(len(groups))
        with self.begun(index, run) as synthesis:
            if self.mode == "pairs":
                shots = self._write(groups, synthesis, mix_of(self.prompting(run)), run)
            else:
                shots = self._answer(groups, synthesis, run)
            for group, shot in zip(groups, shots, strict=True):
                yield count_pairs(Group(group.id, (shot,)), run.tally)

    def _write(self, groups: Sequence[Group], synthesis: Synthesis, mix: Mix | None, run: Run) -> list[Shot]:
        from instructpt.synthesis.asking import prompts_for
        from instructpt.synthesis.chains import joined
        from instructpt.synthesis.responses import read_pairs

        asked = [
            prompts_for(
                synthesis,
                self._examples(group),
                passage=group.shots[-1].document.text,
                categories=draw(mix, num_pairs=self.pairs, seed=self.seed, place=(0, number)) if mix else (),
            )
            for number, group in enumerate(groups)
        ]
        responses = iter(self._respond([prompt for found in asked for prompt in found], synthesis, run))
        return [
            joined(
                group.shots[-1].document,
                [
                    read_pairs(group.shots[-1].document, prompt, next(responses), dialect=synthesis.dialect)
                    for prompt in found
                ],
            )
            for group, found in zip(groups, asked, strict=True)
        ]

    def _answer(self, groups: Sequence[Group], synthesis: Synthesis, run: Run) -> list[Shot]:
        from instructpt.synthesis.dialects import keep_writable
        from instructpt.synthesis.responses import fit_question, read_answers

        questions = []
        for group in groups:
            target = keep_writable(replace(group, shots=group.shots[-1:]), dialect=synthesis.dialect).shots[0]
            run.tally.count("questions_not_writable", len(group.shots[-1].pairs) - len(target.pairs))
            places = drawing.spread(len(target.pairs), number=self.max_questions)
            questions.append([target.pairs[place] for place in places])
        prompts = [
            fit_question(
                self._examples(group),
                passage=group.shots[-1].document.text,
                pair=pair,
                dialect=synthesis.dialect,
                vocabulary=synthesis.vocabulary,
                budget_tokens=synthesis.budget_tokens,
            )
            for group, asked in zip(groups, questions, strict=True)
            for pair in asked
        ]
        responses = iter(self._respond(prompts, synthesis, run))
        return [
            read_answers(group.shots[-1].document, asked, [next(responses) for _ in asked], dialect=synthesis.dialect)
            for group, asked in zip(groups, questions, strict=True)
        ]

    def _respond(self, prompts: Sequence[Prompt | None], synthesis: Synthesis, run: Run) -> list[Any]:
        from instructpt.synthesis.responses import respond

        started = time.monotonic()

        def tell(num_done: int, num_tokens: int) -> None:
            news = {
                "asked": f"{num_done:,}/{len(prompts):,}",
                "tok/s": num_tokens / (time.monotonic() - started),
                "left": time_left(started, done=num_done, total=len(prompts)),
            }
            run.progress.news(self.name, news)

        return list(respond(prompts, synthesis=synthesis, on_progress=tell))

    def _examples(self, group: Group) -> Sequence[Shot]:
        earlier = group.shots[:-1]
        return earlier[len(earlier) - min(self.examples, len(earlier)) :]

    def prompting(self, run: Run) -> Prompting:
        """See `ModelStage`."""
        own = prompting_of(self.model, run)
        return own.wished(dialect=self.dialect, mix=self.categories, pairs=self.pairs)


@dataclass(frozen=True, kw_only=True)
class Judge(AsksJudge, Stage[Score]):
    """The share of pairs that a judge calls accurate, and relevant. Pairs without a verdict are counted, by reason."""

    takes: ClassVar[str] = "pairs"
    placement = "driver"
    is_single = True  # a mean over all

    outputs: Stage[Group]
    """Groups with pairs, such as an `Attempt` in mode "pairs"."""
    num_pairs: int = 200
    """Evenly spaced over all."""
    language: str = LANGUAGE
    """Of the prompt."""
    seed: int = 0

    def sources(self, run: Run) -> Mapping[str, str]:
        """The prompt by content."""
        return {"prompt": digest(load_template(self.language)).hex()}

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """Two scores, named like the artifact."""
        from instructpt.evaluation.bootstrap import measure, scores

        shots = [shot for group in run.records(self.outputs) for shot in group.shots]
        places = [(number, pair) for number, shot in enumerate(shots) for pair in shot.pairs]
        chosen = [places[place] for place in drawing.spread(len(places), number=self.num_pairs)]
        items = [(shots[number].document, pair) for number, pair in chosen]
        run.tally.take(len(items))
        started = time.monotonic()

        def tell(num_done: int) -> None:
            left = time_left(started, done=num_done, total=len(items))
            run.progress.news(self.name, {"judged": f"{num_done:,}/{len(items):,}", "left": left})

        replies = run.workspace(self, index) / "ledger.sqlite"
        opinions = judge(items, server=self.server(), replies=replies, language=self.language, on_progress=tell)
        by_passage: dict[int, list[Verdict]] = {}
        for (number, _), opinion in zip(chosen, opinions, strict=True):
            if isinstance(opinion, Reject):
                run.tally.drop(opinion.reason, opinion.text)
            else:
                run.tally.keep()
                by_passage.setdefault(number, []).append(opinion)
        passages = list(by_passage.values())
        measures = [
            measure("judged_accurate", ([float(v.accurate) for v in verdicts] for verdicts in passages)),
            measure("judged_relevant", ([float(v.relevant) for v in verdicts] for verdicts in passages)),
        ]
        yield from scores(measures, task=self.outputs.name, model_name=self.model, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One model in one exam."""

    task: str
    """What a table calls the exam: "unseen/zero-shot"."""
    model: str
    """What a table calls the model."""
    exam: Stage[Group]
    pairs: Stage[Group] | None = None
    """An `Attempt` in mode "pairs"."""
    answers: Stage[Group] | None = None
    """An `Attempt` in mode "answers"."""
    read: Stage[Group] | None = field(default=None, metadata={"later": True})
    """The pairs, after a reader has answered their questions again."""
    judged: Stage[Score] | None = None
    """What a judge made of the pairs."""
    by_domain: bool = False
    """The same numbers for each domain too, under "{task}/{domain}"."""


@dataclass(frozen=True, kw_only=True)
class Quality(Stage[Score]):
    """Everything that is measured of some models in some exams, a shard a trial: `evaluation.quality.METRICS`."""

    takes: ClassVar[str] = "passages"

    trials: tuple[Trial, ...]
    synthesizer: Model | None = None
    """Whose `synthesizer.json` says in which categories answers are spans; without it, short answers count as such."""
    seed: int = 0

    def num_shards(self, run: Run) -> int:
        """One a trial."""
        return len(self.trials)

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of one trial."""
        from instructpt.evaluation.bootstrap import scores
        from instructpt.evaluation.quality import answer_measures, pair_measures, reading_measures

        trial = self.trials[index]
        answers = prompting_of(self.synthesizer, run).answers if self.synthesizer is not None else {}
        of_pairs = partial(pair_measures, answers_by_category=answers)
        asked = ((trial.pairs, of_pairs), (trial.answers, answer_measures), (trial.read, reading_measures))
        for attempt, measured in asked:
            for task, outputs in _by_task(trial, _outputs(trial, attempt, run)):
                yield from scores(measured(outputs), task=task, model_name=trial.model, seed=self.seed)
                if attempt is trial.pairs:
                    yield from _asked_shares(trial, task, len(outputs))
        if trial.judged is not None:
            for score in run.records(trial.judged):
                yield replace(score, task=trial.task, model=trial.model)


def _outputs(trial: Trial, attempt: Stage[Group] | None, run: Run) -> list[Output]:
    """What the model made of each passage of an exam, beside what people did."""
    from instructpt.evaluation.quality import Output

    if attempt is None:
        return []
    gold = {group.id: group.shots[-1].pairs for group in run.records(trial.exam)}
    found = []
    for group in run.take(attempt):
        run.tally.keep()
        found.append(Output(group.shots[0], gold[group.id]))
    return found


def _by_task(trial: Trial, outputs: Sequence[Output]) -> Iterator[tuple[str, Sequence[Output]]]:
    yield trial.task, outputs
    if trial.by_domain:
        domains: dict[str, list[Output]] = {}
        for output in outputs:
            domains.setdefault(drawing.domain(output.written.document), []).append(output)
        yield from ((f"{trial.task}/{name}", members) for name, members in sorted(domains.items()))


def _asked_shares(trial: Trial, task: str, num_passages: int) -> Iterator[Score]:
    """The share of pairs of each category that was asked for, to stand beside what was written."""
    if isinstance(trial.pairs, Attempt) and trial.pairs.categories:
        for name, share in parse_mix(trial.pairs.categories).shares:
            yield Score(task, f"asked/{name}", share, None, num_passages * trial.pairs.pairs, trial.model)
