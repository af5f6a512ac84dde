"""Passages to groups by a model: it writes pairs in chains of several shots, or texts in forms."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from instructpt.artifacts import Run, Stage, Table, is_finished
from instructpt.artifacts.tally import count_pairs
from instructpt.corpus.stages import Split
from instructpt.engines.models import DESCRIPTION, Model, Prompting, check_model, model_sources, prompting_of
from instructpt.errors import RecipeError
from instructpt.models.folders import is_local, local_folder
from instructpt.models.inspection import context_tokens
from instructpt.records import Document, Group
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.opening import ModelStage
from instructpt.verification.checks import MODEL_CHECKS
from instructpt.words.evidence import sentences

if TYPE_CHECKING:
    from instructpt.synthesis.asking import Synthesis
    from instructpt.synthesis.forms import AskedForm


def default_checks(prompting: Prompting) -> tuple[str, ...]:
    """The checks that pairs of a model pass: `grounded` too, where it says in which categories answers are spans.

    Of a model that does not say, short answers would be taken for spans: 23 % of the annotated answers about tables
    are counts, and would be lost.
    """
    return (*MODEL_CHECKS, "grounded") if prompting.answers else MODEL_CHECKS


def _check(stage: Synthesize | Write, run: Run) -> None:
    if not isinstance(stage.model, str) or not is_local(stage.model):
        return
    if run.engine == "transformers":
        check_model(stage.model, own_code=bool(run.engine_options.get("trust_remote_code")))
    context = context_tokens(local_folder(stage.model, files=DESCRIPTION))
    passage = stage.passages.budget_tokens if isinstance(stage.passages, Split) else 1
    if context is not None and passage + stage.max_new_tokens > context:
        raise RecipeError(
            f"{stage.model} reads {context} tokens, a passage of {passage} and an answer of {stage.max_new_tokens} "
            "do not fit: lower --passage-tokens or --max-new-tokens"
        )


def _groups(
    stage: Synthesize | Write, index: int, run: Run, synthesis: Synthesis, passages: Iterable[Document]
) -> Iterator[Group]:
    """A group for each chain of a shard's passages; how far it is, is told as they come."""
    from instructpt.synthesis.chains import chains
    from instructpt.synthesis.scheduler import run_chains

    run.shared.begin(index, total=run.num_made(stage.passages, index))
    tell = functools.partial(run.shared.tell, index)
    chained = chains(passages, shots=stage.shots)
    yield from run_chains(chained, synthesis=synthesis, id_prefix=f"{index:05d}-", on_progress=tell)


@dataclass(frozen=True, kw_only=True)
class Synthesize(ModelStage):
    """Pairs for every passage, written by a model in chains of several shots (paper, section 2)."""

    version: ClassVar[int] = 3

    passages: Stage[Document]
    model: Model
    categories: str = ""
    """What to ask for, as "name=weight,name=weight"; empty leaves the choice to the model."""
    pairs: int = 5
    """A passage, where categories are asked for."""
    pairs_per_sentence: int | None = field(default=None, metadata={"later": True})
    """A passage of few sentences is asked for no more than these; None asks for `pairs` of each."""
    shots: int = 2
    """M, passages a chain. The paper has 2 from scratch and 3 for continual pre-training."""
    checks: tuple[str, ...] = MODEL_CHECKS
    temperature: float = 0.0
    seed: int = 0

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole, RecipeError for one that reads less than is asked of it."""
        _check(self, run)

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain; what the open shard's ledger holds is not asked again."""
        from instructpt.engines import Sampling
        from instructpt.synthesis.mix import draw

        mix = mix_of(self.prompting(run))

        def asked(number: int, passage: str) -> tuple[str, ...]:
            assert mix is not None
            num_pairs = self.pairs
            if self.pairs_per_sentence is not None:
                num_pairs = max(1, min(num_pairs, self.pairs_per_sentence * len(sentences(passage))))
            return draw(mix, num_pairs=num_pairs, seed=self.seed, place=(index, number))

        sampling = Sampling(self.max_new_tokens, self.temperature, self.seed)
        with self.begun(
            index, run, sampling=sampling, checks=self.checks, categories=asked if mix else None
        ) as synthesis:
            passages = run.take(self.passages, index)
            for group in _groups(self, index, run, synthesis, passages):
                yield count_pairs(group, run.tally)

    def prompting(self, run: Run) -> Prompting:
        """See `ModelStage`."""
        own = prompting_of(self.model, run)
        return own.wished(dialect=self.dialect, mix=self.categories, pairs=self.pairs)


