"""Several processes train one model: what they see, what they learn, and what becomes of it when they are killed.

Real processes over gloo, each with what torchrun sets in its environment.
"""

import signal
import socket
import time

import numpy as np
import orjson
import pytest
import torch
import toy_training
from forked import PATIENCE_SECONDS, fork
from safetensors.torch import load_file
from toy_training import ToyOrder

from instructpt.training import checkpoints

STEPS = 8
LONG = "steps=20"
"""For the runs that are killed half-way."""


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def lines(process):
    return process.said().splitlines()


def wait_for_step(process, step):
    until = time.monotonic() + PATIENCE_SECONDS
    while not (said := lines(process)) or int(said[-1].split()[0]) < step:
        assert time.monotonic() < until, process.complained()
        assert process.is_alive(), process.complained()
        time.sleep(0.01)


def start(size, folder, vocabulary_folder, *words, seconds="0"):
    """Processes that train together."""
    port = str(free_port())
    said = folder.with_name(f"{folder.name}-said-{port}")
    words = (str(folder), str(vocabulary_folder), seconds, f"steps={STEPS}", *words)
    started = []
    for rank in range(size):
        world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        environment = world | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if size > 1 else {}
        started.append(fork(toy_training.main, *words, folder=said / str(rank), **environment))
    return started


def finish(processes):
    """Wait for them; what each said. Fails with their errors if one failed."""
    ended = [process.end() for process in processes]
    assert ended == [0] * len(processes), [process.complained() for process in processes]
    return [lines(process) for process in processes]


def run(size, folder, vocabulary_folder, *words):
    return finish(start(size, folder, vocabulary_folder, *words))


def losses(folder):
    return [orjson.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_bytes().splitlines()]


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def alone(tmp_path_factory, vocabulary_folder):
    folder = tmp_path_factory.mktemp("alone")
    run(1, folder, vocabulary_folder)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, vocabulary_folder):
    folder = tmp_path_factory.mktemp("two")
    return folder, run(2, folder, vocabulary_folder, LONG)


def test_processes_share_the_rows_of_one_batch():
    whole = ToyOrder().batch(3)
    for size in (1, 2, 4):
        parts = [ToyOrder().batch(3, rank=rank, world_size=size).inputs for rank in range(size)]
        assert np.array_equal(np.concatenate(parts), whole.inputs)


def test_every_process_gives_every_step(two):
    _, said = two
    assert said[0] == said[1]
    assert [int(line.split()[0]) for line in said[0]] == list(range(1, 21))


@pytest.mark.parametrize(
    ("size", "words"),
    [(2, ("micro_batch_rows=1", "checkpoint_activations=1")), (4, ("shard_size=2",))],
)
def test_any_world_learns_the_same(tmp_path, vocabulary_folder, alone, size, words):
    run(size, tmp_path, vocabulary_folder, *words)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (tmp_path, alone))
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.allclose(mine[name], theirs[name], atol=1e-4), name
    described = [(folder / "model" / "config.json").read_bytes() for folder in (tmp_path, alone)]
    assert orjson.loads(described[0]) == orjson.loads(described[1])


def test_bfloat16_layers_learn_nearly_the_same(tmp_path, vocabulary_folder, alone):
    run(2, tmp_path, vocabulary_folder, "bfloat16=1")
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=0.03)


@pytest.mark.parametrize(("first", "then"), [(4, 2), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, vocabulary_folder, alone, first, then):
    processes = start(first, tmp_path, vocabulary_folder, seconds="0.1")
    wait_for_step(processes[0], 3)
    processes[-1].send(signal.SIGTERM)
    assert max(int(line.split()[0]) for line in finish(processes)[-1]) < STEPS
    stopped_at = checkpoints.step_of(checkpoints.latest(tmp_path))
    assert 3 <= stopped_at < STEPS
    before = losses(tmp_path)
    run(then, tmp_path, vocabulary_folder)
    assert losses(tmp_path)[:stopped_at] == before
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)


def test_a_checkpoint_of_many_holds_no_pickle_and_one_goes_on_from_it(tmp_path, vocabulary_folder, alone):
    processes = start(2, tmp_path, vocabulary_folder, "checkpoint_every_steps=1", seconds="0.05")
    wait_for_step(processes[0], 5)
    processes[0].send(signal.SIGTERM)
    finish(processes)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert len(kept) == 2
    names = sorted(path.name for path in (tmp_path / "checkpoints" / kept[-1]).iterdir())
    assert [name for name in names if name.startswith("shard")] == [
        "shard-00000-of-00002.safetensors",
        "shard-00001-of-00002.safetensors",
    ]
    assert {"config.json", "state.json", "tokenizer.json"} <= set(names)
    assert all(name.endswith((".json", ".safetensors")) for name in names), names
    run(1, tmp_path, vocabulary_folder)
    assert losses(tmp_path) == pytest.approx(losses(alone), abs=1e-5)


def test_when_one_is_killed_the_others_say_so_and_resumed_it_equals_undisturbed_bit_for_bit(
    tmp_path, vocabulary_folder, two
):
    processes = start(2, tmp_path, vocabulary_folder, LONG, "checkpoint_every_steps=5", seconds="0.1")
    wait_for_step(processes[0], 7)
    processes[1].send(signal.SIGKILL)
    assert processes[1].end() == -signal.SIGKILL
    assert processes[0].end() == 1
    assert "TrainingError: process 0 of 2 cannot reach the others" in processes[0].complained().splitlines()[-1]
    assert checkpoints.step_of(checkpoints.latest(tmp_path)) in (5, 10, 15)
    run(2, tmp_path, vocabulary_folder, LONG)
    assert losses(tmp_path) == losses(two[0])
    assert weights(tmp_path) == weights(two[0])


def test_rows_that_cannot_be_shared_are_refused(tmp_path, vocabulary_folder):
    from instructpt.assembly.order import Order
    from instructpt.errors import RecipeError

    class Ten:
        num_rows = 10

    with pytest.raises(RecipeError, match="3 ranks cannot share a batch of 5 rows"):
        Order(Ten(), {}, 5).rows(0, world_size=3)


def test_a_shard_size_that_does_not_divide_the_world_is_refused(tmp_path, vocabulary_folder):
    processes = start(2, tmp_path, vocabulary_folder, "shard_size=3")
    assert all(process.end() == 1 for process in processes)
    assert all("RecipeError: shard_size is 3 of 2 processes" in process.complained() for process in processes)


def test_no_process_group_is_made_for_one(monkeypatch):
    from instructpt.training import parallel

    monkeypatch.delenv("RANK", raising=False)
    with parallel.joined("cpu") as world:
        assert (world.rank, world.size, world.mesh) == (0, 1, None)
        assert not torch.distributed.is_initialized()
        assert world.sum([1.5, 2]) == [1.5, 2]
