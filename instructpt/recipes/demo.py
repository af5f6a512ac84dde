"""The whole road on the text that ships with the package, small enough for two CPU cores and ten minutes.

    passages --------------------------------------------> raw rows ----------> model "raw" ---------.
        |                                                                                            v
        +-> Mine -> Verify -> Template ------------------> mined rows --------> model "mined" ---> scores
        |                                                                                            ^
        '-> Synthesize, by the model that ships -> Template -> rows ----------> model "synthesized" -'

The three arms have one shape, one vocabulary, one budget of tokens and one seed; only their text differs.
"""

from __future__ import annotations

from typing import Literal

from instructpt import devices
from instructpt.artifacts import Stage
from instructpt.assembly.stages import Pack
from instructpt.corpus.stages import BuildVocabulary, Read, Split
from instructpt.engines.models import SHIPPED
from instructpt.evaluation.stages import Collect, Evaluate, HeldOut, Rate
from instructpt.mining.stages import Mine
from instructpt.recipes.augment import USUAL_PAIRS, clean, told
from instructpt.records import Document, Group, Score
from instructpt.synthesis.stages import Synthesize, default_checks
from instructpt.templates.stages import Template
from instructpt.training.settings import TrainSettings
from instructpt.training.stages import Source, Train, steps_for
from instructpt.verification.stages import Verify

LEARNING_RATE = 3e-3
"""1.5e-3 to 3e-3 are equally good for a model of this size, 6e-3 is worse (docs/log.md)."""
WARMUP_STEPS = 10
MAX_EPOCHS = 8
MAX_NEW_TOKENS = 300
"""An answer; five pairs are about 250 tokens."""
TASKS = ("arc_easy", "boolq", "piqa", "winogrande", "pubmedqa")
"""A model this small is at chance in most; they show that the road reaches the benchmarks, with honest error bars."""


def demo(
    *,
    documents: int = 300,
    shape: str = "3m",
    vocabulary_size: int = 4096,
    row_tokens: int = 512,
    batch_tokens: int = 2048,
    pretraining_tokens: int = 450_000,
    passage_tokens: int = 256,
    synthesizer: str = SHIPPED,
    evaluation_items: int = 100,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    seed: int = 0,
) -> Collect:
    """The whole road on the sample that ships: three small models, their scores and a report.

    Args:
        documents: How many of the sample's 1,330 documents to use.
        shape: Of every model; a name in instructpt/training/shapes.py.
        vocabulary_size: Ids of the vocabulary trained on the sample.
        row_tokens: Tokens a row.
        batch_tokens: Tokens an optimizer step. Few, because the budgets are small and steps are what a model learns
            by: the raw model ended at a loss of 6.2 with 8,192 and at 5.4 with 2,048 (docs/log.md).
        pretraining_tokens: Budget of each of the three models.
        passage_tokens: The longest passage.
        synthesizer: What writes the pairs; the small one that ships, or a folder or Hub id.
        evaluation_items: Items a benchmark.
        precision: Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is.
        seed: Of every draw.
    """
    texts = clean(Read(name="documents", files=("sample:passages.jsonl.zst",), limit=documents))
    words = BuildVocabulary(name="vocabulary", texts=(texts,), size=vocabulary_size)
    passages = Split(name="passages", documents=texts, vocabulary=words, budget_tokens=passage_tokens)
    chosen = devices.fast_precision(devices.find("auto")) if precision == "auto" else precision
    batch_rows = max(1, batch_tokens // row_tokens)
    steps = steps_for(pretraining_tokens, row_tokens=row_tokens, batch_rows=batch_rows)

    def trained(name: str, source: Stage[Group] | Stage[Document]) -> Train:
        texts = Template(name=f"{name}-texts", groups=source, seed=seed)
        return Train(
            name=name,
            mixture=(Source(rows=Pack(name=f"{name}-rows", texts=texts, vocabulary=words, row_tokens=row_tokens)),),
            settings=TrainSettings(
                steps=steps,
                learning_rate=LEARNING_RATE,
                warmup_steps=min(WARMUP_STEPS, steps),
                precision=chosen,
                seed=seed,
            ),
            batch_rows=batch_rows,
            vocabulary=words,
            shape=shape,
            max_epochs=MAX_EPOCHS,
        )

    mined = Verify(name="mined-groups", groups=Mine(name="mined-pairs", passages=passages, shots=2, seed=seed))
    speech = told(synthesizer)
    synthesized = Synthesize(
        name="synthesized-groups",
        passages=passages,
        model=synthesizer,
        shots=2,
        categories=speech.mix if speech else "",
        pairs=(speech.pairs if speech else None) or USUAL_PAIRS,
        checks=default_checks(speech),
        max_new_tokens=MAX_NEW_TOKENS,
        seed=seed,
    )
    models = (trained("raw", passages), trained("mined", mined), trained("synthesized", synthesized))
    return scored(models, row_tokens=row_tokens, num_items=evaluation_items)


def scored(models: tuple[Train, ...], *, row_tokens: int, num_items: int) -> Collect:
    """Every model's bits per byte on the held-out documents that ship, and its scores in `TASKS`."""
    held_out = Read(name="held-out", files=("sample:held_out.jsonl.zst",))
    results: list[Stage[Score]] = []
    for model in models:
        results.append(HeldOut(name=f"{model.name}-held-out", model=model, documents=held_out, row_tokens=row_tokens))
        items = Evaluate(name=f"{model.name}-items", model=model, tasks=TASKS, limit=num_items)
        results.append(Rate(name=f"{model.name}-scores", items=items))
    return Collect(name="scores", results=tuple(results))
