"""The report's sections, top to bottom: a function each, from artifacts to HTML. What is absent is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import orjson

from instructpt.evaluation.rating import CLEAN, OVERLAPPING
from instructpt.records import Group, Score, Text
from instructpt.report import cells
from instructpt.report.artifacts import Artifact
from instructpt.report.charts import bars, histogram, lines, lying_bars
from instructpt.report.front import GROUP_STAGES, last_groups
from instructpt.report.page import Section, escape, legend, table
from instructpt.synthesis.mix import parse_mix

Artifacts = Mapping[str, Artifact]
SAMPLES_PER_ARM = 2
GROUPS_LOOKED_AT = 200
"""For samples: the first groups of an artifact, of which those with the most pairs are shown."""
DIRECTIONS = {
    "bits_per_byte": "Bits per byte, of held-out text and of right answers: lower is better",
    "acc": "Accuracy: higher is better",
    "acc_norm": "Accuracy with scores normalized by length: higher is better",
    "gold_probability": "Probability of the right option, each by its length: higher is better",
    "gold_probability_plain": "Probability of the right option: higher is better",
    "choice_accuracy": "Right options that are the likeliest by their length: higher is better",
}
"""What a metric's chart is called."""
MOST_CATEGORIES = 40
"""In a chart; the rest is summed up."""


def lineage(artifacts: Artifacts) -> Section:
    """Every artifact: what it was made from, what went in and out, what was dropped."""
    rows = []
    for artifact in artifacts.values():
        tally = artifact.tally
        dropped = ", ".join(f"{reason} {number:,}" for reason, number in sorted(tally.dropped.items()))
        went_in = f"{tally.taken:,} {artifact.takes}" if tally.taken else ""
        came_out = f"{tally.made:,} {artifact.makes}" if tally.made else _other_product(artifact)
        cells = (artifact.name, artifact.stage, ", ".join(artifact.inputs), went_in, came_out, dropped)
        rows.append((*cells, f"{artifact.seconds:,.1f}"))
    head = ("artifact", "stage", "made from", "in", "out", "dropped", "seconds")
    return Section("The road, stage by stage", table(head, rows, numeric=(6,)))


def _other_product(artifact: Artifact) -> str:
    keys = ("rows", "tokens", "steps")
    return ", ".join(f"{artifact.tally.counts[key]:,} {key}" for key in keys if key in artifact.tally.counts)


def conservation(artifacts: Artifacts) -> Section:
    """Where every row of the input is now."""
    rows = []
    for artifact in artifacts.values():
        tally = artifact.tally
        for reason, number in sorted(tally.dropped.items(), key=lambda item: -item[1]):
            share = f"{100 * number / max(1, tally.taken):.2f} %"
            rows.append((artifact.name, reason, f"{number:,}", share, (tally.samples.get(reason) or [""])[0][:160]))
    if not rows:
        return Section("Left out", "<p>Nothing was left out: everything that went in came out.</p>")
    intro = (
        "<p class=soft>Everything that went in came out or stands here. In = out + dropped holds for every stage.</p>"
    )
    return Section(
        "Left out", intro + table(("stage", "reason", "number", "share", "for example"), rows, numeric=(2, 3))
    )


def pairs(artifacts: Artifacts) -> Section:
    """How many pairs a passage got, of which kinds, and what was rejected."""
    arms = last_groups(artifacts)
    if not arms:
        return Section("Pairs", "")
    rows = []
    for arm in arms.values():
        passages, number = arm.tally.made, arm.tally.counts.get("pairs", 0)
        with_pairs, rejects = arm.tally.counts.get("passages_with_pairs", 0), arm.named_counts("rejects")
        rejected = sum(rejects.values())
        shares = (f"{100 * with_pairs / passages:.1f} %", f"{number / passages:.2f}", f"{rejected:,}")
        why = ", ".join(f"{reason} {count:,}" for reason, count in islice(rejects.items(), 6))
        rows.append((arm.name, f"{passages:,}", f"{number:,}", *shares, why))
    head = ("artifact", "passages", "pairs", "with pairs", "a passage", "rejected", "why")
    body = table(head, rows, numeric=(1, 2, 3, 4, 5)) + _rejects(arms)
    counts = {n: {int(k): v for k, v in arm.named_counts("pairs_per_passage").items()} for n, arm in arms.items()}
    body += "<h3>Pairs per passage</h3>" + legend(list(arms))
    body += histogram(counts, x_label="pairs", y_label="% of passages")
    return Section("Pairs", body + _kinds(arms) + "".join(_categories(arm, artifacts) for arm in arms.values()))


