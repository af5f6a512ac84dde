"""What a stage does, and the tree that stages make.

    Read --> Filter --> Split --> Synthesize          each a frozen dataclass: its settings, and its inputs among them
      `-------> Duplicates --^                        `tree` puts them in order, inputs first

A stage knows how its shards come about, a run (`run`) where things lie. What the stage is, is its fingerprint
(`identity`). `artifacts` makes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from instructpt.artifacts.storage import write_parquet
from instructpt.artifacts.tally import Tally
from instructpt.errors import RecipeError
from instructpt.records import Group, Record

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run

R_co = TypeVar("R_co", covariant=True)
Product = Literal["records", "folder"]


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
