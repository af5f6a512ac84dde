"""The artifacts that the viewer was started on: one, and what stands beside it under its root.

runs/mine/            root: `instructpt view runs/mine` begins with its last artifact
  documents/  ...  texts/        `instructpt view runs/mine/texts` begins with this one
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder, damage_named
from instructpt.assembly.rows import Rows, open_rows
from instructpt.errors import ArtifactError, InputError
from instructpt.report.artifacts import Artifact, artifact_in, load
from instructpt.viewer.shelf import Shelf


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """An artifact that is looked at."""

    artifact: Artifact
    content: Shelf | Rows | None
    """Its records, its packed rows, or neither (models, vocabularies)."""

    @property
    def record(self) -> str:
        """Name of its records' type; "Row" for packed rows, "" for other files."""
        kind = self.artifact.kind
        return "Row" if isinstance(self.content, Rows) else kind.__name__ if kind else ""


class Library:
    """What can be looked at. Its methods may be called from several threads."""

    def __init__(self, path: str) -> None:
        """path: folder of a finished artifact, or of a run. Raises ArtifactError if it is neither."""
        folder = Folder.at(path)
        if folder.exists("manifest.json") or folder.exists("recipe.json") or not folder.exists():
            read_manifest(folder)
            root, _, self.first = folder.path.rstrip("/").rpartition("/")
            self.root = Folder(folder.fs, root, folder.is_local)
        else:
            self.root, self.first = folder, list(load(path))[-1]
        self._opened: dict[str, OpenArtifact] = {}
        self._lock = Lock()
        self.opened(self.first)

    def names(self) -> list[str]:
        """The finished artifacts beside the first one."""
        return [name for name in self.root.names() if self.root.child(name).exists("manifest.json")]

    def opened(self, name: str) -> OpenArtifact:
        """An artifact. Raises ArtifactError for one that is not finished or damaged, InputError for an unknown name."""
        with self._lock:
            folder = self.root.child(name)
            if "/" in name or "\\" in name or name.startswith(".") or not folder.exists():
                raise InputError(f"no artifact {name!r} under {self.root.path}: choose from {', '.join(self.names())}")
            manifest = read_manifest(folder)
            known = self._opened.get(name)
            if known is None or known.artifact.manifest != manifest:
                with damage_named(folder.path, remove="it"):
                    artifact = artifact_in(folder)
                known = self._opened[name] = OpenArtifact(artifact, _content(artifact))
            return known


def shelf_of(opened: OpenArtifact) -> Shelf:
    """The records of an artifact. Raises InputError if it has none."""
    if not isinstance(opened.content, Shelf):
        raise InputError(f"{opened.artifact.name} holds no records: look at what it was made from")
    return opened.content


def _content(artifact: Artifact) -> Shelf | Rows | None:
    if artifact.kind is not None:
        return Shelf(artifact)
    if artifact.stage != "Pack":
        return None
    if not artifact.folder.is_local:
        raise ArtifactError(f"{artifact.folder.path} holds packed rows on another machine: copy them here to look at")
    return open_rows(Path(artifact.folder.join("joined")))