def _rejects(arms: Artifacts) -> str:
    """Pairs left out by reason, each with an example."""
    rows = []
    for arm in arms.values():
        counts, examples = arm.named_counts("rejects"), _examples(arm)
        rows += [(arm.name, reason, f"{n:,}", examples.get(reason, "")[:160]) for reason, n in counts.items()]
    head = ("artifact", "reason", "number", "for example")
    return "<h3>Pairs left out, by reason</h3>" + table(head, rows, numeric=(2,)) if rows else ""


def _examples(arm: Artifact) -> dict[str, str]:
    """Reason -> a pair left out for it: one that the arm kept, else, of a stage before it, one in its first groups."""
    found = {
        reject.reason: reject.text
        for group in islice(arm.records(Group), GROUPS_LOOKED_AT)
        for shot in group.shots
        for reject in shot.rejects
    }
    kept = {
        name.partition("/")[2]: texts[0]
        for name, texts in arm.tally.samples.items()
        if texts and name.startswith(("rejects/", "left_out/"))
    }
    return found | kept


def _kinds(arms: Mapping[str, Artifact]) -> str:
    rows = []
    for arm in arms.values():
        total = sum(arm.named_counts("format").values()) or 1
        words = ", ".join(f"{k} {100 * v / total:.0f} %" for k, v in arm.named_counts("format").items())
        if words:
            rows.append((arm.name, words))
    return "<h3>Formats</h3>" + table(("artifact", "share of pairs"), rows) if rows else ""


def _categories(arm: Artifact, artifacts: Artifacts) -> str:
    """Shares of categories as bars, beside those that were asked for where any were."""
    counts = arm.named_counts("category")
    if not counts:
        return ""
    total, asked = sum(counts.values()), _asked_shares(arm, artifacts)
    groups: dict[str, list[float | None]] = {}
    for name in dict.fromkeys([*asked, *islice(counts, MOST_CATEGORIES)]):
        generated = 100 * counts.pop(name, 0) / total
        groups[name] = [generated, 100 * asked.get(name, 0.0)] if asked else [generated]
    chart = lying_bars(groups, label=f"share of pairs in {arm.name} by category", unit="%")
    heads = legend(["generated", "asked"]) if asked else ""
    rest = f"<p class=soft>{len(counts)} more with {100 * sum(counts.values()) / total:.1f} %</p>" if counts else ""
    return f"<h3>Categories in {escape(arm.name)}</h3>{heads}{chart}{rest}"


def _asked_shares(arm: Artifact, artifacts: Artifacts) -> dict[str, float]:
    """Name -> share of the mix that the arm, or what it was made from, was steered by; none if it was not."""
    for stage in (arm, *(artifacts[name] for name in arm.inputs if name in artifacts)):
        if stage.stage == "Synthesize" and stage.settings.get("categories"):
            return dict(parse_mix(stage.settings["categories"]).shares)
    return {}


def samples(artifacts: Artifacts) -> Section:
    """Groups before and after templating, side by side."""
    parts = []
    for template in artifacts.values():
        source = artifacts.get((template.settings.get("groups") or {}).get("artifact", ""))
        if template.stage != "Template" or source is None or source.stage not in GROUP_STAGES:
            continue
        chosen = sorted(islice(source.records(Group), GROUPS_LOOKED_AT), key=_fewest_pairs_first)[-SAMPLES_PER_ARM:]
        if shown := "".join(_sample(group, text) for group, text in _matched(chosen[::-1], template)):
            parts.append(f"<h3>{escape(source.name)}</h3>{shown}")
    intro = (
        f"<p class=soft>Those with the most pairs among the first {GROUPS_LOOKED_AT} groups: "
        "the passages with their pairs on the left, the training text made of them on the right.</p>"
    )
    return Section("Samples", intro + "".join(parts) if parts else "")


def _fewest_pairs_first(group: Group) -> int:
    return sum(len(shot.pairs) for shot in group.shots)


def _matched(groups: list[Group], template: Artifact) -> Iterator[tuple[Group, Text]]:
    wanted = {group.id: group for group in groups if _fewest_pairs_first(group)}
    for text in template.records(Text):
        if not wanted:
            return
        if text.id in wanted:
            yield wanted.pop(text.id), text


def _sample(group: Group, text: Text) -> str:
    left = ""
    for shot in group.shots:
        left += f"<pre>{escape(shot.document.text)}</pre>"
        left += table(
            ("question", "answer", "category"), [(cells.question(p), p.answer, p.category or "") for p in shot.pairs]
        )
    where = f"{group.shots[0].document.source}, {text.kind}"
    return (
        f"<details open><summary>{escape(group.id)} <span class=soft>{escape(where)}</span></summary>"
        f'<div class="two"><div>{left}</div><div><pre>{escape(text.text)}</pre></div></div></details>'
    )


