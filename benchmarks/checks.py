"""What the checks on pairs find and what they break: pairs that people annotated, half of them spoilt in named ways.

    python benchmarks/checks.py [--consistency MODEL] [--judge URL --judge-model NAME]      a table for people
    instructpt bench checks                                                                 the same as numbers

    annotated sets --Convert--> groups --Spoil--> 150 pairs as they are    label ""
                                                  150 spoilt               "number", "other_answer", "option" ...
                                                          |
                     a check, or a model, rejects some --rates--> precision  of those rejected, how many were spoilt
                                                                  recall     of those spoilt in a way, how many rejected
                                                                  false      of those as they are, how many rejected

A label is in the meta of the shot's document ("labels", one for each pair), where no check looks. Half of the pairs are
spoilt, so a check that rejects at random has a precision of a half. Annotators err too: a "false" reject may be right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.spoiling import EASY, WAYS
from instructpt.artifacts import Run, Stage
from instructpt.artifacts.tally import count_pairs
from instructpt.collection.stages import Convert
from instructpt.executors.make import make
from instructpt.records import Document, Group, Pair, Score, Shot
from instructpt.report.artifacts import load_one
from instructpt.seeds import rng
from instructpt.verification.checks import VERIFY_CHECKS, Seen, apply_checks
from instructpt.verification.consistency import Consistency, Judged
from instructpt.words.overlap import words

SAMPLE_SETS = (
    "copa",
    "evidence_inference",
    "evidence_span",
    "fairytaleqa",
    "gsm8k_train",
    "mnli",
    "quoref",
    "scitldr",
    "strategyqa",
    "wikitablequestions",
)
"""Of the task data that ship: those whose pairs ask about their text, of all formats, with answers that people gave."""
ALL = "all checks"
"""The row of pairs that any of the checks rejects, models not among them."""
LABELS = "labels"
"""Of a document's meta: one string a pair, "" for a pair as people wrote it."""
SAMPLE_PAIRS = 300
MAX_WAYS = 6


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of a few cases."""

    number: int
    """Of those that count."""
    count: int
    """Of all."""

    @property
    def share(self) -> float:
        """The part that counts. There must be a case."""
        return self.number / self.count


def labelled(shots: Sequence[Shot], *, num_pairs: int = SAMPLE_PAIRS, seed: int = 0) -> list[Shot]:
    """A sample of the pairs of annotated shots, half as they are, half spoilt, equally many in each way.

    Of ways that are easily found there are fewer. Every shot of the result has one pair, or those before it that a way
    needs, labelled as they are.
    Pairs come from all sources equally, as far as they go, and each shot serves once. There are fewer than asked for
    where a way fits too few pairs.
    """
    order = list(_in_turns(shots, seed=seed))
    by_source: dict[str, list[Shot]] = {}
    for shot in order:
        by_source.setdefault(shot.document.source, []).append(shot)
    wanted = num_pairs // 2
    used: set[int] = set()
    spoilt: list[Shot] = []
    num_clean = 0
    for (name, way), left in zip(WAYS.items(), _quotas(wanted), strict=True):
        for number, shot in enumerate(order):
            if not left:
                break
            if number in used:
                continue
            stream = rng(seed, "spoil", name, number)
            place = stream.randrange(len(shot.pairs))
            pairs = way(shot, place, by_source[shot.document.source], stream)
            if pairs is None:
                continue
            used.add(number)
            left -= 1
            num_clean += len(pairs) - 1
            spoilt.append(_labelled(shot, pairs, ("",) * (len(pairs) - 1) + (name,)))
    rest = [shot for number, shot in enumerate(order) if number not in used][: wanted - num_clean]
    clean = [_labelled(s, (s.pairs[rng(seed, "clean", n).randrange(len(s.pairs))],), ("",)) for n, s in enumerate(rest)]
    found = clean + spoilt
    rng(seed, "labelled order").shuffle(found)
    return found


def _quotas(wanted: int) -> list[int]:
    """How many pairs to spoil in each way, in the order of `WAYS`."""
    easy = max(1, wanted // 50)
    others = len(WAYS) - len(EASY)
    return [easy if name in EASY else (wanted - easy * len(EASY) + i) // others for i, name in enumerate(WAYS)]


def rates(shots: Sequence[Shot], rejected: Sequence[Sequence[bool]]) -> dict[str, Rate]:
    """How often a check was right: "precision", "recall", "recall/WAY", "false", "false/SOURCE"; none for no cases.

    rejected: for each shot, for each of its pairs, whether the check rejected it.
    """
    cases = [
        (label, shot.document.source, is_rejected)
        for shot, flags in zip(shots, rejected, strict=True)
        for label, is_rejected in zip(shot.document.meta[LABELS], flags, strict=True)
    ]
    picked: dict[str, list[bool]] = {"precision": [bool(label) for label, _, is_rejected in cases if is_rejected]}
    for label, source, is_rejected in cases:
        names = ("recall", f"recall/{label}") if label else ("false", f"false/{source}")
        for name in names:
            picked.setdefault(name, []).append(is_rejected)
    return {name: Rate(sum(flags), len(flags)) for name, flags in sorted(picked.items()) if flags}


def is_rejected(before: Shot, after: Shot) -> list[bool]:
    """Of each pair of a shot, whether it is gone; what is left is in the same order."""
    left = list(after.pairs)
    flags = []
    for pair in before.pairs:
        is_kept = bool(left) and left[0] == pair
        if is_kept:
            left.pop(0)
        flags.append(not is_kept)
    return flags


def _labelled(shot: Shot, pairs: tuple[Pair, ...], labels: tuple[str, ...]) -> Shot:
    meta: Mapping[str, object] = {**shot.document.meta, LABELS: list(labels)}
    return Shot(Document(shot.document.id, shot.document.text, shot.document.source, meta), pairs)


def _in_turns(shots: Sequence[Shot], *, seed: int) -> Iterator[Shot]:
    """The shots with a text and pairs, each source's in drawn order, a shot of each source in turn."""
    by_source: dict[str, list[Shot]] = {}
    for shot in shots:
        if shot.pairs and words(shot.document.text):
            by_source.setdefault(shot.document.source, []).append(shot)
    for source, members in by_source.items():
        rng(seed, "turns", source).shuffle(members)
    for turn in range(max(map(len, by_source.values()), default=0)):
        for source in sorted(by_source):
            if turn < len(by_source[source]):
                yield by_source[source][turn]


