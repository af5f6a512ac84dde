"""A synthesizer as a folder of its own: weights, tokenizer, how to talk with it, and a card that says what it is.

    <release>/00000/   config.json, model.safetensors (bfloat16), tokenizer.json ...   any engine takes it
                       synthesizer.json     dialect, categories with their shares, lengths: `augment` reads it
                       README.md            data, licences, settings, quality, limits: made from the artifacts

The folder needs nothing beside it: copy it, ship it, upload it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

import orjson

from instructpt.artifacts import Product, Run, Stage, Table
from instructpt.collection.stages import Convert
from instructpt.engines.models import PROMPTING_FILE, model_folder, quiet_loading
from instructpt.errors import RecipeError
from instructpt.models.inspection import context_tokens
from instructpt.models.loading import adapters_folder, base_of
from instructpt.records import Document, Group, Score
from instructpt.report.collection import outline
from instructpt.training.settings import ADAPTERS
from instructpt.training.stages import Train


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the finished model's card says."""

    title: str = "An instruction synthesizer"
    """Title of the model card."""
    note: str = ""
    """A paragraph for the card, for example on how the base was made."""
    licence: str | None = None
    """Licence of the weights, as the Hub spells it; by default what the data require."""
    max_bytes: int | None = None
    """Fail if the finished folder is larger than this."""
    adapters_only: bool = field(default=False, metadata={"later": True})
    """Write only the LoRA adapters, a few megabytes. Their users need the base, under the same name."""