@dataclass(frozen=True, kw_only=True)
class Write(ModelStage):
    """Texts about every passage in the forms that are asked for, pairs among them (`forms`).

    Counted is of every form what was "wanted", the "answers", those that were "kept" and "rejected", requests that
    "failed", what is "missing" in the end, and passages that were "skipped" because they lack what the form needs.
    """

    passages: Stage[Document]
    model: Model
    forms: str
    """As "facts=1,paraphrase:spoken=2": texts for a passage."""
    variants: int = 1
    """Different ones for each text that is asked for."""
    shots: int = 2
    """Passages a group. They are asked about one by one; relations are about two of a document."""
    dialect: str = "chat"
    """How the model is talked with: always in conversations."""
    max_new_tokens: int = 800
    temperature: float = 0.8
    """Of all variants but the first."""
    guided: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise RecipeError for unknown forms and a number that is none, InputError for a file that is no form."""
        if self.variants < 1:
            raise RecipeError(f"{self.name}: {self.variants} variants: give at least 1")
        self.asked()

    def asked(self) -> tuple[AskedForm, ...]:
        """The forms, read."""
        from instructpt.synthesis.forms import parse_forms

        return parse_forms(self.forms)

    def check(self, run: Run) -> None:
        """As `Synthesize.check`; also RecipeError for a model that was tuned to write pairs and nothing else."""
        _check(self, run)
        self.prompting(run)

    def sources(self, run: Run) -> Mapping[str, str]:
        """The model, if no stage makes it, and all that the forms say."""
        from instructpt.synthesis.forms import form_sources

        return {**model_sources(self.model, run), **form_sources(self.forms)}

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain; what the open shard's ledger holds is not asked again."""
        from instructpt.engines import Sampling
        from instructpt.synthesis.forms.writer import Writer

        writer = Writer(self.asked(), self.variants, self.temperature, self.seed, index)
        sampling = Sampling(self.max_new_tokens, 0.0, self.seed)
        with self.begun(index, run, sampling=sampling, write=writer.shot) as synthesis:
            numbers = itertools.count()
            passages = writer.followed(run.take(self.passages, index))
            for group in _groups(self, index, run, synthesis, passages):
                for _ in group.shots:
                    for name, count in sorted(writer.counts.pop(next(numbers)).items()):
                        run.tally.count(name, count)
                yield count_pairs(group, run.tally)

    def prompting(self, run: Run) -> Prompting:
        """See `ModelStage`. Raises RecipeError for a model that writes nothing but pairs."""
        own = prompting_of(self.model, run)
        check_writes_forms(self.model, own)
        return own.wished(dialect=self.dialect, mix="")

    def outline(self, run: Run) -> Table | None:
        """Once it is made: what became of every form."""
        if not is_finished(self, run):
            return None
        counts = run.manifest(self)["tally"]["counts"]
        return forms_table(self.name, [asked.label for asked in self.asked()], counts)


def check_writes_forms(model: Model, own: Prompting) -> None:
    """Raise RecipeError for a model that says of itself that it writes pairs alone."""
    if not own.dialect.startswith("chat"):
        raise RecipeError(
            f"{model} writes pairs alone (dialect {own.dialect}), no other forms: give an instruct model (--model, "
            "in other recipes --synthesizer), such as open:smollm2-135m, a folder with a chat template, or remote:NAME"
        )


def forms_table(name: str, labels: Sequence[str], counts: Mapping[str, int]) -> Table:
    """What became of each form, and why less was kept than was wanted."""
    columns = ("wanted", "answers", "kept", "missing", "skipped")
    rows, notes = [], []
    for label in labels:
        found = {column: counts.get(f"forms/{label}/{column}", 0) for column in columns}
        compared = counts.get(f"forms/{label}/compared", 0)
        shared = f"{counts[f'forms/{label}/shared_percent'] / compared:.0f} %" if compared else "-"
        rows.append((label, *(f"{number:,}" for number in found.values()), shared))
        if found["missing"] or found["skipped"]:
            start = f"rejects/{label}/"
            reasons = {key.removeprefix(start): n for key, n in counts.items() if key.startswith(start)}
            why = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1]))
            notes.append(f"{label}: {found['missing']:,} missing, {found['skipped']:,} passages skipped: {why}")
    notes.append("shared: of the runs of three words in two texts of one form about one passage, those in both")
    return Table(f"{name}: what was written", ("form", *columns, "shared"), tuple(rows), tuple(notes))
