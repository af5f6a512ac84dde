"""What a recipe will take, before it is paid for: requests, tokens, hours, accelerators, money.

    files --> some documents of every part --> filter, split --> passages a document, tokens a passage
                                                                        |
    bytes of all files / bytes of the sample  ------------------> passages in all, prompts by round
                                                                        |
    speed: given, measured, or published for models of this size -----> hours, accelerators, cost

The sample goes the real road: the same readers, filters, splitting, chains, prompts. What it cannot know is said with
each number: how long answers are (given, or measured by asking the model), and what exact copies there are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from instructpt.artifacts import Run, Stage, Table, is_finished, tree
from instructpt.artifacts.budget import Budget, Spent
from instructpt.corpus.sampling import Sampled, sample
from instructpt.corpus.stages import Subset
from instructpt.engines.models import Model, description_folder, longest_text, model_folder, opened_engine
from instructpt.models.inspection import num_parameters
from instructpt.progress.view import duration
from instructpt.records import Document
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.stages import Synthesize, Write
from instructpt.training.mixtures import mixtures
from instructpt.training.stages import Train
from instructpt.words import vocabulary

if TYPE_CHECKING:
    from instructpt.synthesis.dialects import Dialect

TOKENS_PER_PAIR = 45
"""Of an answer, markup included: the shipped synthesizer writes 40 to 50 a pair over four domains (docs/log.md)."""
H100_FLOPS = 989e12
"""Dense bfloat16 operations a second, the maker's data sheet."""
USUAL_UTILISATION = 0.4
"""Of that, in training: published runs reach 0.33 to 0.46 (torchtitan, nanochat)."""
PUBLISHED_SPEEDS = ((1.7e9, 9200), (4e9, 8100), (8e9, 6400), (12e9, 3000))
"""Parameters, output tokens a second on one H100 under vLLM 0.15, tuned; datatrove's inference benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What an estimate is made for."""

    speed: float | None = None
    """Output tokens a second of one accelerator. Without it: published numbers for models of this size on an H100."""
    measure: int = 0
    """Ask the model about so many passages here and now, for its speed and the length of its answers."""
    answer_tokens: float | None = None
    """Tokens of an answer; without it, or --measure, 45 a pair."""
    wished_hours: float | None = None
    """How long it may take; tells how many accelerators that needs."""
    sample_documents: int = 400
    """Documents that are looked into, spread over all files."""


def estimates(target: Stage[Any], run: Run, wishes: Wishes) -> Iterator[Table]:
    """A table for each stage of a recipe that asks a model or trains one, as far as it can be told; and one of what
    its models are trained on."""
    if table := mixtures(target, run):
        yield table
    for stage in tree(target):
        if isinstance(stage, Synthesize):
            yield _synthesis(stage, run, wishes)
        elif isinstance(stage, Write):
            yield _writing(stage, run, wishes)
        elif isinstance(stage, Train) and (outline := _training(stage, run)):
            yield outline


def _synthesis(stage: Synthesize, run: Run, wishes: Wishes) -> Table:
    """What each round of the chains takes: prompts with as much of what came before as fits."""
    from instructpt.synthesis.chains import chains, measure

    sampled = sample(stage.passages, run, num_documents=wishes.sample_documents)
    prompting = stage.prompting(run)
    dialect, mix = open_dialect(prompting.dialect), mix_of(prompting)
    words = vocabulary.load(description_folder(stage.model, run))
    budget = min(stage.window_tokens, longest_text(stage.model, run) or stage.window_tokens) - stage.max_new_tokens
    asked = [name for name, _ in mix.shares][:1] * stage.pairs if mix else ()
    speed, answer_tokens, how = _speed(stage, run, wishes, sampled, dialect, asked)
    empty = measure(dialect.prompt([], "", categories=asked), vocabulary=words, follows=0).num_tokens
    rounds = [[0.0, 0.0, 0.0] for _ in range(stage.shots)]
    for chain in chains(sampled.passages, shots=stage.shots):
        history: list[float] = []
        for place, passage in enumerate(chain):
            own = empty + len(words.encode_arrays([passage.text])[0])
            while history and own + sum(history) > budget:
                history.pop(0)
            taken = (1, own + sum(history), answer_tokens)
            rounds[place] = [sum(both) for both in zip(rounds[place], taken, strict=True)]
            history.append(own + answer_tokens)
    found = [(f"round {n}", [number * sampled.scale for number in numbers]) for n, numbers in enumerate(rounds, 1)]
    if isinstance(stage.passages, Subset):
        how = ["at most: which of the passages it is given is known later", *how]
    return _table(stage, run, wishes, sampled, columns=("",), found=found, speed=speed, how=how)


