"""Passages to groups by a model: it writes pairs in chains of several shots."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from instructpt import vocabulary
from instructpt.artifacts import Run, Stage
from instructpt.progress import time_left
from instructpt.records import Document, Group
from instructpt.stages.models import Model, context_tokens, model_folder, model_identity, model_sources, quiet_loading
from instructpt.stages.pairs import DEFAULT_CHECKS, count_pairs

if TYPE_CHECKING:
    from instructpt.engines import Engine


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
