"""Instruction tuning of a checkpoint: task data or a user's own pairs, loss on the responses.

    task collection -> Convert -------> Template --.
    your pairs      -> Instructions --> Template --+-> Blend -> Pack -> rows -> Train, from the model

The paper tunes its pre-trained models on Flan-style data to see how well they take to it (its figure 4); its settings
for that are not known, those here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from instructpt.assembly.blending import Blend, BlendPart
from instructpt.assembly.stages import Pack
from instructpt.collection.instructions import Instructions
from instructpt.collection.stages import Convert
from instructpt.engines.models import Model
from instructpt.errors import RecipeError
from instructpt.recipes.budgets import Pace, fast_precision, fitting_row_tokens, lora_of, usual_rate
from instructpt.recipes.flags import SAMPLE_TASKS, Hub, Language, LoraRank, Seed, Sets, Steps, recipe
from instructpt.templates.stages import Template
from instructpt.training.stages import Source, Train

ROW_TOKENS = 2048
BATCH_TOKENS = 16_384
EPOCHS = 3.0
WARMUP_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How models are tuned on one set of texts; several of an experiment share it."""

    texts: Blend
    pace: Pace
    epochs: float

    def train(self, model: Model, *, vocabulary: Model, name: str, seed: int) -> Train:
        """The tuned model. vocabulary: the model's. seed: of the order of the texts."""
        row_tokens = self.pace.row_tokens
        rows = Pack(name="tuning-rows", texts=self.texts, vocabulary=vocabulary, row_tokens=row_tokens)
        return Train(
            name=name,
            mixture=(Source(rows=rows),),
            settings=self.pace.settings(seed=seed),
            batch_rows=self.pace.batch_rows,
            vocabulary=vocabulary,
            base=model,
            epochs=self.epochs,
            max_epochs=max(1.0, self.epochs) + 1,
        )


@recipe
def instruct(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    /,
    *,
    pairs: tuple[str, ...] = (),
    tasks: tuple[str, ...] | None = None,
    hub: Hub = False,
    sets: Sets = (),
    layout: Literal["drawn", "plain"] = "drawn",
    loss: Literal["responses", "all"] = "responses",
    epochs: float = EPOCHS,
    steps: Steps = Steps(warmup_steps=WARMUP_STEPS),
    lora_rank: LoraRank = 0,
    language: Language = "english",
    seed: Seed = 0,
) -> Train:
    """Instruction-tune a model on a task collection or on pairs of your own, with loss on the responses.

    Args:
        model: A causal language model, as a folder or Hub id.
        pairs: Your own pairs in the neutral layout (docs/formats.md), with or without a context.
        tasks: Task data in the neutral layout. By default, without --pairs, the sample in this package.
        layout: drawn puts pairs into templates, one style per group; plain writes question, blank line, response.
        loss: Which tokens carry loss: those of the responses, or all.
        epochs: Passes over the texts.
    """
    row, lora = fitting_row_tokens(model, steps.row_tokens, usual=ROW_TOKENS), lora_of(lora_rank)
    texts = tuning_texts(
        pairs=pairs,
        tasks=((SAMPLE_TASKS,) if not pairs and not hub else ()) if tasks is None else tasks,
        hub=hub,
        sets=sets,
        layout=layout,
        loss=loss,
        language=language,
        seed=seed,
    )
    pace = Pace(
        row_tokens=row,
        batch_rows=max(1, (BATCH_TOKENS if steps.batch_tokens is None else steps.batch_tokens) // row),
        learning_rate=usual_rate(model, lora) if steps.learning_rate is None else steps.learning_rate,
        warmup_steps=steps.warmup_steps,
        precision=fast_precision(steps.precision),
        lora=lora,
    )
    return Tuning(texts=texts, pace=pace, epochs=epochs).train(model, vocabulary=model, name="model", seed=seed)


def tuning_texts(
    *,
    pairs: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
    hub: bool = False,
    sets: tuple[str, ...] = (),
    layout: Literal["drawn", "plain"] = "drawn",
    loss: Literal["responses", "all"] = "responses",
    language: str,
    seed: int,
) -> Blend:
    """Pairs, task data or both, each a text of its own. Raises RecipeError if there is neither."""
    groups: list[Convert | Instructions] = []
    if tasks or hub:
        groups.append(Convert(name="tuning-tasks", files=tasks, hub=hub, sets=sets, shots=1, seed=seed))
    if pairs:
        groups.append(Instructions(name="tuning-pairs", files=pairs, seed=seed))
    if not groups:
        raise RecipeError("there is nothing to tune on: give pairs or tasks")
    look: dict[str, Any] = {"language": language, "kind": "instruction", "layout": layout, "loss": loss, "seed": seed}
    texts = [Template(name=f"{group.name}-texts", groups=group, **look) for group in groups]
    return Blend(name="tuning-texts", parts=tuple(BlendPart(texts=each) for each in texts))
