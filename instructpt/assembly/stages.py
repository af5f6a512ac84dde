"""Texts to rows of exactly L tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from instructpt.artifacts import Product, Run, Stage
from instructpt.engines.models import Model, description_folder, model_sources
from instructpt.errors import RecipeError
from instructpt.records import Text
from instructpt.words import vocabulary


@dataclass(frozen=True, kw_only=True)
class Pack(Stage[Any]):
    """Rows of exactly `row_tokens` tokens: token files a shard, and one plan that places every piece."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "texts"
    makes: ClassVar[str] = "texts"
    packages: ClassVar[tuple[str, ...]] = ("tokenizers", "tiktoken")

    texts: Stage[Text]
    vocabulary: Model
    row_tokens: int
    policy: str = "best-fit"
    rows_apart: int = field(default=1, metadata={"later": True})
    """So many rows lie between texts of one passage, as far as that can be kept; 1: they share none."""

    def __post_init__(self) -> None:
        """Raises RecipeError for less than one row."""
        if self.rows_apart < 1:
            raise RecipeError(f"{self.name}: texts of one passage {self.rows_apart} rows apart: give at least 1")

    def sources(self, run: Run) -> Mapping[str, str]:
        """The vocabulary, if no stage makes it."""
        return model_sources(self.vocabulary, run)

    def build(self, index: int, run: Run, path: Path) -> None:
        """A shard's token files."""
        from instructpt.assembly.tokenize import tokenize

        words = vocabulary.load(description_folder(self.vocabulary, run))
        counts = tokenize(run.take(self.texts, index), vocabulary=words, folder=path)
        run.tally.made = counts.documents
        run.tally.count("tokens", counts.tokens)
        run.tally.count("loss_tokens", counts.loss_tokens)

    def join(self, run: Run, path: Path) -> bool:
        """The plan: which piece of which text stands where in which row."""
        from instructpt.assembly.rows import pack

        words = vocabulary.load(description_folder(self.vocabulary, run))
        packed = pack(
            token_files(self, self.num_shards(run), run),
            capacity=self.row_tokens,
            policy=self.policy,
            folder=path,
            vocabulary_fingerprint=words.fingerprint,
            rows_apart=self.rows_apart,
        )
        run.tally.count("rows", packed.rows)
        run.tally.count("cuts", packed.pieces - packed.documents)
        run.tally.count("unused_places", packed.rows * self.row_tokens - packed.tokens)
        if self.rows_apart > 1:
            run.tally.count("texts_too_near", packed.near)
        return True


def token_files(rows: Pack, num_shards: int, run: Run) -> list[Path]:
    """The folders of the token files that rows are an index over."""
    return [run.product(rows, f"{index:05d}") for index in range(num_shards)]
