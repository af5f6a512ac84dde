"""What a stage is, and the run that it is made in.

    Read --> Filter --> Split --> Synthesize          each a frozen dataclass: its settings, and its inputs among them
      `-------> Duplicates --^                        `tree` puts them in order, inputs first

A stage knows how its shards come about, a run where things lie. What the stage is, is its fingerprint: its settings,
what it reads from outside, and the fingerprints of its inputs; never where or how it runs. `artifacts` makes them.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

import orjson

from instructpt.artifacts.budget import Budget
from instructpt.artifacts.locking import alone
from instructpt.artifacts.news import Progress, Silent
from instructpt.artifacts.storage import Folder, damage_named, read_shard, refusals_named, write_parquet
from instructpt.artifacts.tally import Tally
from instructpt.errors import ArtifactError, RecipeError
from instructpt.records import Group, Record
from instructpt.seeds import digest

R_co = TypeVar("R_co", covariant=True)
Product = Literal["records", "folder"]
Settings = dict[str, Any]


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
    """This run's place, counted from 0, and how many there are; see `instructpt.partitions`."""
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
    progress: Progress = field(default_factory=Silent)
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


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people: the report sets it as HTML, the command line as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """One cell a column; numbers as text, written for people."""
    notes: tuple[str, ...] = ()
    """Lines below the table."""


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[R_co]):
    """One step of the road. A frozen dataclass: fields are its settings, and those that are stages are its inputs.

    A stage of records overrides `shard`; one that makes files (`product = "folder"`) overrides `build`. A setting that
    comes to a stage later is a `field(default=..., metadata={"later": True})` that changes nothing at its default: it
    is no part of what the stage is then, so that artifacts from before it stay valid. A field for people alone, such as
    why settings are what they are, or of where it is made, such as the address of a judge, is a `field(compare=False,
    metadata={"note": True})`: never part of what a stage is.
    """

    name: str
    """Names its folder under the root; nothing else hangs on it."""

    version: ClassVar[int] = 1
    """Raised by hand when the output changes its meaning: artifacts of the older version are then refused."""
    record: ClassVar[Any] = None
    """The record type of its shards: the one in `Stage[Record]`, None of a stage that says `Stage[Any]`."""
    product: ClassVar[Product] = "records"
    takes: ClassVar[str] = "documents"
    makes: ClassVar[str] = "documents"
    """Units that go in and come out. Where they are the same word, what comes out is counted as kept by itself;
    elsewhere the stage calls `run.tally.keep` for each unit."""
    placement: ClassVar[Literal["workers", "driver", "engine"]] = "workers"
    """"driver": shards run one after another in the main process, which holds the model. "engine": they share the
    engine that `opened` gives, and overlap, so that the last answers of one never leave it idle."""
    is_single: ClassVar[bool] = False
    """Whether it is one shard, whatever its inputs have."""
    is_collective: ClassVar[bool] = False
    """Whether all processes that torchrun started build it together; the first one alone makes every other stage."""
    is_summary: ClassVar[bool] = False
    """Whether it is a cheap table of what its inputs say. When its settings or inputs change, it is made anew under its
    name; every other stage is refused then. So an experiment can grow, and what was paid for is never replaced."""
    may_leave_nothing: ClassVar[bool] = False
    """Whether nothing at all is a result like any other, as where test items are taken out or a model is measured.
    After any other stage that keeps nothing a run ends and says why."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions bear on the output; the manifest names them."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Stage and dataclasses.is_dataclass(kind := get_args(base)[0]):
                cls.record = kind

    def shard_name(self, index: int) -> str:
        """What a finished shard is called in the artifact's folder."""
        return f"{index:05d}.parquet" if self.product == "records" else f"{index:05d}"

    def check(self, run: Run) -> None:
        """Refuse what can be known not to work before any stage is made, such as a model that is not whole.

        Asked of each stage that is still to be made. Raises InputError or RecipeError.
        """

    def num_shards(self, run: Run) -> int:
        """How many shards it has; those of its first input, unless it says otherwise."""
        return 1 if self.is_single else run.num_shards(inputs(self)[0])

    def shard(self, index: int, run: Run) -> Iterator[R_co]:
        """The records of shard `index`: a pure function of settings, inputs and index."""
        raise AssertionError(
            f"{type(self).__name__} makes neither shard {index} under {run.root} nor a build of its own"
        )

    def build(self, index: int, run: Run, path: Path) -> None:
        """Make shard `index` as the file or folder `path` (which may hold what a killed try left)."""
        run.tally.records = write_parquet(path, _counted(self.shard(index, run), run.tally), self.record)

    def join(self, run: Run, path: Path) -> bool:
        """Make the folder `path` from all shards together; False if there is nothing to make.

        What it counts in `run.tally` is added to the shards' counts.
        """
        del run, path
        return False

    def opened(self, run: Run) -> AbstractContextManager[Any]:
        """What all shards share that run in one process, such as an engine; given to them as `run.shared`.

        Not asked for by stages whose placement is "workers".
        """
        del run
        return nullcontext()

    def sources(self, run: Run) -> Mapping[str, str]:
        """What it reads that no stage made: name -> digest of the content. Part of its identity."""
        del run
        return {}

    def outline(self, run: Run) -> Table | None:
        """What it would work on, for `instructpt plan`, or None; makes nothing."""
        del run
        return None


