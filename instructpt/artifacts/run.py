"""The run that stages are made in: where things lie and how the work is done, never what is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from instructpt.artifacts.budget import Budget
from instructpt.artifacts.locking import alone
from instructpt.artifacts.stage import R_co, Stage, fingerprint, num_units
from instructpt.artifacts.storage import Folder, damage_named, read_shard, refusals_named
from instructpt.artifacts.tally import Progress, Tally
from instructpt.errors import ArtifactError
from instructpt.seeds import digest


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a recipe runs, never what it makes: nothing in here is part of a fingerprint."""

    root: str
    """Folder or fsspec URL under which every artifact has a folder of its name."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes for the stages that need no model; one a core by default."""
    executor: str = "local"
    """Where shards run: "local" (processes here) or "ray" (a cluster); see `instructpt.executors.EXECUTORS`."""
    executor_options: Mapping[str, Any] = field(default_factory=dict)
    """The executor's own settings; see its module."""
    partition: tuple[int, int] = (0, 1)
    """This run's place, counted from 0, and how many there are; see `artifacts.locking`."""
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    engine: str = "transformers"
    """Which engine answers prompts; see `instructpt.engines.ENGINES`."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    training_options: Mapping[str, Any] = field(default_factory=dict)
    """How models are trained, beyond the device: fields of `training.settings.Execution`."""
    trackers: tuple[str, ...] = ()
    """Where trainings are told besides metrics.jsonl; see `training.trackers.TRACKERS`."""
    chains_in_flight: int = 1024
    """Most chains of passages under way at once; how many really are is found by itself."""
    budget: Budget = field(default_factory=Budget)
    """What may be taken of hours and money."""
    scratch: str = "~/.cache/instructpt"
    """Folder on a disk of this machine's own, for copies of remote products and for open shards; these lie beside
    their artifact only in a local root that this machine works in alone."""
    progress: Progress = field(default_factory=Progress)
    tally: Tally = field(default_factory=Tally)
    """Of the shard being built; each gets its own."""
    shared: Any = None
    """What `Stage.opened` gave."""
    fingerprints: dict[Stage[Any], str] = field(default_factory=dict)
    """Known so far in this run: a large corpus is digested once, not again for every stage above it."""

    def folder(self, stage: Stage[Any]) -> Folder:
        """The artifact's folder."""
        return Folder.at(self.root).child(stage.name)

    @property
    def is_partition(self) -> bool:
        """Whether other runs work on the same recipe."""
        return self.partition[1] > 1

    def workspace(self, stage: Stage[Any], index: int) -> Path:
        """A local folder for the open shard `index`: kept from one try to the next, gone once the shard is sealed.

        Where several machines work on one root, it is in scratch: a ledger is not safe on their shared file system.
        What an earlier try left in the other of the two places is gone on with.
        """
        in_scratch, *beside = places = self._workspaces(stage, index)
        preferred = in_scratch if not beside or self.is_partition or self.executor != "local" else beside[0]
        path = next((place for place in places if place.exists()), preferred)
        with refusals_named(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def drop_workspace(self, stage: Stage[Any], index: int) -> None:
        """Remove what is left of an open shard that is sealed: a run may be killed between the two."""
        for place in self._workspaces(stage, index):
            shutil.rmtree(place, ignore_errors=True)

    def _workspaces(self, stage: Stage[Any], index: int) -> list[Path]:
        """Where the open shard may lie: in scratch, and beside its artifact if that is local."""
        folder, name = self.folder(stage), f"{index:05d}.open"
        in_scratch = self._scratch(stage) / digest("workspace", folder.path).hex()[:16] / name
        return [in_scratch, Path(folder.join(name))] if folder.is_local else [in_scratch]

    def _scratch(self, stage: Stage[Any]) -> Path:
        return Path(self.scratch).expanduser() / fingerprint(stage, self)[:16]

    def manifest(self, stage: Stage[Any]) -> dict[str, Any]:
        """The manifest of a finished artifact. Raises ArtifactError if it is not finished."""
        return read_manifest(self.folder(stage))

    def num_shards(self, stage: Stage[Any]) -> int:
        """How many shards a finished artifact has."""
        return int(self.manifest(stage)["num_shards"])

    def num_made(self, stage: Stage[Any], index: int) -> int:
        """How many units a finished shard holds."""
        return read_tally(self.folder(stage), index).made

    def take(self, stage: Stage[R_co], index: int | None = None) -> Iterator[R_co]:
        """The records of an input's shard, or of all its shards, counted as taken."""
        for record in self.records(stage, index):
            self.tally.take(num_units(record))  # type: ignore[arg-type]
            yield record

    def records(self, stage: Stage[R_co], index: int | None = None) -> Iterator[R_co]:
        """The records of a finished shard, or of all shards one after the other, streamed, not counted."""
        for each in range(self.num_shards(stage)) if index is None else (index,):
            yield from read_shard(self.folder(stage), each, stage.record)

    def product(self, stage: Stage[Any], name: str) -> Path:
        """A finished product (`"00000"`, `"joined"`) as a local path; a remote one is copied to scratch once."""
        folder = self.folder(stage)
        if folder.is_local:
            return Path(folder.join(name))
        copy = self._scratch(stage) / name
        with alone(copy.parent):
            if not copy.exists():
                unfinished = copy.with_name(f".{name}.copying")
                shutil.rmtree(unfinished, ignore_errors=True)
                folder.fs.get(folder.join(name), str(unfinished), recursive=True)
                unfinished.replace(copy)
        return copy


_IN_A_MANIFEST = {"name": str, "stage": str, "record": str | None, "num_shards": int, "inputs": dict, "made_by": dict}


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The manifest in an artifact's folder. Raises ArtifactError if there is none."""
    if not folder.exists("manifest.json"):
        raise ArtifactError(f"{folder.path} holds no finished artifact: run its recipe to the end first")
    with damage_named(folder.join("manifest.json"), remove="it"):
        manifest: dict[str, Any] = orjson.loads(folder.read("manifest.json"))
        Tally.from_row(manifest["tally"])
        if wrong := [name for name, kind in _IN_A_MANIFEST.items() if not isinstance(manifest[name], kind)]:
            raise ValueError(f"{wrong[0]} is {manifest[wrong[0]]!r}")
    return manifest


def read_tally(folder: Folder, index: int) -> Tally:
    """The counts of a finished shard."""
    name = f"{index:05d}.json"
    with damage_named(folder.join(name), remove=f"it and {folder.join('manifest.json')}"):
        return Tally.from_row(orjson.loads(folder.read(name)))
