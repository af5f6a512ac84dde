"""The whole road on the text that ships with the package, small enough for two CPU cores and ten minutes.

    passages ------------------------------------------------> raw rows ----------> model "raw" ---------.
        |                                                                            | base              |
        |    task data -> tagged rows ------------------------------------------> "synthesizer"          |
        |                                                                            |                   v
        +-> Mine -> Verify -> Template -> mined rows --------> model "mined" --------|----------> benchmarks, held-out
        '-> Synthesize  <------------------------------------------------------------'                   ^
               '-> Template -> synthesized rows -------------> model "synthesized" ----------------------'

The three arms have one shape, one vocabulary, one budget of tokens and one seed; only their text differs. The model of
the raw arm is also what the synthesizer is tuned from, as the paper tunes a pre-trained base.
"""

from __future__ import annotations

from typing import Literal

from instructpt import devices
from instructpt.artifacts import Stage
from instructpt.recipes.augment import clean
from instructpt.records import Document, Group, Score, Text
from instructpt.stages.corpus import BuildVocabulary, Read, Split
from instructpt.stages.pairs import Mine, Verify
from instructpt.stages.results import Collect, Evaluate, HeldOut
from instructpt.stages.synthesis import Synthesize
from instructpt.stages.tasks import Convert
from instructpt.stages.texts import Pack, Tag, Template
from instructpt.stages.training import Source, Train, steps_for
from instructpt.training.settings import TrainSettings

LEARNING_RATE = 3e-3
"""1.5e-3 to 3e-3 are equally good for a model of this size, 6e-3 is worse (docs/log.md)."""
WARMUP_STEPS = 10
MAX_EPOCHS = 8
TASKS = ("arc_easy", "boolq", "piqa", "winogrande", "pubmedqa")
"""A model this small is at chance in most; they show that the road reaches the benchmarks, with honest error bars."""


def demo(
    *,
    documents: int = 600,
    shape: str = "3m",
    vocabulary_size: int = 4096,
    row_tokens: int = 512,
    batch_tokens: int = 2048,
    pretraining_tokens: int = 450_000,
    tuning_tokens: int = 850_000,
    passage_tokens: int = 256,
    evaluation_items: int = 100,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    seed: int = 0,
) -> Collect:
    """The whole road on the sample that ships: three small models, their scores and a report.

    Args:
        documents: How many of the sample's 1,330 documents to use.
        shape: Of every model; a name in instructpt/training/shapes.py.
        vocabulary_size: Ids of the vocabulary trained on the sample.
        row_tokens: Tokens a row of the pre-trained models; the synthesizer's window is twice as long.
        batch_tokens: Tokens an optimizer step. Few, because the budgets are small and steps are what a model learns
            by: the raw model ended at a loss of 6.2 with 8,192 and at 5.4 with 2,048 (docs/log.md).
        pretraining_tokens: Budget of each of the three models.
        tuning_tokens: Budget for tuning the synthesizer.
        passage_tokens: The longest passage.
        evaluation_items: Items a benchmark.
        precision: Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is.
        seed: Of every draw.
    """
    texts = clean(Read(name="documents", files=("sample:passages.jsonl.zst",), limit=documents))
    tasks = Convert(name="tasks", files=("sample:tasks.jsonl.zst",), shots=2, budget_characters=1500, seed=seed)
    tagged = Tag(name="tagged", groups=tasks)
    words = BuildVocabulary(name="vocabulary", texts=(texts, tagged), size=vocabulary_size)
    passages = Split(name="passages", documents=texts, vocabulary=words, budget_tokens=passage_tokens)
    window_tokens = 2 * row_tokens
    chosen = devices.fast_precision(devices.find("auto")) if precision == "auto" else precision

    def trained(name: str, source: Stage[Text], *, base: Train | None = None) -> Train:
        length, budget = (row_tokens, pretraining_tokens) if base is None else (window_tokens, tuning_tokens)
        batch_rows = max(1, batch_tokens // length)
        steps = steps_for(budget, row_tokens=length, batch_rows=batch_rows)
        rows = Pack(name=f"{name}-rows", texts=source, vocabulary=words, row_tokens=length)
        return Train(
            name=name,
            mixture=(Source(rows=rows),),
            settings=TrainSettings(
                steps=steps,
                learning_rate=LEARNING_RATE,
                warmup_steps=min(WARMUP_STEPS, steps),
                precision=chosen,
                seed=seed,
            ),
            batch_rows=batch_rows,
            vocabulary=words,
            shape=None if base else shape,
            base=base,
            max_positions=window_tokens,
            max_epochs=MAX_EPOCHS,
        )

    def templated(name: str, source: Stage[Group] | Stage[Document]) -> Template:
        return Template(name=name, groups=source, seed=seed)

    raw = trained("raw", templated("raw-texts", passages))
    mined = Verify(name="mined-groups", groups=Mine(name="mined-pairs", passages=passages, shots=2, seed=seed))
    synthesized = Synthesize(
        name="synthesized-groups",
        passages=passages,
        model=trained("synthesizer", tagged, base=raw),
        shots=2,
        window_tokens=window_tokens,
        max_new_tokens=160,
        seed=seed,
    )
    mined_model = trained("mined", templated("mined-texts", mined))
    synthesized_model = trained("synthesized", templated("synthesized-texts", synthesized))
    return scored((raw, mined_model, synthesized_model), row_tokens=row_tokens, num_items=evaluation_items)


def scored(models: tuple[Train, ...], *, row_tokens: int, num_items: int) -> Collect:
    """Every model's bits per byte on the held-out documents that ship, and its scores in `TASKS`."""
    held_out = Read(name="held-out", files=("sample:held_out.jsonl.zst",))
    results: list[Stage[Score]] = []
    for model in models:
        results.append(HeldOut(name=f"{model.name}-held-out", model=model, documents=held_out, row_tokens=row_tokens))
        results.append(Evaluate(name=f"{model.name}-scores", model=model, tasks=TASKS, limit=num_items))
    return Collect(name="scores", results=tuple(results))
