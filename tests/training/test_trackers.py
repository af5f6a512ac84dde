"""Trackers: asked for by name, never in the way of the training."""

import logging

import pytest

from instructpt.errors import InputError, RecipeError
from instructpt.records import Step
from instructpt.training import trackers
from instructpt.training.trackers import TRACKERS, Subject, check_trackers, tracking


def steps(first, last):
    return [
        Step(
            step=number,
            tokens=number * 128,
            loss=5.0 / number,
            learning_rate=1e-3,
            gradient_norm=1.0,
            tokens_per_second=1000.0,
            mfu=None,
        )
        for number in range(first, last + 1)
    ]


def subject(folder, *, first_step=1):
    return Subject("instructpt", "model", folder, {"steps": 5}, first_step)


class Noted:
    """A tracker that keeps what it was told, and fails when told to."""

    said: list
    fails = False

    def __init__(self, subject):
        type(self).said = []

    def log(self, step, values):
        if self.fails:
            raise ConnectionError("the service is gone")
        self.said.append((step, values))

    def close(self):
        self.said.append("closed")


@pytest.fixture
def noted(monkeypatch):
    def opened(subject):
        tracker = Noted(subject)
        return tracker.log, tracker.close

    monkeypatch.setitem(TRACKERS, "noted", opened)
    monkeypatch.setattr(trackers, "import_module", lambda name: None)
    monkeypatch.setattr(Noted, "fails", False)
    return Noted


def test_every_step_is_told_once_and_earlier_ones_are_not_told_again(tmp_path, noted):
    with tracking(["noted"], subject(tmp_path, first_step=3)) as log:
        for step in steps(1, 4):
            log(step)
    assert [entry[0] for entry in noted.said[:-1]] == [3, 4]
    assert noted.said[0][1]["loss"] == pytest.approx(5 / 3)
    assert "mfu" not in noted.said[0][1]
    assert noted.said[-1] == "closed"


def test_a_tracker_that_fails_is_told_of_once_and_counted(tmp_path, noted, monkeypatch, caplog):
    monkeypatch.setattr(noted, "fails", True)
    with caplog.at_level(logging.WARNING), tracking(["noted"], subject(tmp_path)) as log:
        for step in steps(1, 4):
            log(step)
    assert [record.getMessage() for record in caplog.records] == [
        "the tracker noted failed (ConnectionError: the service is gone): the training goes on",
        "the tracker noted failed 4 times; metrics.jsonl holds every step",
    ]


def test_an_unknown_tracker_is_named():
    with pytest.raises(RecipeError, match="choose from tensorboard, trackio, wandb"):
        check_trackers(["tensorbord"])


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_says_how_to_get_it(name, monkeypatch):
    def missing(package):
        raise ImportError(package)

    monkeypatch.setattr(trackers, "import_module", missing)
    with pytest.raises(InputError, match=f"pip install {name}"):
        check_trackers([name])


def test_nothing_is_loaded_for_none(tmp_path):
    with tracking([], subject(tmp_path)) as log:
        log(steps(1, 1)[0])
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracking(["tensorboard"], subject(tmp_path)) as log:
        for step in steps(1, 5):
            log(step)
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [event.step for event in read.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert read.Scalars("loss")[4].value == pytest.approx(1.0)
