"""The only framework: a stage, what it is, and how it is run once.

    <root>/<name>/recipe.json       written first: what this folder is (settings, inputs' fingerprints, stage version)
                  00000.open/       a shard being worked on: its unfinished files, its ledger; gone when it is sealed
                  00000.parquet     a shard of records: appears whole or not at all (a folder 00000/ for other products)
                  00000.json        its seal: the tally, written after the shard is in place
                  joined/           what is made from all shards together, where a stage does that
                  manifest.json     written last: the sum of the tallies, fingerprint, versions of what made it
                  timing.jsonl      seconds a shard took; apart from the rest, which is the same bytes every time

Run twice, the second does nothing. Killed at any moment, sealed shards stay and the open one goes on from its folder.
Other settings under the same name are refused, naming the fields that changed. Everything that went in must have come
out or be counted under a reason: a shard whose tally does not add up is not sealed.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import orjson

from instructpt.errors import ArtifactError, RecipeError
from instructpt.executors import open_executor
from instructpt.locking import locked
from instructpt.progress import Progress, Silent
from instructpt.records import Group, Record
from instructpt.seeds import digest
from instructpt.storage import Folder, read_parquet, refusals_named, write_parquet
from instructpt.tally import Tally

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
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    engine: str = "transformers"
    """Which engine answers prompts; see `instructpt.engines.ENGINES`."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    chains_in_flight: int = 128
    """Chains of passages under way at once; at least twice what the engine answers at once."""
    scratch: str = "~/.cache/instructpt"
    """Local folder for open shards and copies of remote ones; used only where the root is not a local folder."""
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

    def workspace(self, stage: Stage[Any], index: int) -> Path:
        """A local folder for the open shard `index`: kept from one try to the next, gone once the shard is sealed."""
        folder = self.folder(stage)
        if folder.is_local:
            path = Path(folder.join(f"{index:05d}.open"))
        else:
            path = Path(self.scratch).expanduser() / fingerprint(stage, self)[:16] / f"{index:05d}.open"
        with refusals_named(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def manifest(self, stage: Stage[Any]) -> dict[str, Any]:
        """The manifest of a finished artifact. Raises ArtifactError if it is not finished."""
        return read_manifest(self.folder(stage))

    def num_shards(self, stage: Stage[Any]) -> int:
        """How many shards a finished artifact has."""
        return int(self.manifest(stage)["num_shards"])

    def num_made(self, stage: Stage[Any], index: int) -> int:
        """How many units a finished shard holds."""
        return _tally(self.folder(stage), index).made

    def take(self, stage: Stage[R_co], index: int) -> Iterator[R_co]:
        """The records of an input's shard, counted as taken."""
        for record in self.records(stage, index):
            self.tally.take(num_units(record))  # type: ignore[arg-type]
            yield record

    def records(self, stage: Stage[R_co], index: int) -> Iterator[R_co]:
        """The records of a finished shard, streamed, not counted."""
        folder = self.folder(stage)
        with folder.fs.open(folder.join(f"{index:05d}.parquet"), "rb") as file:
            yield from read_parquet(file, stage.record)

    def product(self, stage: Stage[Any], name: str) -> Path:
        """A finished product (`"00000"`, `"joined"`) as a local path; a remote one is copied to scratch once."""
        folder = self.folder(stage)
        if folder.is_local:
            return Path(folder.join(name))
        copy = Path(self.scratch).expanduser() / fingerprint(stage, self)[:16] / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            unfinished = copy.with_name(f".{name}.copying")
            folder.fs.get(folder.join(name), str(unfinished), recursive=True)
            unfinished.replace(copy)
        return copy


@dataclass(frozen=True, slots=True)
class Outline:
    """A table that tells people what a stage would work on."""

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
    is no part of what the stage is then, so that artifacts from before it stay valid.
    """

    name: str
    """Names its folder under the root; nothing else hangs on it."""

    version: ClassVar[int] = 1
    """Raised by hand when the output changes its meaning: artifacts of the older version are then refused."""
    record: ClassVar[Any] = None
    """The record type of its shards."""
    product: ClassVar[Product] = "records"
    takes: ClassVar[str] = "documents"
    makes: ClassVar[str] = "documents"
    """Units that go in and come out. Where they are the same word, what comes out is counted as kept by itself;
    elsewhere the stage calls `run.tally.keep` for each unit."""
    placement: ClassVar[Literal["workers", "driver"]] = "workers"
    """"driver": shards run one after another in the main process, which holds the model."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions bear on the output; the manifest names them."""

    def num_shards(self, run: Run) -> int:
        """How many shards it has; those of its first input, unless it says otherwise."""
        return run.num_shards(inputs(self)[0])

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
        """What all shards that run in the driver share, such as an engine; given to them as `run.shared`."""
        del run
        return nullcontext()

    def sources(self, run: Run) -> Mapping[str, str]:
        """What it reads that no stage made: name -> digest of the content. Part of its identity."""
        del run
        return {}

    def outline(self, run: Run) -> Outline | None:
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
            if not (f.metadata.get("later") and getattr(value, f.name) == f.default)
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


# Running it


def is_finished(stage: Stage[Any], run: Run) -> bool:
    """Whether the artifact is complete."""
    return run.folder(stage).exists("manifest.json")


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The manifest in an artifact's folder. Raises ArtifactError if there is none."""
    if not folder.exists("manifest.json"):
        raise ArtifactError(f"{folder.path} holds no finished artifact: run its recipe to the end first")
    manifest: dict[str, Any] = orjson.loads(folder.read("manifest.json"))
    return manifest


def make(target: Stage[Any], run: Run) -> int:
    """Bring `target` and all it needs into being; how many artifacts were not there yet.

    Raises ArtifactError, before any work, if a folder holds something else.
    """
    stages, num_made = tree(target), 0
    with locked(Folder.at(run.root)):
        for stage in stages:
            _refuse_changes(stage, run)
        run.progress.plan([stage.name for stage in stages])
        for stage in stages:
            if is_finished(stage, run):
                run.progress.found(stage.name, Tally.from_row(run.manifest(stage)["tally"]))
            else:
                _make_one(stage, run)
                num_made += 1
    return num_made


def differences(stage: Stage[Any], run: Run) -> list[str]:
    """Where the stage is not what its folder was begun with, one line each; none if nothing is begun."""
    folder = run.folder(stage)
    if not folder.exists("recipe.json"):
        return []
    return changes(orjson.loads(folder.read("recipe.json")), orjson.loads(orjson.dumps(describe(stage, run))))


def _refuse_changes(stage: Stage[Any], run: Run) -> None:
    folder = run.folder(stage)
    if lines := differences(stage, run):
        raise ArtifactError(
            f"{folder.path} was made with other settings ({'; '.join(lines[:5])}): "
            "use another output folder or name, or remove this one"
        )
    if folder.exists("recipe.json"):
        return
    if stray := [name for name in folder.names() if not name.startswith(".")]:
        raise ArtifactError(f"{folder.path} holds {stray[0]} but no recipe.json: give a folder that is empty or new")


def _make_one(stage: Stage[Any], run: Run) -> None:
    folder = run.folder(stage)
    if not folder.exists("recipe.json"):
        folder.write("recipe.json", orjson.dumps(describe(stage, run), option=orjson.OPT_INDENT_2))
    num_shards, names = stage.num_shards(run), set(folder.names())
    missing = [i for i in range(num_shards) if f"{i:05d}.json" not in names]
    run.progress.started(stage.name, num_shards, num_shards - len(missing))
    if missing:
        place = "driver" if stage.placement == "driver" else run.executor
        with stage.opened(run) if stage.placement == "driver" else nullcontext() as shared:
            shard_run = dataclasses.replace(run, shared=shared)
            for index, seconds in open_executor(place)(build_shard, stage, missing, shard_run):
                _append_timing(folder, index, seconds)
                run.progress.sealed(stage.name, _tally(folder, index))
    started = time.monotonic()
    path, total = run.workspace(stage, num_shards) / "joined", Tally()
    if stage.join(dataclasses.replace(run, tally=total), path):
        folder.publish(path, "joined")
        _append_timing(folder, num_shards, time.monotonic() - started)
    shutil.rmtree(path.parent)
    for index in range(num_shards):
        total.add(_tally(folder, index))
    manifest = _manifest(stage, run, num_shards, total)
    folder.write("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    run.progress.finished(stage.name, Tally.from_row(manifest["tally"]))


def build_shard(stage: Stage[Any], index: int, run: Run) -> float:
    """Build and seal one shard, in whichever process it runs; the seconds it took."""
    started = time.monotonic()
    run = dataclasses.replace(run, tally=Tally())
    folder, workspace = run.folder(stage), run.workspace(stage, index)
    name = f"{index:05d}.parquet" if stage.product == "records" else f"{index:05d}"
    with refusals_named(workspace):
        stage.build(index, run, workspace / name)
    tally = run.tally
    if stage.takes == stage.makes:
        tally.kept = tally.made
    assert tally.adds_up(), f"{stage.name} shard {index}: {tally} does not add up"
    folder.publish(workspace / name, name)
    folder.write(f"{index:05d}.json", orjson.dumps(tally.to_row(), option=orjson.OPT_SORT_KEYS))
    shutil.rmtree(workspace)
    return time.monotonic() - started


def _tally(folder: Folder, index: int) -> Tally:
    return Tally.from_row(orjson.loads(folder.read(f"{index:05d}.json")))


def _manifest(stage: Stage[Any], run: Run, num_shards: int, total: Tally) -> dict[str, Any]:
    packages = ("instructpt", *stage.packages)
    return {
        "name": stage.name,
        "stage": type(stage).__name__,
        "version": stage.version,
        "record": stage.record.__name__ if stage.record else None,
        "fingerprint": fingerprint(stage, run),
        "num_shards": num_shards,
        "takes": stage.takes,
        "makes": stage.makes,
        "inputs": {item.name: fingerprint(item, run) for item in inputs(stage)},
        "tally": total.to_row(),
        "made_by": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def _append_timing(folder: Folder, index: int, seconds: float) -> None:
    line = orjson.dumps({"shard": index, "seconds": round(seconds, 3)}) + b"\n"
    with refusals_named(folder.path):
        earlier = folder.read("timing.jsonl") if not folder.is_local and folder.exists("timing.jsonl") else b""
        with folder.fs.open(folder.join("timing.jsonl"), "ab" if folder.is_local else "wb") as file:
            file.write(earlier + line)
