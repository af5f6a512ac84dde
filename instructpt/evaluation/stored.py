"""What another run made and left in a folder, taken into this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from instructpt import files
from instructpt.artifacts import Run, Stage, num_units, read_manifest
from instructpt.artifacts.stage import UNITS
from instructpt.artifacts.storage import Folder, read_parquet
from instructpt.errors import RecipeError
from instructpt.files.streams import opened
from instructpt.records import Document, Group, Score, Text

Kind = Literal["Document", "Group", "Text", "Score"]
KINDS: dict[Kind, Any] = {"Document": Document, "Group": Group, "Text": Text, "Score": Score}
"""Name in a manifest -> the record."""


@dataclass(frozen=True, kw_only=True)
class Stored(Stage[Any]):
    """Documents, groups, texts or scores that another run made."""

    folder: str
    """A finished artifact, such as runs/mine/texts."""
    kind: Kind

    @property
    def record(self) -> Any:
        """What `kind` names."""
        return KINDS[self.kind]

    @property
    def takes(self) -> str:  # type: ignore[override]
        """As `makes`."""
        return self.makes

    @property
    def makes(self) -> str:  # type: ignore[override]
        """Units of the kind."""
        return UNITS[self.record]

    def sources(self, run: Run) -> Mapping[str, str]:
        """The files by content."""
        return {files.base_name(file.url): files.content_digest(file) for file in self._files()}

    def num_shards(self, run: Run) -> int:
        """One a file."""
        return len(self._files())

    def shard(self, index: int, run: Run) -> Iterator[Any]:
        """The records of a file, in order."""
        with opened(self._files()[index].url) as file:
            for record in read_parquet(file, self.record):
                run.tally.take(num_units(record))
                yield record

    def _files(self) -> list[files.File]:
        return files.find(f"{self.folder.rstrip('/')}/*.parquet")


def is_artifact(folder: str) -> bool:
    """Whether a finished artifact is there."""
    return Folder.at(folder).exists("manifest.json")


def stored(folder: str, *, kinds: tuple[Kind, ...] = ("Group",)) -> Stored:
    """The artifact in a folder. Raises ArtifactError if there is none, RecipeError for records of another kind."""
    record = read_manifest(Folder.at(folder))["record"]
    if record not in kinds:
        wanted = "an artifact of groups with pairs" if kinds == ("Group",) else "documents, groups or texts"
        raise RecipeError(f"{folder} holds {record or 'no records'}: give {wanted}")
    return Stored(name="stored", folder=folder, kind=record)
