"""The report: one HTML file over everything under a root. It reads artifacts only: make it any time."""

from __future__ import annotations

from instructpt import __version__
from instructpt.report import comparison, front, matches, quality, sections
from instructpt.report.artifacts import load
from instructpt.report.page import page


def render(root: str, *, title: str, leave_out: str = "") -> str:
    """The report over the artifacts under `root` as HTML, but for the one called `leave_out` (the report itself).

    Raises ArtifactError if there are none.
    """
    artifacts = {name: artifact for name, artifact in load(root).items() if name != leave_out}
    lead = f'<p class="soft">{len(artifacts)} artifacts, instructpt {__version__}</p>'
    lead += front.front(artifacts, scores=sections.found_scores(comparison.without_runs(artifacts)))
    parts = (
        quality.quality(artifacts),
        comparison.comparison(artifacts),
        matches.matches(artifacts),
        sections.scores(comparison.without_runs(artifacts)),
        sections.pairs(artifacts),
        sections.samples(artifacts),
        sections.curves(comparison.without_repeats(artifacts)),
        sections.lineage(artifacts),
        sections.conservation(artifacts),
        sections.settings(artifacts),
    )
    return page(title, lead=lead, sections=parts)
