"""Where people watch a training besides `metrics.jsonl`, which is always written: a function a service, a table line.

A tracker is asked for by name, never by default, and its package is loaded only then. What it says goes to that service
alone: losses, rates and settings, no text of the corpus and no paths. A tracker that fails never stops the training:
the first failure is told, all are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from instructpt.errors import InputError, RecipeError
from instructpt.records import Step

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tracked."""

    project: str
    name: str
    """Of the run within the project."""
    folder: Path
    """A local folder that the tracker may write to."""
    settings: Mapping[str, Any]
    first_step: int
    """The first step that is to come; a resumed run goes on from there, and what a killed one said beyond it goes."""


Tracker = tuple[Callable[[int, Mapping[str, float]], object], Callable[[], object]]
"""What takes the numbers of a step, and what is called when no more steps come."""


def tensorboard(subject: Subject) -> Tracker:
    """Event files under `folder/tensorboard`."""
    from torch.utils.tensorboard import SummaryWriter  # needs the package tensorboard

    writer: Any = SummaryWriter
    opened = writer(str(subject.folder / "tensorboard"), purge_step=subject.first_step)

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            opened.add_scalar(name, value, step)

    return log, opened.close


def wandb(subject: Subject) -> Tracker:
    """A run of wandb; where it goes and its key come from wandb's own environment variables."""
    import wandb

    quiet = wandb.Settings(console="off", silent=True)
    where = {"project": subject.project, "name": subject.name, "dir": str(subject.folder)}
    run: Any = wandb.init(**where, config=dict(subject.settings), settings=quiet)
    return lambda step, values: run.log(dict(values), step=step), run.finish


def trackio(subject: Subject) -> Tracker:
    """A run of trackio, which keeps its data on this machine unless its own settings say otherwise."""
    import trackio

    run: Any = trackio.init(project=subject.project, name=subject.name, config=dict(subject.settings))
    return lambda step, values: run.log(dict(values), step=step), run.finish


TRACKERS: dict[str, Callable[[Subject], Tracker]] = {"tensorboard": tensorboard, "wandb": wandb, "trackio": trackio}
"""Name of a tracker and of the package that it needs -> what opens it."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise RecipeError for a tracker that is not in the table, InputError for one whose package is missing."""
    for name in names:
        if name not in TRACKERS:
            raise RecipeError(f"no tracker is called {name!r}: choose from {', '.join(sorted(TRACKERS))}")
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(f"the tracker {name} needs a package: pip install {name}") from error


@contextmanager
def tracking(names: Sequence[str], subject: Subject) -> Iterator[Callable[[Step], None]]:
    """Open trackers; give what takes each step. Raises RecipeError and InputError as `check_trackers` does."""
    check_trackers(names)
    watched = _Watched()
    opened: dict[str, Tracker] = {}
    for name in names:
        with watched.failures_of(name):
            opened[name] = TRACKERS[name](subject)

    def log(step: Step) -> None:
        if step.step < subject.first_step:
            return
        values = {
            "loss": step.loss,
            "learning_rate": step.learning_rate,
            "gradient_norm": step.gradient_norm,
            "tokens": step.tokens,
            "tokens_per_second": step.tokens_per_second,
            **({} if step.mfu is None else {"mfu": step.mfu}),
        }
        for name, (take, _) in opened.items():
            with watched.failures_of(name):
                take(step.step, values)

    try:
        yield log
    finally:
        for name, (_, close) in opened.items():
            with watched.failures_of(name):
                close()
        watched.tell()


class _Watched:
    """Failures of trackers: the first of each is told at once, their number at the end."""

    def __init__(self) -> None:
        self._num_failures: dict[str, int] = {}

    @contextmanager
    def failures_of(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Whatever a service's client raises, the training is worth more than its picture.
            if name not in self._num_failures:
                reason = " ".join(str(error).split())[:200]
                _log.warning("the tracker %s failed (%s: %s): the training goes on", name, type(error).__name__, reason)
            self._num_failures[name] = self._num_failures.get(name, 0) + 1

    def tell(self) -> None:
        for name, number in self._num_failures.items():
            _log.warning("the tracker %s failed %d times; metrics.jsonl holds every step", name, number)
