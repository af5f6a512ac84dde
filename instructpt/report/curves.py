"""Training loss over tokens, one line a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from instructpt.report.artifacts import Artifact

WINDOW_STEPS = 10
"""A point is the mean of so many: one step's loss is a matter of luck."""


def curves(artifacts: Mapping[str, Artifact], *, first: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Model -> (tokens, loss in nats). first: models that come first, so that one has one colour on the whole page."""
    series = {}
    for artifact in sorted(artifacts.values(), key=lambda a: [*first, a.name].index(a.name)):
        if artifact.stage == "Train" and artifact.folder.exists("00000/metrics.jsonl"):
            steps = [orjson.loads(line) for line in artifact.folder.read("00000/metrics.jsonl").splitlines()]
            losses = [step["loss"] for step in steps]
            series[artifact.name] = [
                (step["tokens"], sum(window) / len(window))
                for number, step in enumerate(steps, 1)
                if (window := losses[max(0, number - WINDOW_STEPS) : number])
            ]
    return series
