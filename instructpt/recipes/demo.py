"""The whole road on the text that ships with the package, small enough for two CPU cores and ten minutes.

    passages ---------------------------------> raw rows ------> model "raw" ----.
        |                                                                        +--> scores
        +-> Mine -> Verify -> Template -------> mined rows ----> model "mined" --'
        |
        '-> some: Synthesize -> Consistency -> Best, by the writer and the reader that ship: pairs to look at

The two arms have one shape, one vocabulary, one budget of tokens and one seed; only their text differs. Models of this
size are at chance; they show that the whole road works. Two cores write pairs for too few passages in ten minutes to
train on, so these stand in the report to be read.
"""

from __future__ import annotations

from instructpt.artifacts import Stage
from instructpt.assembly.stages import Pack
from instructpt.corpus.stages import BuildVocabulary, Read, Split
from instructpt.engines.models import SHIPPED
from instructpt.evaluation.stages import Collect, Evaluate, HeldOut, Rate
from instructpt.mining.stages import Mine
from instructpt.recipes.augment import clean, known_prompting, synthesized
from instructpt.recipes.budgets import fast_precision
from instructpt.recipes.flags import SAMPLE_PASSAGES, PrecisionFlag, Seed, SynthesizerFlag, recipe
from instructpt.records import Document, Group, Score
from instructpt.templates.stages import Template
from instructpt.training.settings import TrainSettings
from instructpt.training.stages import Source, Train, steps_for
from instructpt.verification.stages import Verify

LEARNING_RATE = 3e-3
"""1.5e-3 to 3e-3 are equally good for a model of this size, 6e-3 is worse (docs/log.md)."""
WARMUP_STEPS = 10
MAX_EPOCHS = 8
TASKS = ("arc_easy", "boolq", "piqa", "winogrande", "pubmedqa")
"""A model this small is at chance in most; they show that the road reaches the benchmarks, with honest error bars."""


@recipe
def demo(
    *,
    documents: int = 300,
    written_documents: int = 12,
    shape: str = "3m",
    vocabulary_size: int = 4096,
    row_tokens: int = 512,
    batch_tokens: int = 2048,
    pretraining_tokens: int = 450_000,
    passage_tokens: int = 256,
    synthesizer: SynthesizerFlag = SHIPPED,
    evaluation_items: int = 100,
    precision: PrecisionFlag = "auto",
    seed: Seed = 0,
) -> Collect:
    """The whole road on the sample that ships: pairs, two small models, their scores and a report.

    Args:
        documents: How many of the sample's 1,330 documents to use.
        written_documents: Of how many of these a model writes pairs for the passages; rules mine pairs for all.
        shape: Of every model; a name in instructpt/training/shapes.py.
        vocabulary_size: Ids of the vocabulary trained on the sample.
        row_tokens: Tokens a row.
        batch_tokens: Tokens an optimizer step. Few, because the budgets are small and steps are what a model learns
            by: the raw model ended at a loss of 6.2 with 8,192 and at 5.4 with 2,048 (docs/log.md).
        pretraining_tokens: Budget of each of the two models.
        passage_tokens: The longest passage.
        evaluation_items: Items a benchmark.
    """
    texts = clean(Read(name="documents", files=(SAMPLE_PASSAGES,), limit=documents))
    words = BuildVocabulary(name="vocabulary", texts=(texts,), size=vocabulary_size)
    passages = Split(name="passages", documents=texts, vocabulary=words, budget_tokens=passage_tokens)
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
                precision=fast_precision(precision),
                seed=seed,
            ),
            batch_rows=batch_rows,
            vocabulary=words,
            shape=shape,
            max_epochs=MAX_EPOCHS,
        )

    mined = Verify(name="mined-groups", groups=Mine(name="mined-pairs", passages=passages, shots=2, seed=seed))
    prompting = known_prompting(synthesizer)
    part = clean(Read(name="written-documents", files=(SAMPLE_PASSAGES,), limit=written_documents), prefix="written-")
    written = synthesized(
        "written-groups",
        Split(name="written-passages", documents=part, vocabulary=synthesizer, budget_tokens=passage_tokens),
        synthesizer,
        prompting,
        shots=1,
        seed=seed,
    )
    models = (trained("raw", passages), trained("mined", mined))
    return scored(models, beside=(written,), row_tokens=row_tokens, num_items=evaluation_items)


def scored(models: tuple[Train, ...], *, beside: tuple[Stage[Group], ...], row_tokens: int, num_items: int) -> Collect:
    """Every model's bits per byte on the held-out documents that ship, and its scores in `TASKS`.

    beside: made too.
    """
    held_out = Read(name="held-out", files=("sample:held_out.jsonl.zst",))
    results: list[Stage[Score]] = []
    for model in models:
        results.append(HeldOut(name=f"{model.name}-held-out", model=model, documents=held_out, row_tokens=row_tokens))
        items = Evaluate(name=f"{model.name}-items", model=model, tasks=TASKS, limit=num_items)
        results.append(Rate(name=f"{model.name}-scores", items=items))
    return Collect(name="scores", results=tuple(results), beside=beside)
