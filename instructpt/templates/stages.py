"""Passages and groups to training texts, and texts to rows of exactly L tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from instructpt.artifacts import Run, Stage, Table, is_finished
from instructpt.artifacts.tally import Tally
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Kind, Text
from instructpt.seeds import digest
from instructpt.words import languages

if TYPE_CHECKING:
    from instructpt.templates.catalog import WordingCatalog

_COUNT = "language/"
_REASONS = {
    "language_mixed": "of passages in several languages, worded in that of the most",
    "language_unknown": f"in no language that could be told, worded in {languages.FALLBACK}",
    "language_without_templates": f"in a language without templates, worded in {languages.FALLBACK}",
}
"""Count -> what it says."""


@dataclass(frozen=True, kw_only=True)
class Template(Stage[Text]):
    """Natural text: a group laid out in one drawn style, a passage without pairs as it is (paper, section 3)."""

    takes: ClassVar[str] = "passages"

    groups: Stage[Group] | Stage[Document]
    language: str = languages.FALLBACK
    """Of the wording: a folder of templates/catalog, or "auto"."""
    kind: Kind = "augmented"
    """What the texts with pairs are called: "augmented", or "task" for annotated data."""
    layout: Literal["drawn", "plain", "apart"] = field(default="drawn", metadata={"later": True})
    """"plain": a text a pair, question and answer with a blank between them, no wording (paper, section 5). "apart":
    passages raw, and a text a pair in drawn wording, never in one row with its passage or another pair of it."""
    loss: Literal["all", "responses"] = field(default="all", metadata={"later": True})
    """"responses": on answers and rationales alone, for instruction tuning; what has no pairs is left out."""
    is_spread: bool = field(default=False, metadata={"later": True})
    """Whether texts of the same passages never stand in one row, as where several sets of pairs are about them."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise RecipeError for a language that there is no wording in, and for settings that exclude each other."""
        from instructpt.templates import catalog

        if self.layout == "apart" and self.loss == "responses":
            raise RecipeError(f"{self.name} has pairs apart and loss on responses: passages have none; choose one")
        known = (languages.AUTO, *catalog.languages())
        if self.language not in known:
            name = languages.named(self.language) or self.language.casefold()
            near = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)}"
            raise RecipeError(f"no templates in the language {self.language!r}: {hint}")

    @property
    def keeps_apart(self) -> bool:
        """Whether a passage may have several texts, of which no two stand in one row."""
        return self.layout == "apart" or self.is_spread

    def sources(self, run: Run) -> Mapping[str, str]:
        """The wording; with "auto" all there is, and how languages are told apart."""
        from instructpt.templates import catalog

        if self.language != languages.AUTO:
            return {"catalog": catalog.load(self.language).fingerprint}
        known = [(name, catalog.load(name).fingerprint) for name in catalog.languages()]
        return {"catalog": digest(known, languages.fingerprint()).hex()[:32]}

    def outline(self, run: Run) -> Table | None:
        """With "auto" and once it is made: how many texts have their wording in which language."""
        if self.language != languages.AUTO or not is_finished(self, run):
            return None
        counts = Tally.from_row(run.manifest(self)["tally"]).counts
        rows = [
            (name.removeprefix(_COUNT), f"{number:,}") for name, number in counts.items() if name.startswith(_COUNT)
        ]
        notes = [f"{counts[name]:,} {what}" for name, what in _REASONS.items() if name in counts]
        return Table(f"{self.name}: the languages of the wording", ("language", "texts"), tuple(rows), tuple(notes))

    def shard(self, index: int, run: Run) -> Iterator[Text]:
        """Texts in the order of their groups."""
        source: Stage[Any] = self.groups
        for record in run.take(source, index):
            if isinstance(record, Document):
                run.tally.keep()
                run.tally.count("mode/raw")
                yield Text(record.id, record.text, record.source, "raw")
            else:
                yield from self._texts(record, run)

    def _texts(self, group: Group, run: Run) -> Iterator[Text]:
        """Of one group; what has nothing to say is counted as dropped."""
        from instructpt.templates.render import apart, passages_of, plain, render, writings

        needs_pairs = self.layout == "plain" or self.loss == "responses"
        for shot in group.shots:
            if needs_pairs and not shot.pairs:
                run.tally.drop("no_pairs", shot.document.text)
            else:
                run.tally.keep()
        if needs_pairs:
            if num_writings := sum(len(shot.writings) for shot in group.shots):
                run.tally.count("writings_left_out", num_writings)
            group = replace(group, shots=tuple(shot for shot in group.shots if shot.pairs))
        if self.layout == "plain":
            texts = plain(group, kind=self.kind, loss=self.loss)
        elif self.layout == "apart":
            texts = apart(group, catalog=self._catalog(group, run), seed=self.seed, kind=self.kind)
        else:
            texts = render(group, catalog=self._catalog(group, run), seed=self.seed, kind=self.kind, loss=self.loss)
        for text in texts if needs_pairs else [*texts, *writings(group)]:
            run.tally.count(f"mode/{text.layout or text.kind}")
            yield replace(text, passage=passages_of(group)) if self.is_spread and not text.passage else text

    def _catalog(self, group: Group, run: Run) -> WordingCatalog:
        """The wording for a group: a function of the group alone, so that shards may be made in any order."""
        from instructpt.templates import catalog

        if self.language != languages.AUTO:
            return catalog.load(self.language)
        if not any(shot.pairs for shot in group.shots):
            return catalog.load(languages.FALLBACK)
        choice = languages.choose(group, known=catalog.languages())
        for name in (f"{_COUNT}{choice.language}", *choice.notes):
            run.tally.count(name)
        return catalog.load(choice.language)
