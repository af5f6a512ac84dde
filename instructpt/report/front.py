"""The first screen: two questions, each answered in a line, a few numbers and a chart.

    Is this corpus good?     passages with pairs, pairs left out and why, test items looked for or not
    Did it help?             differences between models with and without pairs, and what they show

What was not measured is said, with the command that would measure it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from instructpt.evaluation.comparison import AVERAGE, Comparison, Contrast, Interval, verdict
from instructpt.evaluation.rating import BITS, FROM
from instructpt.records import Score
from instructpt.report.artifacts import Artifact
from instructpt.report.comparison import difference
from instructpt.report.pair_facts import PairFacts, arms
from instructpt.report.scores import by_task, differences, models_of
from instructpt.report.tables import number

Artifacts = Mapping[str, Artifact]
MOST_REASONS = 5
"""In the chart of what was left out."""
MOST_COLUMNS = 4
"""Arms or models shown here; the sections below have all."""
TOLD = (
    ("closed_book", "bits_per_byte"),
    ("closed_book", "f1"),
    ("closed_book/choice", "choice_accuracy"),
    ("held_out", "bits_per_byte"),
    ("unseen", "bits_per_byte"),
    ("unseen", "choice_accuracy"),
    (AVERAGE, ""),
)
"""Task and metric, "" for any: what of a comparison is shown here. Lower bits per byte are better."""
NAMES = {
    "closed_book": "closed-book exam",
    "closed_book/choice": "closed-book exam, options",
    "held_out": "held-out text",
    "unseen": "unseen task sets",
    AVERAGE: "benchmarks",
}
BARS = {"closed_book": "right answers to questions about the texts, book closed", "held_out": "held-out text"}
"""Task of single runs in bits per byte -> what they are bits of; the first that there is is drawn."""
CAUTION = "One training run a model, so a difference may be another seed's. ± is over items alone."
_QUALITY = {
    "well_formed": "well-formed outputs",
    "pairs_per_passage": "pairs a passage, before checks",
    "grounded": "extractive answers found in the passage",
    "duplicate_questions": "questions asked twice",
    "judged_accurate": "answers that a judge called right",
}
"""Metrics of a `Quality` artifact on raw passages."""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What is known of the corpus."""

    arms: Sequence[PairFacts]
    num_more: int
    """Arms that are not shown here."""
    quality: Sequence[tuple[str, str]]
    """Headline numbers of a synthesizer on raw passages, where it was examined."""
    is_text: bool
    """Whether there are documents or texts at all."""
    documents: tuple[int, int] | None
    """Copies that were left out, and documents that were looked at; None if nobody looked."""
    test_rows: tuple[int, int, int] | None
    """Rows of test sets that stand in it, rows in all, test sets; None if nobody looked."""
    is_judged: bool

    def left_out_chart(self) -> dict[str, list[float]]:
        """Reason -> its share of all pairs that were read, by arm, in percent."""
        reasons: Counter[str] = Counter()
        for arm in self.arms:
            reasons.update(arm.left_out)
        return {
            reason: [round(100 * arm.left_out.get(reason, 0) / max(1, arm.num_read), 1) for arm in self.arms]
            for reason, _ in reasons.most_common(MOST_REASONS)
        }


def corpus(artifacts: Artifacts) -> CorpusFacts:
    """Is this corpus good?"""
    every = arms(artifacts)
    # Annotated tasks are gold, not what was made of a corpus: they count only where there is nothing else.
    chosen = [arm for arm in every if arm.stage != "Convert"] or every
    filters = [a for a in artifacts.values() if a.stage == "Filter" and a.settings.get("duplicates")]
    copies = sum(a.tally.dropped.get("exact_duplicate", 0) for a in filters), sum(a.tally.taken for a in filters)
    return CorpusFacts(
        arms=chosen[:MOST_COLUMNS],
        num_more=max(0, len(chosen) - MOST_COLUMNS),
        quality=_quality(artifacts),
        is_text=any(a.makes in ("documents", "texts") for a in artifacts.values()),
        documents=copies if filters else None,
        test_rows=_test_rows(artifacts),
        is_judged=any(artifact.stage in ("Judged", "Judge") for artifact in artifacts.values()),
    )


def _quality(artifacts: Artifacts) -> list[tuple[str, str]]:
    for artifact in artifacts.values():
        if artifact.stage == "Quality":
            found = {s.metric: s for s in artifact.records(Score) if s.task == "passages"}
            rows = [(name, number(found[metric], 3)) for metric, name in _QUALITY.items() if metric in found]
            if rows:
                return rows
    return []


def _test_rows(artifacts: Artifacts) -> tuple[int, int, int] | None:
    searched = [artifact for artifact in artifacts.values() if artifact.stage == "Overlap"]
    rows: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for artifact in searched:
        rows.update(artifact.named_counts("rows"))
        found.update(artifact.named_counts("rows_found"))
    return (found.total(), rows.total(), len(rows)) if searched else None