def _writing(stage: Write, run: Run, wishes: Wishes) -> Table:
    """What each form takes, if every answer is kept: a rejected one is asked for again."""
    from instructpt.synthesis.chains import measure
    from instructpt.synthesis.forms import requests

    sampled = sample(stage.passages, run, num_documents=wishes.sample_documents)
    words = vocabulary.load(description_folder(stage.model, run))
    found: list[tuple[str, Sequence[float]]] = []
    for form in stage.asked():
        passages = [passage for passage in sampled.passages if requests.has_enough_numbers(passage, form.form)]
        number, of_passages = requests.num_requests(form, stage.variants), len(passages) * sampled.scale
        plain = [requests.request(requests.material_of(form.form, passage)) for passage in passages]
        prompt_tokens = sum(measure(one, vocabulary=words, follows=0).num_tokens for one in plain) * sampled.scale
        answer = wishes.answer_tokens or min(stage.max_new_tokens, form.form.tokens)
        numbers = (of_passages, number * of_passages, number * prompt_tokens, number * of_passages * answer)
        found.append((form.label, numbers))
    told = "given" if wishes.answer_tokens else "each form's own guess (its file says tokens), not measured"
    speed, speed_how = _known_speed(stage.model, run, wishes.speed)
    how = [
        f"tokens of an answer: {told}; what is rejected is asked for again, up to half as often and twice more",
        speed_how,
    ]
    return _table(stage, run, wishes, sampled, columns=("form", "requests"), found=found, speed=speed, how=how)


def _table(
    stage: Synthesize | Write,
    run: Run,
    wishes: Wishes,
    sampled: Sampled,
    *,
    columns: tuple[str, ...],
    found: Sequence[tuple[str, Sequence[float]]],
    speed: float | None,
    how: Sequence[str],
) -> Table:
    """found: label; passages, what `columns` name besides the label, tokens of prompts and of answers."""
    sums = [sum(column) for column in zip(*(numbers for _, numbers in found), strict=True)]
    totals = [len(sampled.passages) * sampled.scale, *sums[1:]]
    rows = [(label, *map(_count, numbers)) for label, numbers in (*found, ("all", totals))]
    share, error = sampled.share, 1.96 * sampled.relative_error
    notes = (
        f"from {sampled.num_documents:,} documents, {share:.2%} of the corpus; "
        f"the number of passages is good to +-{error:.0%} (95 %)",
        *how,
        *_hours(totals[-1], totals[-2], speed, wishes, run.budget),
    )
    head = (columns[0], "passages", *columns[1:], "prompt tokens", "output tokens")
    return Table(f"{stage.name}: what it will take", head, tuple(rows), notes)


def _known_speed(model: Model, run: Run, given: float | None) -> tuple[float | None, str]:
    """Output tokens a second of one accelerator, given or published, and how it is known."""
    if given is not None:
        return given, "speed: given"
    is_here = not isinstance(model, Stage) or is_finished(model, run)
    size = (num_parameters(model_folder(model, run)) if is_here else None) or math.inf
    speed = next((rate for limit, rate in PUBLISHED_SPEEDS if size <= limit * 1.2), None)
    if speed is None:
        return None, "speed: not known for this model; give --speed TOKENS_PER_SECOND, or --measure 64"
    return speed, f"speed: {speed:,} output tokens/s, published for one H100 and models of this size"


