"""The first screen: two questions, each answered in a line, a few numbers and a chart.

    Is this corpus good?     passages with pairs, pairs left out and why, test items looked for or not
    Did it help?             differences between models with and without pairs, and what they show

What was not measured is said, with the command that would measure it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from instructpt.evaluation.comparison import AVERAGE, Comparison, Interval, Measure, verdict
from instructpt.records import Score
from instructpt.report import cells, comparison
from instructpt.report.artifacts import Artifact
from instructpt.report.charts import Bar, lying_bars, whiskers
from instructpt.report.page import escape, legend, table

Artifacts = Mapping[str, Artifact]
GROUP_STAGES = ("Convert", "Mine", "Synthesize", "Verify", "Consistency", "Judged")
"""Stages that make passages with pairs."""
MOST_REASONS = 5
"""In the chart of what was left out."""
CHART_WIDTH = 480
"""Half of the page: the words are as large as the others there."""
MOST_COLUMNS = 4
"""Arms or models shown here; the sections below have all."""
TOLD = (("held_out", "bits_per_byte"), ("unseen", "bits_per_byte"), ("unseen", "choice_accuracy"), (AVERAGE, ""))
"""Task and metric, "" for any: what of a comparison is shown here. Lower bits per byte are better."""
NAMES = {"held_out": "held-out text", "unseen": "unseen task sets", AVERAGE: "benchmarks"}
_QUALITY = {
    "well_formed": "well-formed outputs",
    "pairs_per_passage": "pairs a passage, before checks",
    "grounded": "extractive answers found in the passage",
    "duplicate_questions": "questions asked twice",
    "judged_accurate": "answers that a judge called right",
}
"""Metrics of a `Quality` artifact on raw passages."""


def front(artifacts: Artifacts, *, scores: Sequence[Score]) -> str:
    """Both answers side by side. scores: of the models, as the section on scores has them."""
    parts = (("Is this corpus good?", _corpus(artifacts)), ("Did it help?", _models(artifacts, scores)))
    shown = "".join(f'<div class="answer" data-title="{title}"><h2>{title}</h2>{body}</div>' for title, body in parts)
    return f'<div class="answers">{shown}</div>'


def last_groups(artifacts: Artifacts) -> dict[str, Artifact]:
    """The artifacts of passages with pairs of which no other one was made by a further check."""
    found = {a.name: a for a in artifacts.values() if a.stage in GROUP_STAGES and a.tally.made}
    checked = {name for artifact in found.values() for name in artifact.inputs}
    return {name: artifact for name, artifact in found.items() if name not in checked}


def _corpus(artifacts: Artifacts) -> str:
    every = last_groups(artifacts)
    # Annotated tasks are gold, not what was made of a corpus: they count only where there is nothing else.
    arms = {name: arm for name, arm in every.items() if arm.stage != "Convert"} or every
    shown = dict(list(arms.items())[:MOST_COLUMNS])
    body = _quality(artifacts)
    if not arms and not body:
        raw = (
            "Here is text without pairs." if any(a.makes in ("documents", "texts") for a in artifacts.values()) else ""
        )
        return _said(f"{raw} instructpt augment writes pairs for it.".strip())
    if arms:
        body = "".join(_said(_told_of(arm)) for arm in shown.values()) + body
        body += table(("", *shown), _facts(shown, artifacts), numeric=range(1, 1 + len(shown)))
        body += _more(len(arms) - len(shown)) + _left_out(shown)
    return body + _copies(artifacts) + _test_items(artifacts) + _rightness(artifacts)


def _told_of(arm: Artifact) -> str:
    """An arm in a sentence."""
    passages, pairs = arm.tally.made, arm.tally.counts.get("pairs", 0)
    with_pairs, rejected = arm.tally.counts.get("passages_with_pairs", 0), sum(arm.named_counts("rejects").values())
    gone = f"; of all that was read {_percent(rejected, rejected + pairs)} was left out" if rejected else ""
    a_passage = f"{pairs / passages:.2f} pairs a passage"
    return f"{arm.name}: {_percent(with_pairs, passages)} of the passages have pairs, {a_passage}{gone}."


def _facts(arms: Artifacts, artifacts: Artifacts) -> Iterable[tuple[str, ...]]:
    """Rows of numbers, a column an arm."""
    counts = {name: arm.tally.counts for name, arm in arms.items()}
    yield ("passages", *(f"{arm.tally.made:,}" for arm in arms.values()))
    yield ("pairs that stay", *(f"{found.get('pairs', 0):,}" for found in counts.values()))
    yield ("left out", *(f"{sum(arm.named_counts('rejects').values()):,}" for arm in arms.values()))
    yield ("categories", *(str(len(arm.named_counts("category")) or "–") for arm in arms.values()))
    yield ("checks that ran", *(str(_num_checks(arm, artifacts) or "–") for arm in arms.values()))


def _num_checks(arm: Artifact, artifacts: Artifacts) -> int:
    """Of an arm and of what it was made from; a second answer and a judge are one each."""
    own = len(arm.settings.get("checks") or ()) + (arm.stage in ("Consistency", "Judged"))
    return own + sum(_num_checks(artifacts[name], artifacts) for name in arm.inputs if name in artifacts)


def _left_out(arms: Artifacts) -> str:
    """What was left out, by reason: shares of all that was read."""
    reasons: Counter[str] = Counter()
    for arm in arms.values():
        reasons.update(arm.named_counts("rejects"))
    groups: dict[str, list[float | None]] = {}
    for reason, _ in reasons.most_common(MOST_REASONS):
        groups[reason] = []
        for arm in arms.values():
            rejects = arm.named_counts("rejects")
            read = sum(rejects.values()) + arm.tally.counts.get("pairs", 0)
            groups[reason].append(round(100 * rejects.get(reason, 0) / max(1, read), 1))
    if not groups:
        return ""
    names = legend(list(arms)) if len(arms) > 1 else ""
    chart = lying_bars(groups, label="left out by reason, share of all", unit="%", width=CHART_WIDTH)
    return f"<h3>Left out, and why</h3>{names}{chart}"


def _quality(artifacts: Artifacts) -> str:
    """Headline numbers of a synthesizer on raw passages, where it was examined."""
    for artifact in artifacts.values():
        if artifact.stage == "Quality":
            found = {s.metric: s for s in artifact.records(Score) if s.task == "passages"}
            rows = [
                (name, cells.number(found[metric], digits=3)) for metric, name in _QUALITY.items() if metric in found
            ]
            if rows:
                return table(("the synthesizer on raw passages", "± half of the 95 % interval"), rows, numeric=(1,))
    return ""


def _copies(artifacts: Artifacts) -> str:
    """Documents that were left out since an earlier one has the same text."""
    filters = [a for a in artifacts.values() if a.stage == "Filter" and a.settings.get("duplicates")]
    if not filters:
        return _soft("Copies of documents were not looked for: `instructpt augment` leaves them out of its files.")
    copies = sum(artifact.tally.dropped.get("exact_duplicate", 0) for artifact in filters)
    return _soft(f"Copies of documents, left out: {copies:,} of {sum(a.tally.taken for a in filters):,}.")


def _test_items(artifacts: Artifacts) -> str:
    searched = [artifact for artifact in artifacts.values() if artifact.stage == "Overlap"]
    if not searched:
        return _soft("Test items were not looked for: `instructpt decontaminate … --action report` does.")
    rows: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for artifact in searched:
        rows.update(artifact.named_counts("rows"))
        found.update(artifact.named_counts("rows_found"))
    return _said(f"Of {rows.total():,} rows of {len(rows)} test sets {found.total():,} stand in it.")


def _rightness(artifacts: Artifacts) -> str:
    if any(artifact.stage in ("Judged", "Judge") for artifact in artifacts.values()):
        return ""
    return _soft("Whether what stays is right, checks tell in part: read some, or ask `instructpt verify --judge`.")


def _models(artifacts: Artifacts, scores: Sequence[Score]) -> str:
    for artifact in artifacts.values():
        if artifact.stage == comparison.STAGE:
            return compared(comparison.read(artifact))
    models = list(dict.fromkeys(score.model for score in scores))
    trained = [artifact.name for artifact in artifacts.values() if artifact.stage == "Train"]
    if len(models) > 1:
        return _single_runs(scores, models)
    if models or trained:
        return _said("One model alone cannot tell.") + _how()
    return _said("Not measured: no model was trained on it here.") + _how()


def _how() -> str:
    return _soft("`instructpt run compare` trains models with and without the pairs, several seeds each, and tells.")


def compared(found: Comparison) -> str:
    """Differences from the first arm with what they show, the shown arms' most telling measures."""
    others = found.arms[1:][:MOST_COLUMNS]
    if not others:
        return _said("One arm alone cannot tell: give --arms raw instruct.")
    chosen = [measure for measure in _told(found) if any(arm in measure.differences for arm in others)]
    words = [_summary(arm, chosen, found) for arm in others]
    groups = {
        _name(m): [None, *(_bar(m.differences.get(arm)) for arm in others)]
        for m in chosen
        if m.metric == "bits_per_byte"
    }
    label = f"bits per byte: difference from {found.arms[0]}, left of the line is better"
    chart = whiskers(groups, label=label, width=CHART_WIDTH)
    chart = f"<p class=soft>{escape(label)}</p>{legend(found.arms[: 1 + len(others)])}{chart}" if chart else ""
    rows = [(f"{_name(m)}, {m.metric}", *(_difference(m, arm) for arm in others)) for m in chosen]
    head = ("", *(f"{arm} – {found.arms[0]}" for arm in others))
    return "".join(map(_said, words)) + chart + table(head, rows) + _more(len(found.arms) - 1 - len(others))


