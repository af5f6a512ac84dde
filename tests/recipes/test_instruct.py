"""Tuning on a user's own pairs."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from experiments import run

from instructpt.assembly.rows import open_rows
from instructpt.collection.instructions import Instructions
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.instruct import instruct
from instructpt.words.vocabulary import load

INSTRUCTIONS = [
    {"dataset": "mine", "context": "", "question": "Name three rivers.", "answer": "Rhine, Loire, Ebro."},
    {"dataset": "mine", "context": "The Cole is short.", "question": "How long is the Cole?", "answer": "Short"},
    {"dataset": "mine", "context": "", "question": "Say nothing.", "answer": ""},
]


def test_a_users_pairs_are_tuned_on_with_loss_on_their_responses(tmp_path: Path, small_model: str) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in INSTRUCTIONS))
    model = instruct(small_model, pairs=(str(pairs),), layout="plain", row_tokens=64, epochs=2, precision="float32")
    rows = model.mixture[0].rows
    make(rows, run(tmp_path / "out"))
    counts = orjson.loads((tmp_path / "out" / "tuning-pairs" / "manifest.json").read_bytes())["tally"]
    assert (counts["taken"], counts["kept"], counts["dropped"]) == (3, 2, {"unanswerable": 1})
    folder = tmp_path / "out" / "tuning-rows"
    packed = open_rows(folder / "joined", shards=[folder / "00000"])
    batch = packed.batch(list(range(len(packed))))
    words = load(small_model)
    targets = batch.targets[batch.weights > 0]
    assert sorted(words.decode([int(t)]) for t in targets if t != words.eos) == sorted(
        words.decode([i]) for i in words.encode([" Rhine, Loire, Ebro.", " Short"])[0] + words.encode([" Short"])[0]
    )
    assert (targets == words.eos).sum() == 2, "where a response ends is learned"
    assert (model.epochs, model.base) == (2, small_model)
    assert model.settings.learning_rate == pytest.approx(0.09 * 0.46 / 256, rel=0.05)


def test_instructions_need_a_file_and_tuning_something_to_tune_on(small_model: str) -> None:
    with pytest.raises(RecipeError, match="give files in the neutral layout"):
        Instructions(name="instructions", files=())
    with pytest.raises(RecipeError, match="nothing to tune on"):
        instruct(small_model, tasks=(), precision="float32")
