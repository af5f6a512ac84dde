"""The whole command under torchrun: who speaks, what comes out, and what a killed or stopped process does to the rest.

The run in which one process is killed is a real `torchrun`, over gloo on the CPU; it takes half a minute of processor
time. Where torchrun has nothing to do but to start them, two processes are forked with what it gives them: variables,
and a store through which they meet. The recipe trains twice, one model from the other: processes that trained together
must find each other again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from forked import PATIENCE_SECONDS, Forked, fork
from torch.distributed import TCPStore

from instructpt.cli.commands import main

RECIPE = f"{Path(__file__).parents[1] / 'fixtures' / 'two_trainings.py'}:two"
STEPS = 20


@dataclass(frozen=True)
class Torchrun:
    """A command under torchrun, with a log for each process."""

    process: subprocess.Popen[bytes]
    out: Path
    logs: Path

    def wait_for_step(self, step: int) -> None:
        wait_for_step(self.out, step, is_alive=lambda: self.process.poll() is None)

    def send(self, number: signal.Signals, *, rank: int) -> None:
        os.kill(int((self.logs / str(rank)).read_text()), number)

    def end(self) -> int:
        """Its exit status; fails if it does not end."""
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode

    def said(self, rank: int, stream: str) -> str:
        (path,) = self.logs.glob(f"*/attempt_0/{rank}/{stream}.log")
        return path.read_text()


def wait_for_step(out: Path, step: int, *, is_alive: Callable[[], bool]) -> None:
    metrics = out / "model" / "00000.open" / "00000" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < step:
        assert is_alive()
        time.sleep(0.01)


def words(corpus: Path, out: Path, pids: Path) -> list[str]:
    words = ["run", RECIPE, "--file", str(corpus), "--pids", str(pids), "--steps", str(STEPS), "--workers", "1"]
    return [*words, "--device", "cpu", "--training-options", "checkpoint_every_steps=3", "--out", str(out)]


def start(corpus: Path, out: Path) -> Torchrun:
    logs = Path(f"{out}-logs")
    logs.mkdir()
    torchrun = ["--standalone", "--nproc-per-node", "2", "--redirects", "3", "--log-dir", str(logs)]
    command = ["torch.distributed.run", *torchrun, "-m", "instructpt", *words(corpus, out, logs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=quiet, stderr=quiet, env=environment)
    return Torchrun(process, out, logs)


@contextmanager
def forked(corpus: Path, out: Path) -> Iterator[list[Forked]]:
    """Two processes that run the command together."""
    said = Path(f"{out}-said-{len(list(out.parent.iterdir()))}")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    world["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    yield [
        fork(main, words(corpus, out, out.parent), folder=said / rank, **world, RANK=rank, LOCAL_RANK=rank)
        for rank in ("0", "1")
    ]


def weights(out: Path) -> list[bytes]:
    return [(out / name / "00000" / "model" / "model.safetensors").read_bytes() for name in ("model", "tuned")]


def newest_checkpoint(out: Path) -> int:
    names = [path.name for path in (out / "model" / "00000.open" / "00000" / "checkpoints").glob("step-*")]
    return max(int(name.removeprefix("step-")) for name in names)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60))


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Forked]]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with forked(corpus, out) as processes:
        assert [process.end() for process in processes] == [0, 0], processes[0].complained()
    return out, processes


def test_both_models_are_trained_and_only_the_first_process_speaks(undisturbed: tuple[Path, list[Forked]]) -> None:
    out, (first, second) = undisturbed
    assert all(weights(out))
    assert first.said().startswith("Kept: all that was read\nReport: ")
    assert "model        done" in first.complained()
    assert "tuned        done" in first.complained()
    assert second.said() == second.complained() == ""


def test_one_killed_then_one_told_to_stop_then_left_alone_it_ends_with_the_same_bytes(
    corpus: Path, undisturbed: tuple[Path, list[Forked]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed = start(corpus, out)
    killed.wait_for_step(5)
    killed.send(signal.SIGKILL, rank=1)
    assert killed.end() != 0
    (line,) = [line for line in killed.said(0, "stderr").splitlines() if line.startswith("instructpt: ")]
    assert "process 0 of 2 cannot reach the others: one was killed" in line
    assert "the same command goes on from the last checkpoint" in line
    assert "Traceback" not in killed.said(0, "stderr")

    with forked(corpus, out) as stopped:
        wait_for_step(out, 8, is_alive=stopped[0].is_alive)
        stopped[1].send(signal.SIGTERM)
        assert [process.end() for process in stopped] == [0, 0]
    assert "stopped; what is finished is kept" in stopped[0].complained()
    assert not (out / "model" / "manifest.json").exists()
    assert 8 <= newest_checkpoint(out) < STEPS

    with forked(corpus, out) as resumed:
        assert [process.end() for process in resumed] == [0, 0], resumed[0].complained()
    assert weights(out) == weights(undisturbed[0])
