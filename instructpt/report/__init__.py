"""The report: one HTML file over everything under a root. It reads artifacts only: make it any time.

artifacts.py          what lies under a root
front.py              the first screen's facts          templates/front.html   how they are shown
comparison.py, quality.py, scores.py, pair_facts.py, ...     templates/*.html       the sections
charts.py             bars and lines, as SVG
"""

from __future__ import annotations

from instructpt import __version__


def render(root: str, *, title: str, leave_out: str = "") -> str:
    """The report over the artifacts under `root` as HTML, but for the one called `leave_out` (the report itself).

    Raises ArtifactError if there are none.
    """
    from instructpt.report import comparison, front, matches, pair_facts, quality, scores
    from instructpt.report.artifacts import load
    from instructpt.report.page import draw

    artifacts = {name: artifact for name, artifact in load(root).items() if name != leave_out}
    every = scores.found_scores(comparison.without_runs(artifacts))
    runs = comparison.without_repeats(artifacts)
    comparisons = [comparison.read(a) for a in artifacts.values() if a.stage == comparison.STAGE]
    is_trained = any(artifact.stage == "Train" for artifact in artifacts.values())
    return draw(
        "report.html",
        title=title,
        version=__version__,
        artifacts=artifacts,
        corpus=front.corpus(artifacts),
        models=front.models(comparisons, every, is_trained=is_trained),
        qualities=quality.qualities(artifacts),
        comparisons=comparisons,
        searched=[artifact for artifact in artifacts.values() if artifact.stage == "Overlap"],
        scores=scores.whole(every),
        contamination=scores.contamination(every),
        arms=pair_facts.arms(artifacts),
        samples=pair_facts.samples(artifacts),
        curves=scores.curves(runs, first=scores.models_of(scores.found_scores(runs))),
        facts={
            "comparison": comparison,
            "matches": matches,
            "pair_facts": pair_facts,
            "quality": quality,
            "scores": scores,
        },
    )
