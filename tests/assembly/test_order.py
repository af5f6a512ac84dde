"""A step's batch is the same whenever, wherever and by however many ranks it is asked for."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from instructpt.assembly.mixture import plan
from instructpt.assembly.order import Order
from instructpt.assembly.rows import open_rows, pack
from instructpt.assembly.tokenize import tokenize
from instructpt.errors import RecipeError
from instructpt.records import Batch, Text
from instructpt.words import vocabulary


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> Order:
    words, root, sources = vocabulary.load(vocabulary_folder), tmp_path_factory.mktemp("rows"), {}
    for name, number in (("web", 60), ("tasks", 25)):
        texts = [Text(f"{name}-{i}", f"{name} {i} " * (1 + i % 9), name, "raw") for i in range(number)]
        tokenize(texts, vocabulary=words, folder=root / name / "00000")
        pack(
            [root / name / "00000"],
            capacity=32,
            policy="best-fit",
            folder=root / name / "joined",
            vocabulary_fingerprint=words.fingerprint,
        )
        sources[name] = open_rows(root / name / "joined")
    return Order(plan(sources, weights={"web": 3, "tasks": 1}, num_rows=96, seed=3, max_epochs=9), sources, 8)


def equal(first: Batch, second: Batch) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(Batch))


def test_a_batch_holds_the_rows_of_its_step_in_order(order: Order) -> None:
    for step in range(order.num_steps):
        batch = order.batch(step)
        assert batch.inputs.shape == (8, 32)
        for place, (name, row) in enumerate(order.rows(step)):
            alone = order.sources[name].batch([row])
            for f in fields(Batch):
                assert np.array_equal(getattr(batch, f.name)[place], getattr(alone, f.name)[0])


def test_going_on_at_any_step_gives_what_an_undisturbed_run_saw(order: Order) -> None:
    undisturbed = [order.batch(step) for step in range(order.num_steps)]
    for start in range(order.num_steps):
        resumed = Order(order.mixture, order.sources, 8)
        for step in range(start, order.num_steps):
            assert equal(resumed.batch(step), undisturbed[step])


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_any_number_of_ranks_sees_the_same_global_batch(order: Order, world_size: int) -> None:
    for step in range(order.num_steps):
        parts = [order.batch(step, rank=rank, world_size=world_size) for rank in range(world_size)]
        together = Batch(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Batch)))
        assert equal(together, order.batch(step))


def test_a_batch_of_twice_the_size_is_two_batches(order: Order) -> None:
    doubled = Order(order.mixture, order.sources, 16)
    assert doubled.num_steps * 2 == order.num_steps
    assert doubled.rows(3) == order.rows(6) + order.rows(7)


def test_a_batch_names_its_texts(order: Order) -> None:
    named = order.documents(2)
    assert len(named) == sum(len(order.sources[name].documents_in([row])) for name, row in order.rows(2))
    for name in named:
        match = re.fullmatch(r"(web|tasks)-(\d+) \((web|tasks)/00000, text (\d+)\)", name)
        assert match is not None
        assert match.group(1, 2) == match.group(3, 4)
    assert named == order.documents(2, rank=0, world_size=2) + order.documents(2, rank=1, world_size=2)


def test_ranks_that_cannot_share_a_batch_are_refused(order: Order) -> None:
    with pytest.raises(RecipeError, match="3 ranks cannot share a batch of 8"):
        order.batch(0, world_size=3)


@pytest.mark.parametrize("batch_rows", [0, 7])
def test_budgets_that_are_no_whole_number_of_batches_are_refused(order: Order, batch_rows: int) -> None:
    with pytest.raises(RecipeError, match="multiple of the batch"):
        Order(order.mixture, order.sources, batch_rows)