def num_units(record: Record) -> int:
    """How many units a record counts for: a group counts its passages."""
    return len(record.shots) if isinstance(record, Group) else 1


def _counted(records: Iterator[R_co], tally: Tally) -> Iterator[R_co]:
    for record in records:
        tally.made += num_units(record)  # type: ignore[arg-type]
        yield record


# What a stage is


def inputs(stage: Stage[Any]) -> list[Stage[Any]]:
    """The stages among a stage's fields, in the order of the fields, also inside tuples and settings."""
    found: list[Stage[Any]] = []

    def walk(value: object) -> None:
        if isinstance(value, Stage):
            found.append(value)
        elif isinstance(value, tuple):
            for item in value:
                walk(item)
        elif dataclasses.is_dataclass(value):
            for f in dataclasses.fields(value):
                walk(getattr(value, f.name))

    for f in dataclasses.fields(stage):
        walk(getattr(stage, f.name))
    return found


def tree(target: Stage[Any]) -> list[Stage[Any]]:
    """Every stage that `target` needs, inputs first, `target` last, each once.

    Raises RecipeError if two different stages bear one name.
    """
    ordered: dict[str, Stage[Any]] = {}

    def visit(stage: Stage[Any]) -> None:
        if stage.name in ordered:
            if ordered[stage.name] != stage:
                raise RecipeError(f"two different stages are called {stage.name!r}: give each its own name")
            return
        for item in inputs(stage):
            visit(item)
        if ordered.setdefault(stage.name, stage) != stage:
            raise RecipeError(f"two different stages are called {stage.name!r}: give each its own name")

    visit(target)
    return list(ordered.values())


def describe(stage: Stage[Any], run: Run) -> Settings:
    """What a stage is, as JSON: its settings, its inputs by name and fingerprint, what it reads from outside."""

    def plain(value: Any) -> Any:
        if isinstance(value, Stage):
            return {"artifact": value.name, "fingerprint": fingerprint(value, run)}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in sorted(value.items())}
        if dataclasses.is_dataclass(value):
            return settings(value)
        assert value is None or isinstance(value, str | int | float | bool), f"{value!r} cannot be a setting"
        return value

    def settings(value: Any) -> Settings:
        return {
            f.name: plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata.get("later") and getattr(value, f.name) == f.default) and not f.metadata.get("note")
        }

    own = settings(stage)
    del own["name"]
    return {
        "stage": type(stage).__name__,
        "version": stage.version,
        "settings": own,
        "sources": dict(sorted(stage.sources(run).items())),
    }


def fingerprint(stage: Stage[Any], run: Run) -> str:
    """32 hex digits of what a stage is, its inputs included, its name not."""
    if stage not in run.fingerprints:
        description = orjson.dumps(describe(stage, run), option=orjson.OPT_SORT_KEYS)
        run.fingerprints[stage] = digest(description.decode())[:16].hex()
    return run.fingerprints[stage]


def changes(old: Any, new: Any, path: str = "") -> list[str]:
    """The places where two descriptions differ, one line each: "settings.seed: 1 -> 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys for line in changes(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if old == new:
        return []
    return [f"{path}: {orjson.dumps(old).decode()} -> {orjson.dumps(new).decode()}"]


# What lies in an artifact's folder


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
