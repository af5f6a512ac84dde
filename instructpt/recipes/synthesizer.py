"""An instruction synthesizer: task data in, a model that writes pairs for any text out (paper, section 1)."""

from __future__ import annotations

from typing import Literal

from instructpt import devices
from instructpt.artifacts import Stage
from instructpt.recipes.augment import clean
from instructpt.stages.corpus import BuildVocabulary, Read
from instructpt.stages.texts import Pack, Template
from instructpt.stages.training import Source, Train, steps_for
from instructpt.training.settings import TrainSettings

HELD_OUT_DOCUMENTS = 300


def synthesizer(
    *,
    corpora: tuple[str, ...] = (),
    shape: str = "7m",
    vocabulary_size: int = 8192,
    row_tokens: int = 512,
    pretraining_tokens: int = 18_000_000,
    pretraining_batch_tokens: int = 4096,
    pretraining_learning_rate: float = 2e-3,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    seed: int = 0,
) -> Stage[object]:
    """Tune.

    Args:
        corpora: Raw text.
        shape: Of the model.
        vocabulary_size: Ids.
        row_tokens: Tokens a row.
        pretraining_tokens: Budget.
        pretraining_batch_tokens: A step.
        pretraining_learning_rate: Highest.
        precision: Of training.
        seed: Of every draw.
    """
    chosen = devices.fast_precision(devices.find("auto")) if precision == "auto" else precision
    texts = {}
    for file in corpora:
        stem = file.rstrip("/").rpartition("/")[2].partition(".")[0]
        texts[stem] = clean(Read(name=stem, files=(file,), skip=HELD_OUT_DOCUMENTS), prefix=f"{stem}-")
    words = BuildVocabulary(
        name="vocabulary",
        texts=tuple(texts.values()),
        size=vocabulary_size,
        limit_bytes=8_000_000,
        words=("<CON>", "</CON>", "<QUE>", "<ANS>", "</END>", "<CAT>", "<ASK>", "</ASK>"),
    )
    batch_rows = max(1, pretraining_batch_tokens // row_tokens)
    steps = steps_for(pretraining_tokens, row_tokens=row_tokens, batch_rows=batch_rows)
    return Train(
        name="base",
        mixture=tuple(
            Source(
                rows=Pack(
                    name=f"{stem}-rows",
                    texts=Template(name=f"{stem}-texts", groups=text),
                    vocabulary=words,
                    row_tokens=row_tokens,
                )
            )
            for stem, text in texts.items()
        ),
        settings=TrainSettings(
            steps=steps,
            learning_rate=pretraining_learning_rate,
            warmup_steps=min(100, steps),
            precision=chosen,
            seed=seed,
        ),
        batch_rows=batch_rows,
        vocabulary=words,
        shape=shape,
        max_positions=1024,
    )
