"""The artifacts that the viewer was started on: one, and what stands beside it under its root.

runs/mine/            root: `instructpt view runs/mine` begins with its last artifact
  documents/  ...  texts/        `instructpt view runs/mine/texts` begins with this one
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder, damage_named
from instructpt.assembly.rows import Rows, open_rows
from instructpt.errors import ArtifactError, InputError
from instructpt.report.artifacts import Artifact, load, load_one
from instructpt.viewer.shelf import Shelf
from instructpt.viewer.shown import KINDS


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """An artifact that is looked at."""

    artifact: Artifact
    manifest: dict[str, Any]
    content: Shelf | Rows | None
    """Its records, its packed rows, or neither (models, vocabularies)."""

    @property
    def record(self) -> str:
        """Name of its records' type; "Row" for packed rows, "" for other files."""
        return "Row" if isinstance(self.content, Rows) else str(self.manifest["record"] or "") if self.content else ""


class Library:
    """What can be looked at. Its methods may be called from several threads."""

    def __init__(self, path: str) -> None:
        """path: folder of a finished artifact, or of a run. Raises ArtifactError if it is neither."""
        folder = Folder.at(path)
        if folder.exists("manifest.json") or folder.exists("recipe.json") or not folder.exists():
            read_manifest(folder)
            root, _, self.first = folder.path.rstrip("/").rpartition("/")
            self.root = Folder.at(_url(folder, root))
        else:
            self.root = folder
            self.first = list(load(_url(folder, folder.path)))[-1]
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
            if known is None or known.manifest != manifest:
                with damage_named(folder.path, remove="it"):
                    artifact = load_one(_url(folder, folder.path))
                known = self._opened[name] = OpenArtifact(artifact, manifest, _content(artifact, manifest))
            return known

    def path_of(self, name: str) -> str:
        """The folder of an artifact, as other parts of the package take it."""
        return _url(self.root, self.root.join(name))


def shelf_of(opened: OpenArtifact) -> Shelf:
    """The records of an artifact. Raises InputError if it has none."""
    if not isinstance(opened.content, Shelf):
        raise InputError(f"{opened.artifact.name} holds no records: look at what it was made from")
    return opened.content


def _content(artifact: Artifact, manifest: dict[str, Any]) -> Shelf | Rows | None:
    if manifest["record"] in KINDS:
        return Shelf(artifact)
    if manifest["stage"] != "Pack":
        return None
    if not artifact.folder.is_local:
        raise ArtifactError(f"{artifact.folder.path} holds packed rows on another machine: copy them here to look at")
    return open_rows(Path(artifact.folder.join("joined")))


def _url(folder: Folder, path: str) -> str:
    return path if folder.is_local else str(folder.fs.unstrip_protocol(path))
