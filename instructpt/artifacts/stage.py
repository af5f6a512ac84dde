"""What a stage does, and the tree that stages make.

    Read --> Filter --> Split --> Synthesize          each a frozen dataclass: its settings, and its inputs among them
      `-------> Duplicates --^                        `tree` puts them in order, inputs first

A stage knows how its shards come about, a run (`run`) where things lie; `executors` make them. What the stage is, is
its fingerprint: its settings, what it reads from outside, and what its inputs are; never where or how it runs. By that
its artifact is told from one that was made with other settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

import orjson

from instructpt.artifacts.storage import damage_named, write_parquet
from instructpt.artifacts.tally import Tally
from instructpt.errors import RecipeError
from instructpt.records import Document, Group, Item, Match, Record, Score, Text
from instructpt.seeds import digest

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run

R_co = TypeVar("R_co", covariant=True)
Product = Literal["records", "folder"]
UNITS: dict[Any, str] = {
    Document: "documents",
    Group: "passages",
    Text: "texts",
    Item: "items",
    Score: "scores",
    Match: "matches",
}
"""What people count of a record: of a group its passages."""


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
    """Units that go in and come out: by default those of the record. Where they are the same word, what comes out is
    counted as kept by itself; elsewhere the stage calls `run.tally.keep` for each unit."""
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
                for name in {"takes", "makes"}.difference(cls.__dict__):
                    setattr(cls, name, UNITS.get(kind, "records"))

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
        return False

    def opened(self, run: Run) -> AbstractContextManager[Any]:
        """What all shards share that run in one process, such as an engine; given to them as `run.shared`.

        Not asked for by stages whose placement is "workers".
        """
        return nullcontext()

    def sources(self, run: Run) -> Mapping[str, str]:
        """What it reads that no stage made: name -> digest of the content. Part of its identity."""
        return {}

    def outline(self, run: Run) -> Table | None:
        """What it would work on, for `instructpt plan`, or None; makes nothing."""
        return None


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


def num_units(record: Record) -> int:
    """How many units a record counts for: a group counts its passages."""
    return len(record.shots) if isinstance(record, Group) else 1


def _counted(records: Iterator[R_co], tally: Tally) -> Iterator[R_co]:
    for record in records:
        tally.made += num_units(record)  # type: ignore[arg-type]
        yield record


Settings = dict[str, Any]
UNUSED = ".unused"
"""A file in the folder of an artifact that a run made and came to nothing with."""


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


def is_finished(stage: Stage[Any], run: Run) -> bool:
    """Whether the artifact is complete."""
    return run.folder(stage).exists("manifest.json")


def may_be_replaced(stage: Stage[Any], run: Run) -> bool:
    """Whether other settings make the artifact anew under its name: a summary, or one that nothing came of."""
    return stage.is_summary or run.folder(stage).exists(UNUSED)


def differences(stage: Stage[Any], run: Run) -> list[str]:
    """Where the stage is not what its folder was begun with, one line each; none if nothing is begun."""
    folder = run.folder(stage)
    if not folder.exists("recipe.json"):
        return []
    with damage_named(folder.join("recipe.json"), remove=folder.path):
        begun = orjson.loads(folder.read("recipe.json"))
    return changes(begun, orjson.loads(orjson.dumps(describe(stage, run))))