def curves(artifacts: Artifacts) -> Section:
    """Training loss over tokens, one line a model."""
    series = {}
    compared = list(dict.fromkeys(score.model for score in found_scores(artifacts)))
    # Those that are compared come first, in the order of the scores, so that a model has one colour on the whole page.
    for artifact in sorted(artifacts.values(), key=lambda a: [*compared, a.name].index(a.name)):
        if artifact.stage == "Train" and artifact.folder.exists("00000/metrics.jsonl"):
            steps = [orjson.loads(line) for line in artifact.folder.read("00000/metrics.jsonl").splitlines()]
            series[artifact.name] = _smooth([(step["tokens"], step["loss"]) for step in steps])
    body = lines(series, x_label="tokens", y_label="training loss, nats")
    note = (
        "<p class=soft>Mean of the last 10 steps. Models trained on different texts: their losses do not compare.</p>"
    )
    return Section("Training", legend(list(series)) + body + note if body else "")


def _smooth(points: list[tuple[float, float]], *, window: int = 10) -> list[tuple[float, float]]:
    smoothed = []
    for i in range(len(points)):
        part = points[max(0, i + 1 - window) : i + 1]
        smoothed.append((points[i][0], sum(p[1] for p in part) / len(part)))
    return smoothed


def scores(artifacts: Artifacts) -> Section:
    """Scores side by side with 95 % intervals."""
    every = found_scores(artifacts)
    found = [score for score in every if not score.metric.endswith((CLEAN, OVERLAPPING))]
    if not found:
        return Section("Scores", "")
    models = list(dict.fromkeys(score.model for score in found))
    by_measure: dict[tuple[str, str], dict[str, Score]] = {}
    for score in found:
        by_measure.setdefault((score.task, score.metric), {})[score.model] = score
    body = legend(models)
    for metric in dict.fromkeys(metric for _, metric in by_measure):
        chosen = {task: by_model for (task, m), by_model in by_measure.items() if m == metric}
        groups = {task: [cells.bar(by_model.get(model)) for model in models] for task, by_model in chosen.items()}
        body += f"<h3>{escape(DIRECTIONS.get(metric, metric))}</h3>" + bars(groups, y_label=metric)
    rows = []
    for (task, metric), by_model in by_measure.items():
        items = max(score.count for score in by_model.values())
        rows.append((task, metric, f"{items:,}", *(cells.number(by_model.get(model), digits=4) for model in models)))
    numeric = range(2, 3 + len(models))
    body += table(("task", "metric", "items", *models), rows, numeric=numeric)
    note = (
        "<p class=soft>Value ± half of the 95 % interval (1.96 standard errors over items; one training run each).</p>"
    )
    return Section("Scores", body + note + _contamination(every))


def _contamination(scores: Sequence[Score]) -> str:
    """Scores with and without the items that stand in the training text, where that was looked for."""
    by_name = {(score.model, score.task, score.metric): score for score in scores}
    rows = []
    for (model, task, metric), score in by_name.items():
        clean, found = (by_name.get((model, task, metric + end)) for end in (CLEAN, OVERLAPPING))
        if clean is not None or found is not None:
            change = f"{clean.value - score.value:+.4f}" if clean else "–"
            values = (cells.number(each, digits=4) for each in (score, clean, found))
            rows.append((model, task, metric, f"{score.count:,}", f"{found.count if found else 0:,}", *values, change))
    if not rows:
        return ""
    head = ("model", "task", "metric", "items", "overlapping", "all", "without them", "them alone", "difference")
    told = "<p class=soft>Overlapping: items of which a text that the model was trained on holds a run of words.</p>"
    return "<h3>Items that stand in the training text</h3>" + told + table(head, rows, numeric=range(3, 9))


def found_scores(artifacts: Artifacts) -> list[Score]:
    """The scores of all models: collected ones, else those of each."""
    collected = [a for a in artifacts.values() if a.stage == "Collect"]
    sources = collected or [a for a in artifacts.values() if a.stage in ("Rate", "HeldOut")]
    return [score for artifact in sources for score in artifact.records(Score)]


def settings(artifacts: Artifacts) -> Section:
    """The recipe of every artifact, folded away."""
    parts = []
    for artifact in artifacts.values():
        recipe = orjson.dumps(dict(artifact.settings), option=orjson.OPT_INDENT_2).decode()
        parts.append(f"<details><summary>{escape(artifact.name)}</summary><pre>{escape(recipe)}</pre></details>")
    return Section("Settings", "".join(parts))
