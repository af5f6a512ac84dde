"""What lies under a root, read back for people: every finished artifact with its recipe, counts and timing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder, damage_named, read_shard
from instructpt.artifacts.tally import Tally
from instructpt.errors import ArtifactError
from instructpt.records import R


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
    tally: Tally
    num_shards: int
    seconds: float
    """Of work, summed over its shards, killed tries not counted."""
    folder: Folder

    def records(self, record: type[R]) -> Iterator[R]:
        """Its records, shard by shard, streamed."""
        for index in range(self.num_shards):
            yield from read_shard(self.folder, index, record)

    def named_counts(self, prefix: str) -> dict[str, int]:
        """The counts "prefix/..." by what follows the slash, most frequent first."""
        found = {k.removeprefix(f"{prefix}/"): v for k, v in self.tally.counts.items() if k.startswith(f"{prefix}/")}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def load(root: str) -> dict[str, Artifact]:
    """The finished artifacts under a root by name, inputs before what is made from them.

    Raises ArtifactError if there are none.
    """
    folder, found = Folder.at(root), {}
    for name in folder.names():
        child = folder.child(name)
        if child.exists("manifest.json") and child.exists("recipe.json"):
            found[name] = _read(child, name)
    if not found:
        raise ArtifactError(f"no finished artifact under {root}: give the folder that --out or --root named")
    ordered: dict[str, Artifact] = {}

    def visit(artifact: Artifact) -> None:
        for name in artifact.inputs:
            if name in found and name not in ordered:
                visit(found[name])
        ordered[artifact.name] = artifact

    for artifact in found.values():
        if artifact.name not in ordered:
            visit(artifact)
    return ordered


def load_one(path: str) -> Artifact:
    """The finished artifact in the folder `path`. Raises ArtifactError if it is not finished."""
    folder = Folder.at(path)
    read_manifest(folder)
    return _read(folder, folder.path.rstrip("/").rpartition("/")[2])


def road(path: str) -> list[Artifact]:
    """The artifact at `path` and all it was made from that is still beside it, what comes first first.

    Raises ArtifactError if it is not finished.
    """
    last, found = load_one(path), dict[str, Artifact]()
    root = Folder.at(last.folder.path.rstrip("/").rpartition("/")[0])

    def visit(artifact: Artifact) -> None:
        for name in artifact.inputs:
            if name not in found and root.child(name).exists("manifest.json"):
                visit(_read(root.child(name), name))
        found[artifact.name] = artifact

    visit(last)
    return list(found.values())


def _read(folder: Folder, name: str) -> Artifact:
    manifest = read_manifest(folder)
    with damage_named(folder.join("recipe.json"), remove=folder.path):
        recipe = orjson.loads(folder.read("recipe.json"))
        settings = recipe["settings"]
    files = [file for file in folder.names() if file.startswith("timing.")]  # one of each partition
    timing = [line for file in files for line in folder.read(file).splitlines()]
    return Artifact(
        name=name,
        stage=manifest["stage"],
        settings=settings,
        inputs=tuple(manifest["inputs"]),
        takes=manifest["takes"],
        makes=manifest["makes"],
        tally=Tally.from_row(manifest["tally"]),
        num_shards=manifest["num_shards"],
        seconds=sum(orjson.loads(line)["seconds"] for line in timing),
        folder=folder,
    )
