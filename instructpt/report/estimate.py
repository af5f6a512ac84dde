"""What a recipe will take, before it is paid for: one table of requests, tokens, what is kept, time, money.

    files --> documents from all over them --> filter, split --> passages in all, and how well that is known
                                                    |
              some of these passages --> the stages, really run (`trial`) --> what a passage takes, and how they differ

Both together are scaled up to the whole corpus. `--sample 0` asks no model: its answers are guessed. A training is not
tried: its steps and its shape say what it takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from instructpt.artifacts import Run, Stage, Table, is_finished, tree
from instructpt.artifacts.budget import Budget, Spent
from instructpt.corpus.sampling import Sampled, relative_error, sample
from instructpt.corpus.stages import Split, Subset
from instructpt.engines.models import Model, description_folder, model_folder
from instructpt.models.folders import is_local
from instructpt.models.inspection import num_parameters, parameters_in_name
from instructpt.progress.view import duration
from instructpt.records import Document
from instructpt.report.trial import Given, Taken, summed, tellable, tried
from instructpt.synthesis.stages import Synthesize, Write
from instructpt.training.mixtures import mixtures
from instructpt.training.stages import Train
from instructpt.words import vocabulary

TOKENS_PER_PAIR = 45
"""Of an answer that nobody asked for: models wrote 40 to 50 a pair over four domains (docs/log.md)."""
H100_FLOPS = 989e12
"""Dense bfloat16 operations a second, the maker's data sheet."""
USUAL_UTILISATION = 0.4
"""Of that, in training: published runs reach 0.33 to 0.46 (torchtitan, nanochat)."""
PUBLISHED_SPEEDS = ((1.7e9, 9200), (4e9, 8100), (8e9, 6400), (12e9, 3000))
"""Parameters, output tokens a second on one H100 under vLLM 0.15, tuned; datatrove's inference benchmark."""
COLUMNS = ("", "requests", "tokens in", "tokens out", "kept", "time", "cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What an estimate is made for."""

    sample: int = 32
    """Passages that the recipe is really run on, in a temporary folder, to see what it takes; 0 asks no model."""
    speed: float | None = None
    """Output tokens a second of one accelerator, if the run will be faster or slower than the sample is here."""
    wished_hours: float | None = None
    """How long it may take; tells how many accelerators that needs."""
    sample_documents: int = 400
    """Documents that are read to count the passages of the corpus, spread over all files."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is written about the passages of one split, and how much of the corpus that was seen on."""

    sampled: Sampled
    takens: Sequence[Taken]
    notes: Sequence[str]

    @property
    def hours(self) -> float:
        """Of one accelerator, for the whole corpus; 0 if nobody knows."""
        return sum((taken.hours or 0.0) * self.scale(taken) for taken in self.takens if not taken.is_part)

    def scale(self, taken: Taken) -> float:
        """How often the whole corpus holds as many passages."""
        return self.sampled.num_passages / max(1.0, sum(chain["passages"] for chain in taken.chains))

    def rows(self, budget: Budget) -> Iterator[tuple[str, ...]]:
        """The cells of each line, and of all together."""
        whole = [taken for taken in self.takens if not taken.is_part]
        for taken in [*self.takens, summed(whole, label="all")] if len(whole) > 1 else self.takens:
            sums = {name: self._total(taken, name) for name in ("requests", "prompt_tokens", "output_tokens", "kept")}
            cells = [_count(*total) if total[0] else "" for total in sums.values()]
            cells[-1] += f" {taken.unit}" if cells[-1] else ""
            if taken.hours is None:
                yield taken.label, *cells, "", ""
                continue
            hours, (_, prompt_tokens, output_tokens, _) = taken.hours * self.scale(taken), sums.values()
            cost = budget.cost(Spent(hours, round(prompt_tokens[0]), round(output_tokens[0])))
            yield taken.label, *cells, duration(hours * 3600) + _spread(output_tokens[1]), f"{cost:,.2f}"

    def _total(self, taken: Taken, name: str) -> tuple[float, float]:
        """For the whole corpus, and how far that may be off, as a share of it, with 95 % certainty."""
        counts = [(chain.get(name, 0.0), chain["passages"]) for chain in taken.chains]
        freedom, scale = max(1, len(counts) - 1), self.scale(taken)
        quantile = 1.96 + 2.4 / freedom + 3 / freedom**2  # Student's t, to a hundredth from five chains on
        error = quantile * relative_error(counts, share=min(1.0, 1 / scale if scale else 1.0))
        return sum(count for count, _ in counts) * scale, math.hypot(1.96 * self.sampled.relative_error, error)


def estimates(target: Stage[Any], run: Run, wishes: Wishes) -> Iterator[Table]:
    """What the models of a recipe are trained on, and what its stages that ask or train one will take."""
    if table := mixtures(target, run):
        yield table
    by_passages: dict[Stage[Document], list[Synthesize | Write]] = {}
    for stage in tree(target):
        if isinstance(stage, Synthesize | Write):
            by_passages.setdefault(_passages(stage), []).append(stage)
    missing = {
        passages: [stage for stage in tellable(target, passages) if not is_finished(stage, run)]
        for passages in by_passages
    }
    parts = [_part(stages, by_passages[passages], run, wishes) for passages, stages in missing.items() if stages]
    rows = [row for part in parts for row in part.rows(run.budget)]
    notes = [note for part in parts for note in part.notes]
    if parts:
        notes += _on_time(sum(part.hours for part in parts), wishes, run.budget)
    if trained := list(_trainings(target, run)):
        rows += trained
        hours = f"{USUAL_UTILISATION:.0%} of its {H100_FLOPS / 1e12:.0f}e12 operations a second in bfloat16"
        notes.append(f"time of a training: on one H100, at {hours}")
    if rows:
        width = len(COLUMNS) - (not run.budget.has_prices)
        cells = tuple(row[:width] for row in rows)
        yield Table(f"{target.name}: what it will take", COLUMNS[:width], cells, tuple(notes))


def _passages(writer: Synthesize | Write) -> Stage[Document]:
    passages = writer.passages
    while isinstance(passages, Subset):
        passages = passages.documents
    return passages


def _part(stages: Sequence[Stage[Any]], writers: Sequence[Synthesize | Write], run: Run, wishes: Wishes) -> Part:
    """What the stages take for their passages, tried or guessed."""
    from instructpt.synthesis.chains import chains

    split = _passages(writers[0])
    sampled = sample(split, run, num_documents=wishes.sample_documents)
    assert isinstance(split, Split)
    words = vocabulary.load(description_folder(split.vocabulary, run))
    sizes = list(map(len, words.encode_arrays([passage.text for passage in sampled.passages])))
    raw = [{"passages": 1, "kept": 1, "output_tokens": size} for size in sizes]
    notes = [f"{split.name}: from {sampled.num_documents:,} documents, {sampled.share:.2%} of the corpus"]
    if wishes.sample and sizes:
        shots = max(writer.shots for writer in writers)
        found = list(chains(sampled.passages, shots=shots))
        number = min(len(found), -(-wishes.sample // shots))
        given = Given(name=split.name, chains=[found[len(found) * (2 * n + 1) // (2 * number)] for n in range(number)])
        takens, more = tried(stages, given, run, words=words)
        notes += [f"tried on {sum(map(len, given.chains)):,} passages with --engine {run.engine}", *more]
    else:
        takens = [taken for one in writers if one in stages for taken in _guessed(one, sizes, run)]
        notes.append("no model was asked: its answers are guessed, none is rejected, no pair is read again")
    if published := _published_speed(writers[0].model, run):
        notes.append(f"one H100 writes about {published:,} tokens a second with a model of this size (published)")
    if speed := wishes.speed or (None if wishes.sample else published):
        takens = [taken if taken.is_part else _at(speed, taken) for taken in takens]
    return Part(sampled, [Taken(split.name, raw, "passages", is_part=True), *takens], notes)


def _at(speed: float, taken: Taken) -> Taken:
    return replace(taken, hours=sum(chain["output_tokens"] for chain in taken.chains) / speed / 3600)


def _guessed(writer: Synthesize | Write, sizes: Sequence[int], run: Run) -> Iterator[Taken]:
    """What a writer would ask about passages of so many tokens; each as if it were in the middle of its chain."""
    from instructpt.synthesis.chains import measure
    from instructpt.synthesis.dialects import open_dialect
    from instructpt.synthesis.forms import requests
    from instructpt.synthesis.mix import mix_of

    words = vocabulary.load(description_folder(writer.model, run))

    def taken(label: str, empty: Any, number: int, answer: int, *, earlier: float = 0.0) -> Taken:
        """empty: a request about a passage without text. earlier: passages that the prompt holds besides."""
        beside = measure(empty, vocabulary=words, follows=0).num_tokens
        prompts = ((size, beside + size + earlier * (size + answer)) for size in sizes)
        counts = {"passages": 1.0, "requests": number, "output_tokens": number * answer}
        return Taken(label, [counts | {"prompt_tokens": number * prompt} for _, prompt in prompts])

    if isinstance(writer, Synthesize):
        prompting = writer.prompting(run)
        dialect, mix = open_dialect(prompting.dialect), mix_of(prompting)
        asked = [name for name, _ in mix.shares][:1] * writer.pairs if mix else []
        number = len(asked) if dialect.asks_apart and asked else 1
        answer = min(writer.max_new_tokens, TOKENS_PER_PAIR * writer.pairs // number)
        empty = dialect.prompt([], "", categories=asked[: len(asked) // number])
        yield taken(writer.name, empty, number, answer, earlier=(writer.shots - 1) / 2)
        return
    forms = []
    for one in writer.asked():
        empty = requests.request(requests.material_of(one.form, Document("", "", "")))
        answer = min(writer.max_new_tokens, one.form.tokens)
        forms.append(taken(f"{writer.name}: {one.label}", empty, requests.num_requests(one, writer.variants), answer))
    yield summed(forms, label=writer.name)
    yield from (replace(form, is_part=True) for form in forms)


def _published_speed(model: Model, run: Run) -> float | None:
    """Output tokens a second of one H100, for models of this size."""
    if not isinstance(model, str):
        return None
    size = num_parameters(model_folder(model, run)) if is_local(model) else parameters_in_name(model)
    return next((speed for limit, speed in PUBLISHED_SPEEDS if size and size <= limit * 1.2), None)


def _on_time(hours: float, wishes: Wishes, budget: Budget) -> Iterator[str]:
    if not hours:
        yield "time: not known; give --speed TOKENS_PER_SECOND, or --sample 32"
    elif wishes.speed:
        yield f"time: of one accelerator, at {wishes.speed:,g} output tokens a second"
    elif wishes.sample:
        yield (
            "time: as the sample took here; a server that is asked more at once may be faster: see with --sample 500, "
            "or give --speed TOKENS_PER_SECOND"
        )
    if hours and wishes.wished_hours:
        number = max(1, math.ceil(hours / wishes.wished_hours))
        yield f"in {wishes.wished_hours:g} hours: {number:,} accelerator{'s' if number > 1 else ''}"
    if hours and budget.has_prices:
        yield f"cost: as long as one accelerator costs {budget.price_per_hour:g} an hour"


def _trainings(target: Stage[Any], run: Run) -> Iterator[tuple[str, ...]]:
    """The cells of trainings whose steps and shape are known before; those that are alike in one line."""
    alike: dict[tuple[Any, ...], list[Train]] = {}
    for stage in tree(target):
        if isinstance(stage, Train) and stage.shape is not None and stage.epochs is None:
            row_tokens, size = stage.mixture[0].rows.row_tokens, _vocabulary_size(stage, run)
            alike.setdefault((stage.shape, size, row_tokens, stage.settings.steps, stage.batch_rows), []).append(stage)
    for (shape, size, row_tokens, steps, batch_rows), stages in alike.items():
        tokens = len(stages) * steps * batch_rows * row_tokens
        seconds = tokens * _flops_per_token(shape, size, row_tokens) / (USUAL_UTILISATION * H100_FLOPS)
        label = stages[0].name if len(stages) == 1 else f"{stages[0].name} (+{len(stages) - 1})"
        yield label, "", f"{tokens:,}", "", "", duration(seconds), f"{run.budget.cost(Spent(seconds / 3600)):,.2f}"


def _flops_per_token(shape: str, vocabulary_size: int, row_tokens: int) -> float:
    import torch
    from transformers import MistralForCausalLM

    from instructpt.training.shapes import configuration, flops_per_token, shape_named

    sizes = {"vocabulary_size": vocabulary_size, "max_positions": row_tokens}
    with torch.device("meta"):
        model = MistralForCausalLM(configuration(shape_named(shape), bos=None, eos=0, **sizes))
    return flops_per_token(model, row_tokens=row_tokens)


def _vocabulary_size(stage: Train, run: Run) -> int:
    if isinstance(stage.vocabulary, str) or is_finished(stage.vocabulary, run):
        return vocabulary.load(description_folder(stage.vocabulary, run)).size
    return int(getattr(stage.vocabulary, "size", 32_000))


def _count(number: float, error: float) -> str:
    """ "1,234" where it is counted; else three digits that mean something: "~1,230 ±5%"."""
    if not error:
        return f"{number:,.0f}"
    digits = 2 - math.floor(math.log10(number)) if number >= 1000 else 0
    return f"~{round(number, digits):,.0f}{_spread(error)}"


def _spread(error: float) -> str:
    return "" if not error else f" ±{error:.0%}" if math.isfinite(error) else " ±?"
