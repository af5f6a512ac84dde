"""The training loop beside `transformers.Trainer`: the same model, rows, batch, threads, precision and optimizer.

    python -m benchmarks.training

The rows are full and hold several documents each. Ours keeps these apart; the Trainer reads every row as one causal
text, its plain and fastest way. Runs of a few steps alternate, so that a busy machine slows both; a run's first step
is not counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from instructpt.records import Batch
from instructpt.seeds import rng
from instructpt.training.loop import train
from instructpt.training.settings import Execution, TrainSettings
from instructpt.training.shapes import new_model, shape_named
from instructpt.words import vocabulary

SHAPE, VOCABULARY_SIZE = "7m", 8192
NUM_ROWS, ROW_TOKENS = 8, 512
MEAN_DOCUMENT_TOKENS = 170
NUM_STEPS = 4
"""A run, the first not counted."""
NUM_REPEATS = 5
Precision = Literal["float32", "bfloat16"]


class Rows:
    """Random ids in full rows of several documents."""

    def batch(self, step: int) -> Batch:
        """The rows of a step."""
        draw = rng(0, "rows", step)
        shape = (NUM_ROWS, ROW_TOKENS)
        inputs = np.array([[draw.randrange(2, VOCABULARY_SIZE) for _ in range(ROW_TOKENS)] for _ in range(NUM_ROWS)])
        targets, weights = np.roll(inputs, -1, axis=1), np.ones(shape, np.float32)
        positions, documents = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row in range(NUM_ROWS):
            begin = number = 0
            while begin < ROW_TOKENS:
                length = min(ROW_TOKENS - begin, 8 + int(draw.expovariate(1 / MEAN_DOCUMENT_TOKENS)))
                place = slice(begin, begin + length)
                positions[row, place], documents[row, place] = np.arange(length), number
                begin, number = begin + length, number + 1
        return Batch(inputs, targets, weights, positions, documents)

    def documents(self, step: int) -> list[str]:
        """The rows' numbers for names."""
        return [f"row {step * NUM_ROWS + row}" for row in range(NUM_ROWS)]


def measure() -> dict[str, float | int | str]:
    """Tokens a second of both sides and their ratio, in float32 and bfloat16."""
    values: dict[str, float | int | str] = {
        "model": f"{SHAPE}, {VOCABULARY_SIZE} ids",
        "batch": f"{NUM_ROWS} x {ROW_TOKENS} tokens",
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocabulary.train(["a few words for a tokenizer that only has to be there"], size=280, folder=folder / "words")
        precisions: tuple[Precision, ...] = ("float32", "bfloat16")
        for precision in precisions:
            runs = [
                (_ours(folder / f"{precision}-{repeat}", folder / "words", precision), _trainer(folder, precision))
                for repeat in range(NUM_REPEATS)
            ]
            ratios = sorted(ours / theirs for ours, theirs in runs)
            values |= {
                f"{precision}: tokens/s": statistics.median(ours for ours, _ in runs),
                f"{precision}: tokens/s of Trainer": statistics.median(theirs for _, theirs in runs),
                f"{precision}: ratio, median of {NUM_REPEATS}": statistics.median(ratios),
                f"{precision}: ratio, least and most": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
            }
    return values


def _model() -> Any:
    return new_model(
        shape_named(SHAPE), vocabulary_size=VOCABULARY_SIZE, bos=0, eos=1, max_positions=ROW_TOKENS, seed=0
    )


def _ours(folder: Path, words: Path, precision: Precision) -> float:
    settings = TrainSettings(steps=NUM_STEPS, learning_rate=1e-4, precision=precision)
    execution = Execution(device="cpu", checkpoint_every_steps=NUM_STEPS)
    run = train(settings, model=_model(), order=Rows(), vocabulary_folder=words, folder=folder, execution=execution)
    ends = []
    for step in run:
        ends.append(time.monotonic())
        if step.step == NUM_STEPS:
            run.close()  # type: ignore[attr-defined]
    return _rate(ends)


def _trainer(folder: Path, precision: Precision) -> float:
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: object, **keywords: object) -> None:
            del arguments, keywords
            ends.append(time.monotonic())

    rows = [row for step in range(NUM_STEPS) for row in Rows().batch(step).inputs]
    trainer = Trainer(
        model=_model(),
        args=TrainingArguments(
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=NUM_ROWS,
            max_steps=NUM_STEPS,
            learning_rate=1e-4,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            weight_decay=0.1,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            bf16=precision == "bfloat16",
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=[{"input_ids": torch.from_numpy(row), "labels": torch.from_numpy(row)} for row in rows],
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return _rate(ends)


def _rate(ends: list[float]) -> float:
    return (len(ends) - 1) * NUM_ROWS * ROW_TOKENS / (ends[-1] - ends[0])


if __name__ == "__main__":
    for key, value in measure().items():
        print(key, value)
