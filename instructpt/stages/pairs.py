"""Passages and task data to groups: a model writes pairs, rules mine them, annotated data sets bring theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt import vocabulary
from instructpt.artifacts import Run, Stage
from instructpt.corpus import files
from instructpt.progress import time_left
from instructpt.records import Document, Group, Reject, Shot
from instructpt.stages.models import Model, context_tokens, model_folder, model_identity, model_sources, quiet_loading
from instructpt.tally import Tally

if TYPE_CHECKING:
    from instructpt.engines import Engine

DEFAULT_CHECKS = ("empty", "too_long", "answer_not_in_options", "duplicate_question", "repetition", "copied_context")


@dataclass(frozen=True, kw_only=True)
class Synthesize(Stage[Group]):
    """Pairs for every passage, written by a model in chains of several shots (paper, section 2)."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"
    placement = "driver"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    passages: Stage[Document]
    model: Model
    dialect: str = "tags"
    shots: int = 2
    """M, passages a chain. The paper has 2 from scratch and 3 for continual pre-training."""
    checks: tuple[str, ...] = DEFAULT_CHECKS
    window_tokens: int = 4096
    """Prompt and answer together; the model's context, where that is less."""
    max_new_tokens: int = 400
    temperature: float = 0.0
    seed: int = 0

    def sources(self, run: Run) -> Mapping[str, str]:
        """The model, if no stage makes it."""
        return model_sources(self.model, run)

    @contextmanager
    def opened(self, run: Run) -> Iterator[Engine]:
        """The engine with the model loaded, for all shards."""
        from instructpt.engines import open_engine
        from instructpt.synthesis.scheduler import run_in_loop

        quiet_loading()
        options = dict(run.engine_options)
        if run.engine == "transformers":
            options.setdefault("device", run.device)
        engine = open_engine(run.engine, str(model_folder(self.model, run)), **options)
        try:
            yield engine
        finally:
            run_in_loop(engine.close())

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain; what the open shard's ledger holds is not asked again."""
        from instructpt.engines import Sampling
        from instructpt.synthesis.chains import chains
        from instructpt.synthesis.dialects import open_dialect
        from instructpt.synthesis.ledger import Ledger
        from instructpt.synthesis.scheduler import Progress, Synthesis, run_chains

        started, total = time.monotonic(), run.num_made(self.passages, index)

        def tell(progress: Progress) -> None:
            news = {
                "passages": f"{progress.passages:,}/{total:,}",
                "pairs": progress.pairs,
                "rejects": progress.rejects,
                "tok/s": progress.output_tokens / (time.monotonic() - started),
                "left": time_left(started, done=progress.passages, total=total),
            }
            run.progress.news(self.name, news)

        folder = model_folder(self.model, run)
        with Ledger(run.workspace(self, index) / "ledger.sqlite") as ledger:
            synthesis = Synthesis(
                engine=run.shared,
                dialect=open_dialect(self.dialect),
                vocabulary=vocabulary.load(folder),
                ledger=ledger,
                checks=self.checks,
                sampling=Sampling(self.max_new_tokens, self.temperature, self.seed),
                model_identity=model_identity(self.model, run),
                window_tokens=min(self.window_tokens, context_tokens(folder) or self.window_tokens),
                max_chains_in_flight=run.chains_in_flight,
            )
            passages = chains(run.take(self.passages, index), shots=self.shots)
            groups = run_chains(passages, synthesis=synthesis, id_prefix=f"{index:05d}-", on_progress=tell)
            for group in groups:
                yield count_pairs(group, run.tally)


@dataclass(frozen=True, kw_only=True)
class Mine(Stage[Group]):
    """Pairs for every passage by rules, without a model: the paper's baseline (its table 4)."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    passages: Stage[Document]
    shots: int = 2
    max_pairs: int = 8
    """A passage."""
    seed: int = 0

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain, chained as `Synthesize` does."""
        from instructpt.synthesis.chains import chains
        from instructpt.synthesis.rules import mine

        for number, chain in enumerate(chains(run.take(self.passages, index), shots=self.shots)):
            shots = tuple(mine(document, seed=self.seed, max_pairs=self.max_pairs) for document in chain)
            yield count_pairs(Group(f"{index:05d}-{number:08d}:{chain[0].id}", shots), run.tally)


