"""Who writes about passages: a model that is asked in its way, and its reader, if it has one, behind it.

passages -> Synthesize -----------------------------------------> groups
passages -> Synthesize -> Consistency -> Best -> Fill by rules -> groups     with a reader
passages -> Write (-> Consistency) -----------------------------> groups     in forms
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from instructpt.artifacts import Stage
from instructpt.engines.models import AUTO, DESCRIPTION, Prompting, read_prompting, remote_prompting
from instructpt.mining.stages import Fill
from instructpt.models import is_remote
from instructpt.models.folders import is_local, local_folder
from instructpt.records import Document, Group
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.mix import mix_of
from instructpt.synthesis.stages import Synthesize, Write, check_writes_forms, default_checks
from instructpt.verification.consistency import Consistency
from instructpt.verification.stages import Best

WRITTEN_PER_PAIR = 1.6
"""Pairs that are written for each that is wanted, where a reader leaves some out."""
MIN_AGREEMENT = 0.8
"""Of a reader's answer: of 26 pairs that a small one confirmed in full 13 were right, of 11 others 2 (docs/log.md)."""
SURE_LIKELIHOOD = 0.5
"""Of a reader that says how likely it holds an answer. Of 196 written pairs 57 are held so likely, and 26 of these are
right; 24 more from 0.25 on, and 10 right. Rules fill the room, and these are right 99 times in 100 (docs/log.md)."""
PAIRS_PER_SENTENCE = 1
"""More of them ask the same things again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A model that writes about passages, and how it is asked."""

    model: str
    prompting: Prompting
    """Its reader included."""
    dialect: str = AUTO
    """As it is written down; AUTO for the model's own, which a Hub model that is not here yet names later."""
    forms: str = ""
    """What is written; "" for pairs alone."""
    variants: int = 1
    shots: int | None = None
    """Passages a chain; None for what suits the dialect."""
    checks: tuple[str, ...] | None = None
    temperature: float = 0.0
    seed: int

    @property
    def num_shots(self) -> int:
        """Passages a chain. Raises RecipeError for an unknown dialect."""
        if self.shots is None:
            return 1 if open_dialect(self.prompting.dialect).asks_apart else 2
        return self.shots

    def groups(self, name: str, passages: Stage[Document]) -> Stage[Group]:
        """Passages with what is written about them.

        Where a reader confirms pairs, more are written than are wanted, and the best of those that it confirms are
        kept; rules add pairs for the sentences that these do not need. Raises RecipeError for what the model cannot be
        asked for.
        """
        is_known = is_remote(self.model) or is_local(self.model)  # a Hub model is asked once it is here
        if self.forms and is_known:
            check_writes_forms(self.model, self.prompting)
        elif is_known or self.dialect != AUTO:
            mix_of(self.prompting)
        reader = self.prompting.reader
        written = self._written(f"{name}-written" if reader else name, passages)
        if not reader:
            return written
        read = Consistency(
            name=name if self.forms else f"{name}-read",
            groups=written,
            model=reader,
            min_f1=MIN_AGREEMENT,
            min_likelihood=SURE_LIKELIHOOD,
            forms=self.forms,
        )
        if self.forms:
            return read
        wanted = self.prompting.pairs
        return Fill(
            name=name, groups=Best(name=f"{name}-best", groups=read, pairs=wanted), pairs=wanted, seed=self.seed
        )

    def _written(self, name: str, passages: Stage[Document]) -> Synthesize | Write:
        asked = self.prompting
        shared: dict[str, Any] = {
            "name": name,
            "passages": passages,
            "model": self.model,
            "shots": self.num_shots,
            "window_tokens": asked.window_tokens,
            "max_new_tokens": asked.max_new_tokens,
            "seed": self.seed,
        }
        if self.forms:
            return Write(forms=self.forms, variants=self.variants, **shared)
        return Synthesize(
            dialect=self.dialect,
            categories=asked.mix,
            pairs=math.ceil(WRITTEN_PER_PAIR * asked.pairs) if asked.reader else asked.pairs,
            pairs_per_sentence=PAIRS_PER_SENTENCE if asked.reader else None,
            checks=default_checks(asked) if self.checks is None else self.checks,
            temperature=self.temperature,
            **shared,
        )


def known_prompting(model: str) -> Prompting:
    """How a model says that it is asked, as far as that can be told now; the usual for a Hub model."""
    if is_remote(model):
        return remote_prompting(model)
    return read_prompting(local_folder(model, files=DESCRIPTION)) if is_local(model) else Prompting()
