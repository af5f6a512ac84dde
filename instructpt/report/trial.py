"""A few passages that are really run through the stages of a recipe, and what each stage took for them.

    recipe    Read -- Filter -- Split -- Synthesize -- Consistency -- ... -- Template -- Pack -- Train
    trial                       Given -- Synthesize -- Consistency -- ... -- Template

`Given` holds chains of passages from all over the corpus, a shard each: so every stage counts every chain by itself,
which tells how much they differ. A trial has a temporary folder of its own; nothing of it is kept.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from instructpt.artifacts import Run, Stage, inputs, is_finished, read_tally, tree
from instructpt.artifacts.budget import spent_in
from instructpt.artifacts.storage import Folder
from instructpt.artifacts.tally import Tally
from instructpt.errors import EngineError, NothingMadeError
from instructpt.executors.make import make
from instructpt.records import Document
from instructpt.synthesis.opening import ModelStage
from instructpt.synthesis.stages import Write
from instructpt.templates.stages import Template
from instructpt.words.vocabulary import Vocabulary

Chains = Sequence[tuple[Document, ...]]
ASKED = ("requests", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a stage, or one form of it, took for some chains of passages."""

    label: str
    chains: Sequence[Mapping[str, float]]
    """Of each: "passages", and as far as there are any "requests", "prompt_tokens", "output_tokens", "kept"."""
    unit: str = ""
    """Of what was kept."""
    hours: float | None = None
    """Of one accelerator, for all chains together; None where nobody measured."""
    is_part: bool = False
    """Whether it is told of for itself, and no part of what all takes: a form of a stage, or what no model is asked
    for."""


@dataclass(frozen=True, kw_only=True)
class Given(Stage[Document]):
    """Passages that are given, a chain a shard."""

    makes: ClassVar[str] = "passages"
    chains: Chains = field(repr=False, compare=False, metadata={"note": True})

    def num_shards(self, run: Run) -> int:
        """One a chain."""
        return len(self.chains)

    def shard(self, index: int, run: Run) -> Iterator[Document]:
        """A chain's passages."""
        yield from self.chains[index]


def tellable(target: Stage[Any], passages: Stage[Document]) -> list[Stage[Any]]:
    """The stages of a recipe that a trial tells of, in order: those that ask a model or write texts and need nothing
    but these passages."""
    shown = (stage for stage in tree(target) if isinstance(stage, ModelStage | Template))
    return [stage for stage in shown if _on(Given(name=passages.name, chains=()), stage) is not None]


def tried(stages: Sequence[Stage[Any]], given: Given, run: Run, *, words: Vocabulary) -> tuple[list[Taken], list[str]]:
    """What each of the stages takes for the given passages, and what there is to say of those that kept nothing.

    words: counts the tokens of texts. Raises what the stages raise; EngineError says how to do without an engine.
    """
    found, notes, failed = list[Taken](), list[str](), set[str]()
    with tempfile.TemporaryDirectory(prefix="instructpt-plan-") as folder:
        own = replace(
            run,
            root=folder,
            scratch=folder,
            workers=1,
            executor="local",
            partition=(0, 1),
            budget=replace(run.budget, max_hours=run.budget.max_hours or 1e6),  # with a limit, hours are written down
            tally=Tally(),
            fingerprints={},
        )
        for stage in stages:
            trial, hours = _on(given, stage), spent_in(Folder.at(folder)).steady_hours
            assert trial is not None, stage.name
            if failed & {item.name for item in tree(trial)}:
                continue
            try:
                make(trial, own)
            except NothingMadeError as error:
                failed.add(stage.name)
                notes.append(f"{str(error).partition(': mend')[0][:300]}: what comes after {stage.name} is not told")
                if not is_finished(trial, own):
                    continue
            except EngineError as error:
                raise type(error)(f"{error} (instructpt plan --sample 0 asks no model)") from error
            if isinstance(stage, ModelStage):
                found += _asked(stage, trial, given, own, hours=spent_in(Folder.at(folder)).steady_hours - hours)
            else:
                found.append(_texts(trial, given, own, words))
    return found, notes


def summed(takens: Sequence[Taken], *, label: str) -> Taken:
    """What several stages took together; chain by chain, unless one of them looked at all chains at once."""
    fewest = min((taken.chains for taken in takens), key=len)
    total: list[dict[str, float]] = [{"passages": chain["passages"], **dict.fromkeys(ASKED, 0.0)} for chain in fewest]
    for taken in takens:
        for place, chain in enumerate(taken.chains):
            for name in ASKED:
                total[place % len(total)][name] += chain[name]
    hours = [taken.hours for taken in takens if taken.hours is not None]
    return Taken(label, total, hours=sum(hours) if hours else None)


def _asked(stage: ModelStage, trial: Stage[Any], given: Given, run: Run, *, hours: float) -> Iterator[Taken]:
    """What a stage asked its model, and below it each of its forms."""
    tallies = _tallies(trial, given, run)

    def chains(start: str, kept: str) -> list[dict[str, float]]:
        names = {name: name for name in ASKED} | {"kept": kept}
        return [
            {"passages": size, **{name: tally.counts.get(start + key, 0) for name, key in names.items()}}
            for size, tally in tallies
        ]

    yield Taken(stage.name, chains("", "pairs"), "pairs", hours)
    for form in stage.asked() if isinstance(stage, Write) else ():
        unit = "sets of pairs" if form.form.layout == "pairs" else "texts"
        yield Taken(f"{stage.name}: {form.label}", chains(f"forms/{form.label}/", "kept"), unit, is_part=True)


def _texts(trial: Stage[Any], given: Given, run: Run, words: Vocabulary) -> Taken:
    """How many texts there are, and how many tokens in them."""
    chains = []
    for index, (size, tally) in enumerate(_tallies(trial, given, run)):
        texts = words.encode_arrays([text.text for text in run.records(trial, index)])
        chains.append({"passages": size, "kept": tally.records, "output_tokens": sum(map(len, texts))})
    return Taken(trial.name, chains, "texts", is_part=True)


def _tallies(trial: Stage[Any], given: Given, run: Run) -> list[tuple[int, Tally]]:
    """Number of passages and counts of each chain; of all at once, where a stage does not tell them apart."""
    sizes = list(map(len, given.chains))
    if run.num_shards(trial) != len(sizes):
        return [(sum(sizes), Tally.from_row(run.manifest(trial)["tally"]))]
    return [(size, read_tally(run.folder(trial), index)) for index, size in enumerate(sizes)]


def _on(given: Given, stage: Stage[Any]) -> Stage[Any] | None:
    """The same stage over passages that are given; None for one that needs what no trial makes."""
    if stage.name == given.name:
        return given
    needed = {item.name: _on(given, item) for item in inputs(stage)}
    if not needed or stage.product != "records" or None in needed.values():
        return None

    def on(value: Any) -> Any:
        if isinstance(value, Stage):
            return needed[value.name]
        if isinstance(value, tuple):
            return tuple(map(on, value))
        return _settings(value) if dataclasses.is_dataclass(value) else value

    def _settings(value: Any) -> Any:
        return replace(value, **{f.name: on(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init})

    found: Stage[Any] = _settings(stage)
    return found