@dataclass(frozen=True, kw_only=True)
class Release(Card, Stage[Any]):
    """A trained synthesizer as a folder that needs nothing else; or its adapters, which need the base."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "models"
    makes: ClassVar[str] = "models"
    placement = "driver"
    is_single = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    model: Train
    tasks: Convert
    """What it was tuned on."""
    dialect: str
    passage_tokens: int
    """The longest passage that it was tuned on, or is to be given."""
    window_tokens: int
    """The longest sequence that it was tuned on."""
    max_new_tokens: int
    """What its longest answers need."""
    field_characters: int | None = None
    """Where a loop in a held answer is to end; see `Dialect.form`."""
    context_tokens: int | None = field(default=None, metadata={"later": True})
    """The longest context that it was tuned on, where that is less than a passage."""
    mix: str = ""
    """What to ask it for where a user asks for nothing, as "name=weight,..."; empty leaves the choice to it."""
    pairs: int | None = None
    """A passage, to ask for."""
    reader: str = field(default="", metadata={"later": True})
    """The model that is to confirm what it writes; "" for none."""
    unanswerable: str = field(default="", metadata={"later": True})
    """Of a reader: what it says where the passage holds no answer."""
    min_likelihood: float | None = field(default=None, metadata={"later": True})
    """Of a reader: how likely it must hold an answer to confirm it."""
    mined: tuple[Stage[Group], ...] = ()
    """Passages with pairs mined by rules that it was tuned on too."""
    mined_share: float = 0.0
    """Of the tuning tokens."""
    corpora: tuple[Stage[Document], ...] = ()
    """Raw text that it was trained on."""
    scores: Stage[Score] | None = None
    """Its quality, measured; None leaves the card's table out."""

    def __post_init__(self) -> None:
        if self.adapters_only and (self.model.settings.lora is None or not isinstance(self.model.base, str)):
            raise RecipeError(
                f"{self.name} is to hold adapters only, but all weights of {self.model.name} are tuned: give "
                "--lora-rank, and a base by name"
            )

    def sources(self, run: Run) -> Mapping[str, str]:
        """The catalog, whose words stand in the card."""
        return {k: v for k, v in self.tasks.sources(run).items() if k.startswith("catalog")}

    def outline(self, run: Run) -> Table:
        """The collection that it is tuned on."""
        return outline(self.tasks, run)

    def build(self, index: int, run: Run, path: Path) -> None:
        """The folder. Raises RecipeError if it is larger than `max_bytes`."""
        from instructpt.report.cards import model_card
        from instructpt.synthesis.mix import parse_mix

        run.tally.take()
        path.mkdir(exist_ok=True)
        parameters = self._write_model(run, path)
        groups = list(run.records(self.tasks))
        categories = self._categories(groups, run)
        prompting = {
            "dialect": self.dialect,
            "categories": categories,
            "passage_tokens": self.passage_tokens,
            "window_tokens": min(self.window_tokens, context_tokens(path) or self.window_tokens),
            "max_new_tokens": self.max_new_tokens,
            "field_characters": self.field_characters,
        }
        if self.mix:
            parse_mix(self.mix, known=categories)
            prompting |= {"mix": self.mix, "pairs": self.pairs}
        prompting |= {
            name: said
            for name in ("context_tokens", "reader", "unanswerable", "min_likelihood")
            if (said := getattr(self, name))
        }
        (path / PROMPTING_FILE).write_bytes(orjson.dumps(prompting, option=orjson.OPT_INDENT_2))
        card = model_card(self, groups, run, path=path, parameters=parameters, categories=tuple(categories))
        (path / "README.md").write_text(card, "utf-8")
        for file in path.iterdir():
            file.chmod(0o644)  # safetensors writes for its user alone; this folder is to be passed on
        num_bytes = sum(file.stat().st_size for file in path.iterdir())
        if self.max_bytes is not None and num_bytes > self.max_bytes:
            raise RecipeError(
                f"{self.name} takes {num_bytes:,} bytes, more than the {self.max_bytes:,} allowed: "
                "take a smaller shape or vocabulary, or allow more and remove its folder"
            )
        run.tally.count("bytes", num_bytes)
        run.tally.made = 1

    def _write_model(self, run: Run, path: Path) -> int:
        """Weights in bfloat16 and tokenizer; how many numbers were learned, or how many the model has."""
        import torch

        from instructpt.training.adapters import write_adapters
        from instructpt.training.checkpoints import copy_tokenizer, write_model
        from instructpt.training.shapes import load_model

        quiet_loading()
        folder = model_folder(self.model, run)
        if self.adapters_only:
            assert isinstance(self.model.base, str)
            copy_tokenizer(folder, path)
            copyfile(folder / "config.json", path / "config.json")
            learned = run.product(self.model, "00000") / ADAPTERS
            below = adapters_folder(self.model.base)
            base = self.model.base if below is None else base_of(below)
            return write_adapters(learned, path, base=base, dtype=torch.bfloat16, below=below)
        model = load_model(folder).to(torch.bfloat16)
        write_model(model, path, vocabulary_folder=folder)
        return sum(parameter.numel() for parameter in model.parameters())

    def _categories(self, groups: Sequence[Group], run: Run) -> dict[str, dict[str, object]]:
        """Category -> its share of the pairs that were shown, and what its answers are; most frequent first."""
        from instructpt.collection.catalog import load
        from instructpt.mining import LABELS
        from instructpt.mining import category as rule_category

        shares: dict[str, float] = {}
        answers: dict[str, dict[str, int]] = {}
        entries = load(self.tasks.catalog).entries
        for pair_set, category, share in _shown(groups, 1 - self.mined_share):
            shares[category] = shares.get(category, 0) + share
            kind = entries[pair_set].answers if pair_set in entries else "free"
            counts = answers.setdefault(category, {})
            counts[kind] = counts.get(kind, 0) + 1
        mined = [group for stage in self.mined for group in run.records(stage)]
        labels = {rule_category(kind) for kind in LABELS}
        for _, category, share in _shown(mined, self.mined_share):
            shares[category] = shares.get(category, 0) + share
            answers.setdefault(category, {"label" if category in labels else "span": 1})
        ordered = sorted(shares, key=lambda name: (-shares[name], name))
        return {
            name: {"share": round(shares[name], 4), "answers": max(answers[name], key=answers[name].__getitem__)}
            for name in ordered
        }


def _shown(groups: Sequence[Group], weight: float) -> Iterator[tuple[str, str, float]]:
    """Each pair's set and category, and its part of `weight`; pairs without a category count, but are not named."""
    shots = [shot for group in groups for shot in group.shots]
    total = sum(len(shot.pairs) for shot in shots)
    for shot in shots:
        names = shot.document.meta.get("pair_datasets") or [""] * len(shot.pairs)
        for name, pair in zip(names, shot.pairs, strict=True):
            if pair.category:
                yield name, pair.category, weight / total
