"""Instruction tuning of a checkpoint: task data or a user's own pairs, loss on the responses.

    task collection -> Convert -------> Template --.
    your pairs      -> Instructions --> Template --+-> Blend -> Pack -> rows -> Train, from the model

The paper tunes its pre-trained models on Flan-style data to see how well they take to it (its figure 4); its settings
for that are not known, those here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from instructpt.assembly.blending import Blend, Part
from instructpt.assembly.stages import Pack
from instructpt.collection.instructions import Instructions
from instructpt.collection.stages import Convert
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.recipes.budgets import Precision, fast_precision, fitting_row_tokens, tuning_rate
from instructpt.recipes.tuning import LORA_RATE_FACTOR, width_of_base
from instructpt.templates.stages import Template
from instructpt.training.settings import Lora, TrainSettings
from instructpt.training.stages import Source, Train

SAMPLE_TASKS = "sample:tasks.jsonl.zst"
ROW_TOKENS = 2048
BATCH_TOKENS = 16_384
EPOCHS = 3.0
WARMUP_STEPS = 100
LORA_ALPHA_FACTOR = 2
_MOST_STEPS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How models are tuned on one set of texts; several of an experiment share it."""

    texts: Blend
    settings: TrainSettings
    """Without their number of steps: `epochs` ends a run."""
    row_tokens: int
    batch_rows: int
    epochs: float

    def train(self, model: Model, *, vocabulary: Model, name: str, seed: int) -> Train:
        """The tuned model. vocabulary: the model's. seed: of the order of the texts."""
        rows = Pack(name="tuning-rows", texts=self.texts, vocabulary=vocabulary, row_tokens=self.row_tokens)
        return Train(
            name=name,
            mixture=(Source(rows=rows),),
            settings=replace(self.settings, seed=seed),
            batch_rows=self.batch_rows,
            vocabulary=vocabulary,
            base=model,
            epochs=self.epochs,
            max_epochs=max(1.0, self.epochs) + 1,
        )


def instruct(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    pairs: tuple[str, ...] = (),
    tasks: tuple[str, ...] | None = None,
    hub: bool = False,
    sets: tuple[str, ...] = (),
    layout: Literal["drawn", "plain"] = "drawn",
    loss: Literal["responses", "all"] = "responses",
    epochs: float = EPOCHS,
    row_tokens: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    learning_rate: float | None = None,
    warmup_steps: int = WARMUP_STEPS,
    lora_rank: int = 0,
    language: str = "english",
    precision: Precision = "auto",
    seed: int = 0,
) -> Train:
    """Instruction-tune a model on a task collection or on pairs of your own, with loss on the responses.

    Args:
        model: A causal language model, as a folder or Hub id.
        pairs: Your own pairs in the neutral layout (docs/formats.md), with or without a context.
        tasks: The task collection in the neutral layout. Without pairs by default the one that ships.
        hub: Also stream the catalog's task sets that lie on the Hugging Face Hub.
        sets: Only these task sets: names of sets, categories or groups.
        layout: drawn puts pairs into templates, a style a group; plain has question, blank, response.
        loss: On responses alone, or on all of a text.
        epochs: Passes over the texts.
        row_tokens: Tokens a row; 2,048, or what the model reads.
        batch_tokens: Tokens a step.
        learning_rate: The highest; 1e-5 at a width of 4,096, more for narrower models, ten times that with LoRA.
        warmup_steps: At most a tenth of the steps.
        lora_rank: Tune adapters of this rank (LoRA, needs the extra `tune`) and merge them in; 0 tunes all weights.
        language: Of the templates: english, german... (docs/languages.md), or auto for each group's own.
        precision: Of training; auto is bfloat16 where this machine computes in it, and is written down as what it is.
        seed: Of every draw.
    """
    row = fitting_row_tokens(model, row_tokens, usual=ROW_TOKENS)
    if learning_rate is None:
        learning_rate = tuning_rate(width_of_base(model)) * (LORA_RATE_FACTOR if lora_rank else 1)
    tuning = tuning_for(
        pairs=pairs,
        tasks=((SAMPLE_TASKS,) if not pairs and not hub else ()) if tasks is None else tasks,
        hub=hub,
        sets=sets,
        layout=layout,
        loss=loss,
        epochs=epochs,
        row_tokens=row,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        lora_rank=lora_rank,
        language=language,
        precision=precision,
        seed=seed,
    )
    return tuning.train(model, vocabulary=model, name="model", seed=seed)


def tuning_for(
    *,
    pairs: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
    hub: bool = False,
    sets: tuple[str, ...] = (),
    layout: Literal["drawn", "plain"] = "drawn",
    loss: Literal["responses", "all"] = "responses",
    epochs: float = EPOCHS,
    row_tokens: int,
    batch_tokens: int = BATCH_TOKENS,
    learning_rate: float,
    warmup_steps: int = WARMUP_STEPS,
    lora_rank: int = 0,
    language: str,
    precision: Precision,
    seed: int,
) -> Tuning:
    """Tuning on pairs, task data or both. Raises RecipeError if there is neither."""
    groups: list[Convert | Instructions] = []
    if tasks or hub:
        groups.append(Convert(name="tuning-tasks", files=tasks, hub=hub, sets=sets, shots=1, seed=seed))
    if pairs:
        groups.append(Instructions(name="tuning-pairs", files=pairs, seed=seed))
    if not groups:
        raise RecipeError("there is nothing to tune on: give pairs or tasks")
    parts = tuple(
        Part(
            texts=Template(
                name=f"{group.name}-texts",
                groups=group,
                language=language,
                kind="instruction",
                layout=layout,
                loss=loss,
                seed=seed,
            )
        )
        for group in groups
    )
    settings = TrainSettings(
        steps=_MOST_STEPS,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        precision=fast_precision(precision),
        lora=Lora(rank=lora_rank, alpha=LORA_ALPHA_FACTOR * lora_rank) if lora_rank else None,
    )
    return Tuning(
        texts=Blend(name="tuning-texts", parts=parts),
        settings=settings,
        row_tokens=row_tokens,
        batch_rows=max(1, batch_tokens // row_tokens),
        epochs=epochs,
    )
