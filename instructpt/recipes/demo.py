"""The whole road on the text that ships with the package, in some ten minutes on two CPU cores.

    passages ----------------------------------------> rows --> the open base goes on: "raw" -----.
        |                                                                                          +--> closed-book exam
        '-> Synthesize -> Consistency -> Best -> Fill -> texts with pairs -> rows -> "instruct" ---+
                                                            the base as it is: "before" -----------'

Both go on from one base with the same number of tokens, in the same steps; only their text differs. The exam asks what
people asked about these passages. Its questions are in no text. What it tells is what pairs are worth to this base at
this budget; how much of that is what the texts say, and how much is how to answer, only the control tells: arm mixed of
`instructpt run compare --recipe domain`.
"""

from __future__ import annotations

from instructpt.engines.models import SHIPPED, Model
from instructpt.evaluation.exam import Questions
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.stages import Collect, Rate
from instructpt.recipes import flags
from instructpt.recipes.augment import clean
from instructpt.recipes.domain import Continued
from instructpt.recipes.flags import recipe

PASSAGES, QUESTIONS = "sample:exam_passages.jsonl.zst", "sample:exam_questions.jsonl.zst"
OPEN_BASE = "open:smollm2-135m"
ARMS = ("raw", "instruct")


@recipe
def demo(
    *,
    documents: int = 24,
    augmented_share: float = 1.0,
    base: str = OPEN_BASE,
    synthesizer: flags.SynthesizerFlag = SHIPPED,
    training_tokens: int = 10_240,
    row_tokens: int = 256,
    batch_tokens: int = 256,
    learning_rate: float = 2e-3,
    lora_rank: int = 16,
    lora_layers: int | None = 16,
    questions: int = 3,
    max_new_tokens: int = 16,
    precision: flags.PrecisionFlag = "auto",
    seed: flags.Seed = 0,
) -> Collect:
    """The whole road on the sample that ships: pairs, an open base that learns from them, its exam and a report.

    Args:
        documents: How many of the 40 passages to use. The exam needs at least 20.
        augmented_share: Share of the passages that get pairs.
        base: The model that is trained further, as a folder or Hub id.
        training_tokens: Tokens that each of the two models is trained on.
        row_tokens: Tokens per row.
        batch_tokens: Tokens per optimizer step.
        learning_rate: The peak learning rate.
        lora_rank: Rank of LoRA adapters, which are merged into the model at the end. 0 trains all weights.
        lora_layers: Put adapters only into this many of the last layers.
        questions: Questions per passage in the exam, at most 4.
        max_new_tokens: Length limit of a written answer in the exam, in tokens.
    """
    reading, files = flags.Reading(limit=documents), (PASSAGES,)
    texts = clean(reading.read(files))
    experiment = Continued(
        base=base,
        files=files,
        documents=texts,
        augmentation=flags.Augmentation(synthesizer=synthesizer, augmented_share=augmented_share, rounds=1),
        tasks=(flags.SAMPLE_TASKS,),
        reading=reading,
        training=flags.Training(
            row_tokens=row_tokens, batch_tokens=batch_tokens, learning_rate=learning_rate, precision=precision
        ),
        continuing=flags.Continuing(replay_share=0.0, lora_rank=lora_rank, lora_layers=lora_layers),
        tokens=training_tokens,
        instructions_ratio=0.0,
        seed=seed,
    )
    passages = flags.Reading().read(files, name="passages")
    exam = Questions(name="exam", files=(QUESTIONS,), documents=passages, trained_on=texts, max_questions=questions)

    def examined(name: str, model: Model, against: Rate | None = None) -> Rate:
        items = Examine(
            name=f"{name}-exam-items", model=model, exam=exam, has_open_book=False, max_new_tokens=max_new_tokens
        )
        return Rate(name=f"{name}-exam", items=items, model_name=name, against=against)

    results = [examined("before", base)]
    for arm in ARMS:
        model = experiment.train(arm, name=arm, seed=seed)
        results.append(examined(arm, model, against=results[-1]))
    return Collect(name="scores", results=tuple(results))
