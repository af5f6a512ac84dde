"""Passages to groups by a model: it writes pairs in chains of several shots."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from instructpt.artifacts import Run, Stage
from instructpt.artifacts.pair_counts import count_pairs
from instructpt.corpus.stages import Split
from instructpt.engines.models import AUTO, DESCRIPTION, Model, Prompting, check_model, prompting_of
from instructpt.errors import RecipeError
from instructpt.models.folders import is_local, local_folder
from instructpt.models.inspection import context_tokens
from instructpt.records import Document, Group
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.opening import ModelStage
from instructpt.verification.checks import MODEL_CHECKS
from instructpt.words.evidence import sentences


def default_checks(prompting: Prompting) -> tuple[str, ...]:
    """The checks that pairs of a model pass: `grounded` too, where it says in which categories answers are spans.

    Of a model that does not say, short answers would be taken for spans: 23 % of the annotated answers about tables
    are counts, and would be lost.
    """
    return (*MODEL_CHECKS, "grounded") if prompting.categories else MODEL_CHECKS


@dataclass(frozen=True, kw_only=True)
class Synthesize(ModelStage):
    """Pairs for every passage, written by a model in chains of several shots (paper, section 2)."""

    passages: Stage[Document]
    model: Model
    dialect: str = AUTO
    """How the model is talked with; "auto" asks the model's own folder (`synthesizer.json`)."""
    categories: str = ""
    """What to ask for, as "name=weight,name=weight"; empty leaves the choice to the model."""
    pairs: int = 5
    """A passage, where categories are asked for."""
    pairs_per_sentence: int | None = field(default=None, metadata={"later": True})
    """A passage of few sentences is asked for no more than these; None asks for `pairs` of each."""
    shots: int = 2
    """M, passages a chain. The paper has 2 from scratch and 3 for continual pre-training."""
    checks: tuple[str, ...] = MODEL_CHECKS
    window_tokens: int = 4096
    """Prompt and answer together; the model's context, where that is less."""
    max_new_tokens: int = 400
    temperature: float = 0.0
    guided: bool = True
    """Whether answers are held to the dialect's form, by engines that can."""
    seed: int = 0

    def check(self, run: Run) -> None:
        """Raises InputError for a model that is not whole, RecipeError for one that reads less than is asked of it."""
        if not isinstance(self.model, str) or not is_local(self.model):
            return
        if run.engine == "transformers":
            check_model(self.model, own_code=bool(run.engine_options.get("trust_remote_code")))
        context = context_tokens(local_folder(self.model, files=DESCRIPTION))
        passage = self.passages.budget_tokens if isinstance(self.passages, Split) else 1
        if context is not None and passage + self.max_new_tokens > context:
            raise RecipeError(
                f"{self.model} reads {context} tokens, a passage of {passage} and an answer of {self.max_new_tokens} "
                "do not fit: lower --passage-tokens or --max-new-tokens"
            )

    def shard(self, index: int, run: Run) -> Iterator[Group]:
        """A group a chain; what the open shard's ledger holds is not asked again."""
        from instructpt.engines import Sampling
        from instructpt.synthesis.chains import chains
        from instructpt.synthesis.mix import draw
        from instructpt.synthesis.scheduler import run_chains

        mix, watch = mix_of(self.prompting(run)), run.shared.watch
        watch.begin(index, total=run.num_made(self.passages, index))

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
            passages = chains(run.take(self.passages, index), shots=self.shots)
            tell = functools.partial(watch.tell, index)
            groups = run_chains(passages, synthesis=synthesis, id_prefix=f"{index:05d}-", on_progress=tell)
            for group in groups:
                yield count_pairs(group, run.tally)

    def prompting(self, run: Run) -> Prompting:
        """See `ModelStage`."""
        own = prompting_of(self.model, run)
        return own.wished(dialect=self.dialect, mix=self.categories, pairs=self.pairs)