@dataclass(frozen=True, kw_only=True)
class Spoil(Stage[Group]):
    """A sample of annotated pairs, half of them spoilt in named ways: a group a passage, its labels in the meta."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "contexts"
    makes: ClassVar[str] = "passages"

    annotated: Stage[Group]
    num_pairs: int = 300
    seed: int = 0

    def num_shards(self, run: Run) -> int:
        """One: the sample is drawn from all."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The sample, in drawn order."""
        del index
        shots = [s for i in range(run.num_shards(self.annotated)) for g in run.take(self.annotated, i) for s in g.shots]
        sample = labelled(shots, num_pairs=self.num_pairs, seed=self.seed)
        run.tally.keep(len(sample))
        for _ in range(len(shots) - len(sample)):
            run.tally.drop("not_drawn")
        for number, shot in enumerate(sample):
            for label in shot.document.meta[LABELS]:
                run.tally.count(f"label/{label or 'as annotated'}")
            yield count_pairs(Group(f"{number:05d}:{shot.document.id}", (shot,)), run.tally)


@dataclass(frozen=True, kw_only=True)
class CheckQuality(Stage[Score]):
    """Precision and recall of each check on a labelled sample, and how many good pairs it rejects: a task a check.

    Each is tried by itself, whatever the others reject. `rates` says what the metrics are.
    """

    record: ClassVar[Any] = Score
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "scores"
    is_summary = True

    sample: Spoil
    checks: tuple[str, ...] = VERIFY_CHECKS
    models: tuple[Stage[Group], ...] = ()
    """The sample as a model left it: `Consistency`, `Judged`; named after the stage."""

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Score]:
        """The scores of each check, of all together, and of each model."""
        before = [group.shots[0] for group in run.take(self.sample, index)]
        run.tally.keep(len(before))

        def tried(checks: Sequence[str]) -> list[list[bool]]:
            seen = Seen()
            return [is_rejected(shot, apply_checks(shot, checks, seen=seen)) for shot in before]

        for name in self.checks:
            yield from _scores(name, rates(before, tried([name])))
        yield from _scores(ALL, rates(before, tried(self.checks)))
        for stage in self.models:
            after: list[Shot] = [group.shots[0] for group in run.records(stage, index)]
            rejected = [is_rejected(old, new) for old, new in zip(before, after, strict=True)]
            yield from _scores(stage.name, rates(before, rejected))