@dataclass(frozen=True, kw_only=True)
class Verify(Stage[Group]):
    """Groups without the pairs that fail a check; no passage is lost."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "passages"
    makes: ClassVar[str] = "passages"

    groups: Stage[Group]
    checks: tuple[str, ...] = DEFAULT_CHECKS

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """The same groups, failing pairs turned into rejects."""
        from instructpt.synthesis.checks import apply_checks

        for group in run.take(self.groups, index):
            shots = tuple(apply_checks(shot, self.checks) for shot in group.shots)
            yield count_pairs(Group(group.id, shots), run.tally)


@dataclass(frozen=True, kw_only=True)
class Convert(Stage[Group]):
    """Annotated task data in the neutral layout (docs/formats.md) as groups of several contexts of one data set."""

    record: ClassVar[Any] = Group
    takes: ClassVar[str] = "task records"
    makes: ClassVar[str] = "passages"

    files: tuple[str, ...]
    catalog: str = "sample"
    """A catalog of data sets that ships, or the path of one (docs/adding.md)."""
    shots: int = 2
    budget_characters: int = 6000
    """Context and pairs of a shot; contexts longer than this are dropped with a reason, pairs beyond it too."""
    max_contexts: int = 10_000
    """A data set, those with the most pairs: the paper's number (section 1)."""
    unanswerable_share: float = 0.0
    seed: int = 0

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files and the catalog by content."""
        del run
        from instructpt.collection.catalog import locate

        found = [file for url in self.files for file in files.find(url)]
        catalog = files.find(str(locate(self.catalog)))[0]
        return {file.url: files.content_digest(file) for file in found} | {"catalog": files.content_digest(catalog)}

    def num_shards(self, run: Run) -> int:
        """One: records of one context are gathered across files."""
        del run
        return 1

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """Groups in drawn order."""
        del index
        from instructpt.collection import neutral
        from instructpt.collection.catalog import load

        def records() -> Iterator[neutral.TaskRecord | Reject]:
            for file in (file for url in self.files for file in files.find(url)):
                for record in neutral.read_records(file.url):
                    run.tally.take()
                    yield record

        def shots() -> Iterator[Shot]:
            found = neutral.convert(
                records(),
                catalog=load(self.catalog),
                seed=self.seed,
                budget=self.budget_characters,
                unanswerable_share=self.unanswerable_share,
                max_contexts=self.max_contexts,
            )
            for item in found:
                rejects = (item,) if isinstance(item, Reject) else item.rejects
                for reject in rejects:
                    run.tally.drop(reject.reason, reject.text)
                if isinstance(item, Shot):
                    run.tally.keep(len(item.pairs))
                    yield item

        for group in neutral.group_shots(shots(), num_shots=self.shots, seed=self.seed):
            yield count_pairs(group, run.tally)


def count_pairs(group: Group, tally: Tally) -> Group:
    """Count a group's pairs by kind and its rejects by reason; the group itself."""
    for shot in group.shots:
        tally.count("pairs", len(shot.pairs))
        tally.count("passages_with_pairs", bool(shot.pairs))
        tally.count(f"pairs_per_passage/{len(shot.pairs)}")
        for pair in shot.pairs:
            answer = "choice" if pair.options else "free"
            tally.count(f"format/{answer}{'' if pair.rationale is None else ' + rationale'}")
            if pair.category:
                tally.count(f"category/{pair.category}")
        for reject in shot.rejects:
            tally.count(f"rejects/{reject.reason}")
            tally.show(f"rejects/{reject.reason}", reject.text)
    return group
