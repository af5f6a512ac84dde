"""Learning-rate schedules: pure functions from a step to the share of the peak rate it uses.

    1.0 |   ______________            1.0 |   ___________________         1.0 |   ____________________
        |  /              \\               |  /                   \\            |  /
        | /    cosine       `-.__         | /        wsd          \\           | /      constant
    0.0 |/                       `        |/                       \\          |/
        warm-up                           warm-up   stable    decay           warm-up

A new schedule is a function here and a line in `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

DECAY_SHARE = 0.2
"""Share of all steps in which "wsd" decays: with a fifth it reaches what cosine reaches (arXiv 2405.18392)."""

Schedule = Callable[[float, float], float]


def cosine(progress: float, minimum: float) -> float:
    """Half a cosine wave from 1 down to `minimum` (arXiv 1608.03983). The paper's schedule."""
    return minimum + (1 - minimum) * (1 + math.cos(math.pi * progress)) / 2


def warmup_stable_decay(progress: float, minimum: float) -> float:
    """1, then straight down to `minimum` over the last fifth (arXiv 2404.06395, section 4)."""
    return 1 - (1 - minimum) * max(0.0, 1 - (1 - progress) / DECAY_SHARE)


def constant(progress: float, minimum: float) -> float:
    """1 throughout."""
    del progress, minimum
    return 1.0


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "wsd": warmup_stable_decay, "constant": constant}
"""Name -> function of progress after the warm-up, 0 to 1, and the least share."""


def multiplier(step: int, *, steps: int, schedule: str, warmup_steps: int, minimum: float) -> float:
    """The share of the peak learning rate that step `step` (1 for the first) of `steps` uses.

    It rises in equal parts to 1 at step `warmup_steps`; then the schedule goes from 1 to, at the last step, `minimum`.
    """
    assert 1 <= step <= steps
    if step < warmup_steps:
        return step / warmup_steps
    begin = max(warmup_steps, 1)
    return SCHEDULES[schedule]((step - begin) / max(1, steps - begin), minimum)
