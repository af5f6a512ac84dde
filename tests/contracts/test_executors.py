"""What every executor promises: each shard is built once, the bytes are the same, and errors are what they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_stages import Asked, Calm, Count, Odd, Refuse

from instructpt.artifacts import Run, Stage
from instructpt.errors import InputError, RecipeError
from instructpt.executors import CHOICES, EXECUTORS, check_choice, executor_of, open_executor
from instructpt.executors.make import build_shard, make

COUNT = Count(name="count", numbers=21)
FOR_WORKERS, FOR_AN_ENGINE = Odd(name="odd", documents=COUNT), Asked(name="asked", documents=COUNT)


@pytest.fixture(scope="module", params=sorted(EXECUTORS))
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """An executor that can run here."""
    if request.param != "ray":
        yield request.param
        return
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)
        yield request.param
        ray.shutdown()


def begun(stage: Stage[object], root: Path, *, executor: str = "local") -> Run:
    """A run in which all is there that the stage's shards need."""
    run = Run(root=str(root), scratch=str(root / "scratch"), workers=2, executor=executor, shared=Calm())
    make(COUNT, replace(run, executor="local", workers=1))
    run.folder(stage).write("recipe.json", b"{}")
    return run


def test_every_shard_is_built_once_and_has_the_same_bytes(tmp_path: Path, name: str) -> None:
    for stage in (FOR_WORKERS, FOR_AN_ENGINE):
        if name == "local" and stage is FOR_AN_ENGINE:
            assert executor_of(stage.placement, wanted=name) == "engine"  # an engine is not sent to other processes
        else:
            check_shards(stage, tmp_path, name)


def check_shards(stage: Stage[object], tmp_path: Path, name: str) -> None:
    run = begun(stage, tmp_path, executor=name)
    built = list(open_executor(name)(build_shard, stage, range(1, 6), run))
    assert sorted(index for index, _ in built) == [1, 2, 3, 4, 5]
    assert all(seconds > 0 for _, seconds in built)
    here = begun(stage, tmp_path / "here")
    for index in range(1, 6):
        build_shard(stage, index, here)
    names = [f"{index:05d}.{kind}" for index in range(1, 6) for kind in ("json", "parquet")]
    assert [file for file in run.folder(stage).names() if file != "recipe.json"] == names
    assert [run.folder(stage).read(file) for file in names] == [here.folder(stage).read(file) for file in names]


def test_an_error_that_is_raised_on_purpose_arrives_as_it_was(tmp_path: Path, name: str) -> None:
    stage = Refuse(name="refuse", documents=COUNT, refused=3)
    run = begun(stage, tmp_path, executor=name)
    with pytest.raises(InputError, match=r"^shard 3 is refused: give another one$") as error:
        list(open_executor(name)(build_shard, stage, range(6), run))
    assert type(error.value) is InputError


def test_only_executors_for_users_can_be_chosen() -> None:
    assert set(CHOICES) <= set(EXECUTORS)
    for name in CHOICES:
        check_choice(name)
    with pytest.raises(RecipeError, match="choose one of local, ray"):
        check_choice("engine")
    with pytest.raises(RecipeError, match="no executor is called 'slurm'"):
        make(COUNT, Run(root="unused", executor="slurm"))