def _scores(check: str, found: dict[str, Rate]) -> Iterator[Score]:
    for metric, rate in found.items():
        yield Score(check, metric, rate.share, None, rate.count, "check")


def measure_checks(
    *,
    tasks_data: tuple[str, ...] = ("sample:tasks.jsonl.zst",),
    sets: tuple[str, ...] = SAMPLE_SETS,
    num_pairs: int = SAMPLE_PAIRS,
    checks: tuple[str, ...] = VERIFY_CHECKS,
    consistency: str | None = None,
    judge: str | None = None,
    judge_model: str = "",
    rubric: str = "",
    seed: int = 0,
) -> CheckQuality:
    """Precision and recall of each check, on annotated pairs of which half are spoilt.

    Args:
        tasks_data: Annotated task data, neutral JSON lines.
        sets: Which of its data sets.
        num_pairs: The size of the sample.
        checks: Which checks.
        consistency: A model that answers each question again, as for verify.
        judge: As for verify.
        judge_model: As for verify.
        rubric: As for verify.
        seed: Of the sample.
    """
    annotated = Convert(name="annotated", files=tasks_data, part="all", sets=sets, shots=1, seed=seed)
    sample = Spoil(name="sample", annotated=annotated, num_pairs=num_pairs, seed=seed)
    models: list[Stage[Group]] = []
    if consistency:
        models.append(Consistency(name="consistent", groups=sample, model=consistency))
    if judge:
        models.append(Judged(name="judged", groups=sample, url=judge, model=judge_model, rubric=rubric))
    return CheckQuality(name="check-quality", sample=sample, checks=checks, models=tuple(models))


def measure() -> dict[str, float | int | str]:
    """Precision, share of good pairs rejected, and recall of each check; of all together also recall of each way."""
    with tempfile.TemporaryDirectory() as root:
        scores = made(measure_checks(), Run(root=root, workers=1))
    wanted = [s for s in scores if s.metric in ("precision", "false", "recall") or s.task == ALL]
    return {f"{score.task}: {score.metric}": round(score.value, 3) for score in wanted}


def made(stage: CheckQuality, run: Run) -> list[Score]:
    """The scores of the checks, worked out where they are not there yet."""
    make(stage, run)
    return list(load_one(f"{run.root}/{stage.name}").records(Score))


def interval(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence (Wilson 1927), for `share` of `count` cases."""
    from scipy.stats import binomtest

    found = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def print_table(scores: Sequence[Score]) -> None:
    """Precision, false rejects and recall of each check with 95 % intervals."""
    from rich.console import Console
    from rich.table import Table

    by_check: dict[str, dict[str, Score]] = {}
    for score in scores:
        by_check.setdefault(score.task, {})[score.metric] = score
    table = Table(box=None, pad_edge=False)
    for head in ("check", "rejects", "precision", "false", "recall"):
        table.add_column(head, justify="left" if head == "check" else "right", no_wrap=True)
    table.add_column("finds, of those spoilt so")
    for check, found in by_check.items():
        rejects = found["precision"].count if "precision" in found else 0
        cells = [_share(found.get(metric)) for metric in ("precision", "false", "recall")]
        ways = {metric.removeprefix("recall/"): s.value for metric, s in found.items() if metric.startswith("recall/")}
        hits = sorted(((way, share) for way, share in ways.items() if share), key=lambda item: -item[1])
        if len(hits) > MAX_WAYS:  # of a long list what is missed is worth reading
            hits = [(way, share) for way, share in ways.items() if share < 1]
        table.add_row(check, str(rejects), *cells, ", ".join(f"{way}\u00a0{100 * share:.0f}" for way, share in hits))
    console = Console()
    console.print(table)
    console.print(
        "In percent, with 95 % intervals. Half of the pairs are spoilt; false: rejected of the other half. The last"
        " column says what of each way is found; of a check that finds many ways, those that it misses."
    )


def _share(score: Score | None) -> str:
    """A share with its interval in percent, "87 (79-93)"; blank where there was no case."""
    if score is None:
        return ""
    low, high = interval(score.value, score.count)
    return f"{100 * score.value:.0f} ({100 * low:.0f}-{100 * high:.0f})"


if __name__ == "__main__":
    import tyro

    with tempfile.TemporaryDirectory() as folder:
        print_table(made(tyro.cli(measure_checks), Run(root=folder, workers=1)))
