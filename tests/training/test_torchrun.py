"""The whole command under torchrun: who speaks, what comes out, and what a killed or stopped process does to the rest.

Every test is a real `torchrun` of two processes, over gloo on the CPU. Its recipe trains twice, one model from the
other: processes that trained together must find each other again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus

RECIPE = f"{Path(__file__).parents[1] / 'fixtures' / 'two_trainings.py'}:two"
STEPS = 20
PATIENCE_SECONDS = 180


@dataclass(frozen=True)
class Torchrun:
    """A command under torchrun, with a log for each process."""

    process: subprocess.Popen[bytes]
    out: Path
    logs: Path

    def wait_for_step(self, step: int) -> None:
        metrics = self.out / "model" / "00000.open" / "00000" / "metrics.jsonl"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < step:
            assert self.process.poll() is None, self.said(0, "stderr")
            assert time.monotonic() < deadline, self.said(0, "stderr")
            time.sleep(0.01)

    def send(self, number: signal.Signals, *, rank: int) -> None:
        os.kill(int((self.logs / str(rank)).read_text()), number)

    def end(self) -> int:
        """Its exit status; fails if it does not end."""
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode

    def said(self, rank: int, stream: str) -> str:
        (path,) = self.logs.glob(f"*/attempt_0/{rank}/{stream}.log")
        return path.read_text()


def start(corpus: Path, out: Path) -> Torchrun:
    logs = Path(f"{out}-logs-{len(list(out.parent.iterdir()))}")
    logs.mkdir()
    torchrun = ["--standalone", "--nproc-per-node", "2", "--redirects", "3", "--log-dir", str(logs)]
    words = ["--file", str(corpus), "--pids", str(logs), "--steps", str(STEPS), "--workers", "1"]
    words += ["--device", "cpu", "--training-options", "checkpoint_every_steps=3"]
    command = ["torch.distributed.run", *torchrun, "-m", "instructpt", "run", RECIPE, *words, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=quiet, stderr=quiet, env=environment)
    return Torchrun(process, out, logs)


def weights(out: Path) -> list[bytes]:
    return [(out / name / "00000" / "model" / "model.safetensors").read_bytes() for name in ("model", "tuned")]


def newest_checkpoint(out: Path) -> int:
    names = [path.name for path in (out / "model" / "00000.open" / "00000" / "checkpoints").glob("step-*")]
    return max(int(name.removeprefix("step-")) for name in names)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60))


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Torchrun:
    run = start(corpus, tmp_path_factory.mktemp("undisturbed") / "out")
    assert run.end() == 0, run.said(0, "stderr")
    return run


def test_both_models_are_trained_and_only_the_first_process_speaks(undisturbed: Torchrun) -> None:
    assert all(weights(undisturbed.out))
    assert undisturbed.said(0, "stdout").startswith("Kept: all that was read\nReport: ")
    assert "model        done" in undisturbed.said(0, "stderr")
    assert "tuned        done" in undisturbed.said(0, "stderr")
    assert undisturbed.said(1, "stdout") == undisturbed.said(1, "stderr") == ""


def test_one_killed_then_one_told_to_stop_then_left_alone_it_ends_with_the_same_bytes(
    corpus: Path, undisturbed: Torchrun, tmp_path: Path
) -> None:
    killed = start(corpus, tmp_path / "out")
    killed.wait_for_step(5)
    killed.send(signal.SIGKILL, rank=1)
    assert killed.end() != 0
    (line,) = [line for line in killed.said(0, "stderr").splitlines() if line.startswith("instructpt: ")]
    assert "process 0 of 2 cannot reach the others: one was killed" in line
    assert "the same command goes on from the last checkpoint" in line
    assert "Traceback" not in killed.said(0, "stderr")

    stopped = start(corpus, tmp_path / "out")
    stopped.wait_for_step(8)
    stopped.send(signal.SIGTERM, rank=1)
    assert stopped.end() == 0
    assert "stopped; what is finished is kept" in stopped.said(0, "stderr")
    assert not (stopped.out / "model" / "manifest.json").exists()
    assert 8 <= newest_checkpoint(stopped.out) < STEPS

    resumed = start(corpus, tmp_path / "out")
    assert resumed.end() == 0, resumed.said(0, "stderr")
    assert weights(resumed.out) == weights(undisturbed.out)