def _speed(
    stage: Synthesize, run: Run, wishes: Wishes, sampled: Sampled, dialect: Dialect, asked: Sequence[str]
) -> tuple[float | None, float, list[str]]:
    """Output tokens a second of one accelerator, tokens of an answer, and how both are known."""
    answer, how = wishes.answer_tokens, "given"
    if not answer:
        answer = float(min(stage.max_new_tokens, TOKENS_PER_PAIR * stage.pairs))
        how = f"{stage.pairs} pairs of {TOKENS_PER_PAIR}, a guess (--measure N asks the model)"
    speed, speed_how = _known_speed(stage.model, run, wishes.speed)
    if wishes.measure:
        chosen = sampled.passages[:: max(1, len(sampled.passages) // wishes.measure)][: wishes.measure]
        measured, written = _measured(stage, run, chosen, dialect, asked)
        if wishes.answer_tokens is None:
            answer, how = written, f"measured on {min(wishes.measure, len(sampled.passages))} passages"
        if wishes.speed is None:
            speed = measured
            speed_how = f"speed: {measured:,.0f} output tokens/s, measured here with --engine {run.engine}"
    return speed, answer, [f"answers of {answer:,.0f} tokens: {how}", speed_how]


def _measured(
    stage: Synthesize, run: Run, passages: Sequence[Document], dialect: Dialect, asked: Sequence[str]
) -> tuple[float, float]:
    """Output tokens a second, and tokens an answer, of prompts with these passages alone."""
    import asyncio

    from instructpt.engines import Completion, Sampling
    from instructpt.engines.event_loop import run_in_loop
    from instructpt.synthesis.chains import fit

    settings: dict[str, Any] = {
        "dialect": dialect,
        "vocabulary": vocabulary.load(description_folder(stage.model, run)),
        "categories": asked,
        "guided": stage.guided,
        "field_characters": stage.prompting(run).field_characters,
        "budget_tokens": stage.window_tokens - stage.max_new_tokens,
    }
    prompts = [prompt for passage in passages if (prompt := fit([], passage=passage.text, **settings))]
    with opened_engine(stage.model, run) as engine:

        async def ask() -> list[Completion]:
            form = (Sampling(stage.max_new_tokens, form=prompt.form) for prompt in prompts)
            return await asyncio.gather(*map(engine.complete, (prompt.content for prompt in prompts), form))

        started = time.monotonic()
        answers = run_in_loop(ask())
        seconds = time.monotonic() - started
    num_tokens = sum(answer.num_tokens for answer in answers)
    return num_tokens / seconds, num_tokens / max(1, len(answers))


def _hours(
    output_tokens: float, prompt_tokens: float, speed: float | None, wishes: Wishes, budget: Budget
) -> Iterator[str]:
    if speed is None:
        return
    hours = output_tokens / speed / 3600
    yield f"on one accelerator: {duration(hours * 3600)}"
    number = 1
    if wishes.wished_hours:
        number = max(1, math.ceil(hours / wishes.wished_hours))
        yield f"in {wishes.wished_hours:g} hours: {number:,} accelerator{'s' if number > 1 else ''}"
    if budget.has_prices:
        cost = budget.cost(Spent(hours, round(prompt_tokens), round(output_tokens)))
        yield f"cost: {cost:,.2f}, as long as one accelerator costs {budget.price_per_hour:g} an hour"


def _training(stage: Train, run: Run) -> Table | None:
    """What a training takes, where its steps and its model's shape are known before."""
    import torch
    from transformers import MistralForCausalLM

    from instructpt.training.flops import flops_per_token
    from instructpt.training.shapes import configuration, shape_named

    if stage.shape is None or stage.epochs is not None:
        return None
    row_tokens = stage.mixture[0].rows.row_tokens
    with torch.device("meta"):
        model = MistralForCausalLM(
            configuration(
                shape_named(stage.shape),
                vocabulary_size=_vocabulary_size(stage, run),
                bos=None,
                eos=0,
                max_positions=row_tokens,
            )
        )
    tokens = stage.settings.steps * stage.batch_rows * row_tokens
    operations = tokens * flops_per_token(model, row_tokens=row_tokens)
    hours = operations / (USUAL_UTILISATION * H100_FLOPS) / 3600
    return Table(
        f"{stage.name}: what it will take",
        ("steps", "tokens", "operations", "hours on one H100"),
        ((f"{stage.settings.steps:,}", f"{tokens:,}", f"{operations:.2e}", f"{hours:.3g}"),),
        (f"hours: at {USUAL_UTILISATION:.0%} of its {H100_FLOPS / 1e12:.0f}e12 operations a second in bfloat16",),
    )


def _vocabulary_size(stage: Train, run: Run) -> int:
    if isinstance(stage.vocabulary, str) or is_finished(stage.vocabulary, run):
        return vocabulary.load(description_folder(stage.vocabulary, run)).size
    return int(getattr(stage.vocabulary, "size", 32_000))


def _count(number: float) -> str:
    """A number that was estimated, with three digits that mean something."""
    if number < 1000:
        return f"~{number:,.0f}"
    digits = 3 - 1 - math.floor(math.log10(number))
    return f"~{round(number, digits):,.0f}"