@dataclass(frozen=True, slots=True)
class Help:
    """Whether pairs helped, as far as it was measured."""

    told: Sequence[str]
    """The answer, in sentences."""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    differences: Mapping[str, Sequence[Interval | None]] | None = None
    """Bits per byte, a chart: from the first arm."""
    arms: Sequence[str] = ()
    bits_per_byte: Mapping[str, Sequence[Score]] | None = None
    """By model, single runs: a chart."""
    of: str = ""
    """What these are of."""
    num_more: int = 0
    """Arms or models that are not shown here."""
    has_comparison: bool = False


def models(comparisons: Sequence[Comparison], scores: Sequence[Score], *, is_trained: bool) -> Help:
    """Did it help? scores: of all models, as the section on scores has them."""
    if comparisons:
        return compared(comparisons[0])
    names = models_of(scores)
    if len(names) > 1:
        return _single_runs(scores, names)
    if names or is_trained:
        return Help(("One model alone cannot tell.",))
    return Help(("Not measured: no model was trained on it here.",))


def compared(found: Comparison) -> Help:
    """Differences from the first arm with what they show, the shown arms' most telling measures."""
    others = found.arms[1:][:MOST_COLUMNS]
    if not others:
        return Help(("One arm alone cannot tell: give --arms raw instruct.",), has_comparison=True)
    chosen = [measure for measure in _told(found) if any(arm in measure.differences for arm in others)]
    in_bits = [measure for measure in chosen if measure.metric == "bits_per_byte"]
    return Help(
        told=[_summary(arm, chosen, found) for arm in others],
        columns=("", *(f"{arm} – {found.arms[0]}" for arm in others)),
        rows=[(f"{_name(m)}, {m.metric}", *(difference(m, arm, digits=3) for arm in others)) for m in chosen],
        differences={_name(m): [None, *(m.differences.get(arm) for arm in others)] for m in in_bits},
        arms=found.arms[: 1 + len(others)],
        num_more=len(found.arms) - 1 - len(others),
        has_comparison=True,
    )


def _told(found: Comparison) -> list[Contrast]:
    """The measures shown here, at the largest budget, in the order of `TOLD` within each phase."""
    largest = max((measure.tokens for measure in found.measures), default=0)
    at_largest = [measure for measure in found.measures if measure.tokens == largest]
    return [
        measure
        for phase in dict.fromkeys(measure.phase for measure in at_largest)
        for task, metric in TOLD
        for measure in at_largest
        if (measure.phase, measure.task) == (phase, task) and metric in ("", measure.metric)
    ]


def _summary(arm: str, measures: Sequence[Contrast], found: Comparison) -> str:
    """One arm against the first in a sentence; no difference counts unless its interval excludes zero."""
    shown = Counter(verdict(m.metric, m.differences[arm]) for m in measures if arm in m.differences)
    num_seeds = len(found.seeds)
    if num_seeds < 2:
        return f"{arm} against {found.arms[0]}: cannot be told from one seed."
    alone = sum(arm in m.differences and m.differences[arm].half is None for m in measures)
    rest = shown.total() - shown["better"] - shown["worse"] - alone
    parts = [f"{word} in {shown[word]}" for word in ("better", "worse") if shown[word]]
    parts += [f"no difference shown in {rest}"] if rest else []
    parts += [f"cannot be told in {alone} (one seed)"] if alone else []
    return f"{arm} against {found.arms[0]}, {num_seeds} seeds: {', '.join(parts)} of {shown.total()} measures."


def _name(measure: Contrast) -> str:
    return NAMES.get(measure.task, measure.task) + (f", {measure.phase}" if measure.phase else "")


def _single_runs(scores: Sequence[Score], names: Sequence[str]) -> Help:
    """Models of one run each: numbers, and that they show nothing of another run."""
    shown = list(names)[:MOST_COLUMNS]
    in_bits = {task: {s.model: s for s in scores if (s.task, s.metric) == (task, BITS)} for task in BARS}
    task = next((task for task, by_model in in_bits.items() if len(by_model) > 1), "")
    told = [_difference(s) for s in differences(scores) if s.task == task and s.model in shown]
    return Help(
        told=(*told, CAUTION if told else f"Cannot be told: {CAUTION[0].lower()}{CAUTION[1:]}"),
        columns=("", *shown),
        rows=list(_single_rows(scores, shown)),
        bits_per_byte={model: [in_bits[task][model]] for model in shown if model in in_bits[task]} if task else None,
        of=BARS.get(task, ""),
        num_more=len(names) - len(shown),
    )


def _difference(score: Score) -> str:
    """One model against another on the same questions: a number, and no word for it, since one run shows nothing."""
    other, change = score.metric.partition(FROM)[2], number(score, 2, signed=True)
    return f"{score.model} against {other}, the same {score.count:,} questions: {change} bits per byte."


def _single_rows(scores: Sequence[Score], shown: Sequence[str]) -> Iterator[tuple[str, ...]]:
    chosen = (s for s in scores if (s.task, s.metric) in TOLD or (s.metric == "acc" and "/" not in s.task))
    for task, by_metric in by_task(chosen).items():
        for metric, by_model in by_metric.items():
            yield (f"{NAMES.get(task, task)}, {metric}", *(number(by_model.get(model), 2) for model in shown))