def _told(found: Comparison) -> list[Measure]:
    """The measures shown here, at the largest budget, in the order of `TOLD` within each phase."""
    largest = max((measure.tokens for measure in found.measures), default=0)
    whole = [measure for measure in found.measures if measure.tokens == largest]
    return [
        measure
        for phase in dict.fromkeys(measure.phase for measure in whole)
        for task, metric in TOLD
        for measure in whole
        if (measure.phase, measure.task) == (phase, task) and metric in ("", measure.metric)
    ]


def _summary(arm: str, measures: Sequence[Measure], found: Comparison) -> str:
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


def _difference(measure: Measure, arm: str) -> str:
    found = measure.differences.get(arm)
    if found is None:
        return "–"
    half = "" if found.half is None else f" ± {found.half:.3f}"
    return f"{found.mean:+.3f}{half}: {verdict(measure.metric, found)}"


def _bar(found: Interval | None) -> Bar | None:
    return None if found is None else Bar(found.mean, found.half)


def _name(measure: Measure) -> str:
    return NAMES.get(measure.task, measure.task) + (f", {measure.phase}" if measure.phase else "")


def _single_runs(scores: Sequence[Score], models: Sequence[str]) -> str:
    """Models of one run each: numbers, and that they show nothing of another run."""
    shown = list(models)[:MOST_COLUMNS]
    by_task: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        if score.metric in ("bits_per_byte", "acc") and "/" not in score.task:
            by_task.setdefault((score.task, score.metric), {})[score.model] = score
    wanted = {key: found for key, found in by_task.items() if key[0] == "held_out" or key[1] == "acc"}
    rows = [
        (f"{NAMES.get(task, task)}, {metric}", *(cells.number(found.get(model), digits=2) for model in shown))
        for (task, metric), found in wanted.items()
    ]
    said = "Cannot be told: one training run a model, so a difference may be another seed's. ± is over items alone."
    body = _said(said) + table(("", *shown), rows, numeric=range(1, 1 + len(shown)))
    if read := by_task.get(("held_out", "bits_per_byte")):
        groups = {model: [round(read[model].value, 3)] for model in shown if model in read}
        label = "Bits per byte of held-out text: lower is better"
        body += f"<h3>{label}</h3>" + lying_bars(groups, label=label, unit="", width=CHART_WIDTH)
    return body + _more(len(models) - len(shown)) + _how()


def _percent(part: int, whole: int) -> str:
    share = 100 * part / max(1, whole)
    return "under 1 %" if 0 < share < 0.5 else f"{share:.0f} %"


def _said(text: str) -> str:
    return f'<p class="told">{escape(text)}</p>'


def _soft(text: str) -> str:
    """A side remark; commands stand in backticks."""
    return "<p class=soft>" + re.sub("`([^`]+)`", r"<code>\1</code>", escape(text)) + "</p>"


def _more(number: int) -> str:
    return _soft(f"{number} more below.") if number > 0 else ""
