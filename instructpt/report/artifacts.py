"""What lies under a root, read back for people: every finished artifact with its recipe, counts and timing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder, damage_named, read_shard
from instructpt.artifacts.tally import Tally
from instructpt.errors import ArtifactError
from instructpt.records import R, Record

_KINDS = {kind.__name__: kind for kind in get_args(Record)}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished artifact."""

    name: str
    stage: str
    """Name of the stage's class."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of the artifacts it was made from."""
    takes: str
    makes: str
    kind: type[Any] | None
    """Of its records; None for one of files."""
    tally: Tally
    num_shards: int
    seconds: float
    """Of work, summed over its shards, killed tries not counted."""
    folder: Folder
    manifest: Mapping[str, Any]

    def records(self, record: type[R]) -> Iterator[R]:
        """Its records, shard by shard, streamed."""
        for index in range(self.num_shards):
            yield from read_shard(self.folder, index, record)

    def named_counts(self, prefix: str) -> dict[str, int]:
        """The counts "prefix/..." by what follows the slash, most frequent first."""
        found = {k.removeprefix(f"{prefix}/"): v for k, v in self.tally.counts.items() if k.startswith(f"{prefix}/")}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def beside(self, name: str) -> Artifact | None:
        """The artifact of that name under the same root, if it is finished."""
        root = self.folder.path.rstrip("/").rpartition("/")[0]
        folder = Folder(self.folder.fs, root, self.folder.is_local).child(name)
        return artifact_in(folder) if folder.exists("manifest.json") else None


def load(root: str) -> dict[str, Artifact]:
    """The finished artifacts under a root by name, inputs before what is made from them.

    Raises ArtifactError if there are none.
    """
    folder = Folder.at(root)
    children = {name: folder.child(name) for name in folder.names()}
    found = {
        name: artifact_in(child)
        for name, child in children.items()
        if child.exists("manifest.json") and child.exists("recipe.json")
    }
    if not found:
        raise ArtifactError(f"no finished artifact under {root}: give the folder that --out or --root named")
    return _inputs_first(found.values(), found.get)


def load_one(path: str) -> Artifact:
    """The finished artifact in the folder or at the URL `path`. Raises ArtifactError if it is not finished."""
    return artifact_in(Folder.at(path))


def road(artifact: Artifact) -> list[Artifact]:
    """The artifact and all it was made from that is still beside it, what comes first first."""
    return list(_inputs_first([artifact], artifact.beside).values())


def _inputs_first(artifacts: Iterable[Artifact], find: Callable[[str], Artifact | None]) -> dict[str, Artifact]:
    ordered: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        for name in artifact.inputs:
            if name not in ordered and (made := find(name)) is not None:
                visit(made)
        ordered[artifact.name] = artifact

    for artifact in artifacts:
        if artifact.name not in ordered:
            visit(artifact)
    return ordered


def artifact_in(folder: Folder) -> Artifact:
    """The finished artifact in a folder. Raises ArtifactError if it is not finished."""
    manifest = read_manifest(folder)
    with damage_named(folder.join("recipe.json"), remove=folder.path):
        settings = orjson.loads(folder.read("recipe.json"))["settings"]
    files = [file for file in folder.names() if file.startswith("timing.")]  # one of each partition
    timing = [line for file in files for line in folder.read(file).splitlines()]
    return Artifact(
        name=folder.path.rstrip("/").rpartition("/")[2],
        stage=manifest["stage"],
        settings=settings,
        inputs=tuple(manifest["inputs"]),
        takes=manifest["takes"],
        makes=manifest["makes"],
        kind=_KINDS.get(manifest["record"] or ""),
        tally=Tally.from_row(manifest["tally"]),
        num_shards=manifest["num_shards"],
        seconds=sum(orjson.loads(line)["seconds"] for line in timing),
        folder=folder,
        manifest=manifest,
    )
