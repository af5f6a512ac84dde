"""A language model's opinion of pairs, where an endpoint answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from instructpt.artifacts import Run, Stage
from instructpt.evaluation.drawing import spread
from instructpt.progress.in_words import time_left
from instructpt.records import Group, Reject, Score
from instructpt.seeds import digest
from instructpt.verification.consistency import AsksJudge
from instructpt.verification.judge import LANGUAGE, Verdict, judge, load_template


@dataclass(frozen=True, kw_only=True)
class Judge(AsksJudge, Stage[Score]):
    """The share of pairs that a judge calls accurate, and relevant. Pairs without a verdict are counted, by reason."""

    takes: ClassVar[str] = "pairs"
    makes: ClassVar[str] = "scores"
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
        chosen = [places[place] for place in spread(len(places), number=self.num_pairs)]
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
