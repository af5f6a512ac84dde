"""Make the artifacts of a tree of stages, each once: the one place that runs stages.

What an artifact is, and what holds of it, `artifacts` says.
"""

from __future__ import annotations

import dataclasses
import platform
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any

import orjson

from instructpt import devices
from instructpt.artifacts.locking import claimed, drop_claim, locked, locked_together, own_shards, pauses
from instructpt.artifacts.losses import nothing_left
from instructpt.artifacts.run import Run, read_tally
from instructpt.artifacts.stage import (
    UNUSED,
    Stage,
    describe,
    differences,
    fingerprint,
    inputs,
    is_finished,
    may_be_replaced,
    tree,
)
from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.artifacts.tally import Progress, Tally
from instructpt.errors import ArtifactError, NothingMadeError, UserError
from instructpt.executors import check_choice, executor_of, is_in_this_process, open_executor


def make(target: Stage[Any], run: Run) -> int:
    """Bring `target` and all it needs into being; how many artifacts were not there yet.

    A partition makes its share, and waits for what it needs of others'. It does not wait for their share of `target`:
    `is_finished` is not yet true then, and `still_missing` says what is left to them.
    Under torchrun the first process makes it all; the others join it in collective stages, and wait for the rest.
    Raises ArtifactError, before any work, if a folder holds something else or another run works in it; then what the
    stages refuse themselves (`Stage.check`); NothingMadeError where a stage has nothing left, and then what this call
    made may be replaced.
    """
    check_choice(run.executor)
    if devices.rank() > 0:
        return _follow(target, run)
    stages, made = tree(target), list[Stage[Any]]()
    with _lock(target, run):
        if not run.is_partition:
            Folder.at(run.root).clean()
        for stage in stages:
            _refuse_changes(stage, run)
        for stage in stages:
            if not is_finished(stage, run):
                stage.check(run)
        run.progress.plan([stage.name for stage in stages])
        for stage in stages:
            _clear_outdated(stage, run)
            if is_finished(stage, run):
                run.progress.found(stage.name, Tally.from_row(run.manifest(stage)["tally"]))
            else:
                try:
                    _make_one(stage, run, is_last=stage is stages[-1])
                except UserError as error:
                    is_kept = _holds_work(stage, run) and not isinstance(error, NothingMadeError)
                    _set_free([*made, *([] if is_kept else [stage])], run)
                    raise
                made.append(stage)
            if is_finished(stage, run) and (loss := nothing_left(stage, _tally(stage, run))):
                _set_free([*made, stage], run)
                raise NothingMadeError(
                    f"nothing is left after {loss.words(with_samples=True)}: mend the input or the settings, "
                    "the same output folder will do"
                )
        _keep(stages, run)
    return len(made)


def _tally(stage: Stage[Any], run: Run) -> Tally:
    return Tally.from_row(run.manifest(stage)["tally"])


def _set_free(stages: Iterable[Stage[Any]], run: Run) -> None:
    """Mark what came to nothing: other settings may replace it, and it refuses no later run."""
    for stage in stages:
        if run.folder(stage).exists("recipe.json"):
            run.folder(stage).write(UNUSED, b"")


def _holds_work(stage: Stage[Any], run: Run) -> bool:
    """Whether a shard is sealed, or open with answers of a model in its ledger, so that nothing may replace it."""
    names = [name for name in run.folder(stage).names() if name[:5].isdigit()]
    return any(stage.placement == "engine" or not name.endswith(".open") for name in names)


def _keep(stages: Iterable[Stage[Any]], run: Run) -> None:
    """Take the marks away: something came of it."""
    for stage in stages:
        folder = run.folder(stage)
        if folder.exists(UNUSED):
            folder.fs.rm(folder.join(UNUSED))


def _follow(target: Stage[Any], run: Run) -> int:
    """What torchrun's other processes do; the first one writes everything, into a folder that all see."""
    num_joined = 0
    for stage in tree(target):
        has_joined, looks = False, pauses()
        while not is_finished(stage, run):
            if stage.is_collective and not has_joined and _is_under_way(stage, run):
                has_joined, looks = True, pauses()
                num_joined += 1
                own = dataclasses.replace(run, tally=Tally(), progress=Progress())
                stage.build(0, own, run.workspace(stage, 0) / stage.shard_name(0))
            else:
                time.sleep(next(looks))
    return num_joined


def _is_under_way(stage: Stage[Any], run: Run) -> bool:
    """Whether the first process builds a collective stage now, or will: whoever joins it otherwise waits for ever.

    It does not where the shard is sealed and only the manifest is missing, nor where it refuses what the folder holds.
    """
    is_begun = run.folder(stage).exists("recipe.json") and all(is_finished(item, run) for item in inputs(stage))
    return is_begun and bool(_missing(stage, run, [0])) and not differences(stage, run)


def still_missing(target: Stage[Any], run: Run) -> str:
    """What is left to others: "41 of 64 shards of groups are there; the rest belongs to other partitions"."""
    num_shards = target.num_shards(run)
    num_there = num_shards - len(_missing(target, run, range(num_shards)))
    rest = "the rest belongs to other partitions" if num_there < num_shards else "another partition ends the work"
    return f"{num_there} of {num_shards} shards of {target.name} are there; {rest}"


def _lock(target: Stage[Any], run: Run) -> AbstractContextManager[None]:
    root = Folder.at(run.root)
    if not run.is_partition:
        return locked(root)
    return locked_together(root, partition=run.partition, purpose=f"{target.name} {fingerprint(target, run)}")


def _clear_outdated(stage: Stage[Any], run: Run) -> None:
    """Remove what may be replaced if it was made with other settings or inputs, or came to nothing.

    A kill in between leaves one that is still known as outdated.
    """
    if not _is_outdated(stage, run):
        return
    folder = run.folder(stage)
    with claimed(folder, otherwise=run.partition[0] == 0) as is_ours:
        if is_ours and _is_outdated(stage, run):
            last = ("recipe.json", UNUSED)
            names = [name for name in folder.names() if name not in ("manifest.json", ".claim", *last)]
            for name in ("manifest.json", *names, *last):
                if folder.exists(name):
                    folder.fs.rm(folder.join(name), recursive=True)


def _is_outdated(stage: Stage[Any], run: Run) -> bool:
    if not may_be_replaced(stage, run):
        return False
    if differences(stage, run):
        return True
    # Of partitions one may still be about to say that nothing is left.
    return not run.is_partition and is_finished(stage, run) and nothing_left(stage, _tally(stage, run)) is not None


def _refuse_changes(stage: Stage[Any], run: Run) -> None:
    folder, lines = run.folder(stage), differences(stage, run)
    if lines and may_be_replaced(stage, run):
        return
    if lines:
        raise ArtifactError(
            f"{folder.path} was made with other settings ({'; '.join(lines[:5])}): "
            "use another output folder or name, or remove this one"
        )
    names = folder.names()
    if "manifest.json" in names:
        shards = range(run.num_shards(stage))
        wanted = [name for index in shards for name in (f"{index:05d}.json", stage.shard_name(index))]
        if gone := sorted(set(wanted).difference(names)):
            raise ArtifactError(
                f"{folder.join(gone[0])}, of a finished artifact, is gone: put it back, or remove "
                f"{folder.join('manifest.json')} and run again, what is missing is made anew"
            )
    stray = [name for name in names if not name.startswith(".")]
    if stray and not folder.exists("recipe.json"):  # asked last: another partition may just have begun here
        raise ArtifactError(f"{folder.path} holds {stray[0]} but no recipe.json: give a folder that is empty or new")


def _make_one(stage: Stage[Any], run: Run, *, is_last: bool) -> None:
    """Make an artifact; of a partition, its shards, and the rest where no other partition is at it.

    What is made in one piece, and the end of every artifact, is made by the one that claims it. Others wait until that
    is done or the claim is free again, its owner being dead; nobody waits for the last artifact.
    """
    folder = run.folder(stage)
    if not folder.exists("recipe.json"):
        folder.write("recipe.json", orjson.dumps(describe(stage, run), option=orjson.OPT_INDENT_2))
    if not run.is_partition:
        folder.clean({"recipe"})
    num_shards = stage.num_shards(run)
    in_one_piece = not run.is_partition or stage.placement == "driver" or num_shards == 1
    ours = range(num_shards) if in_one_piece else own_shards(num_shards, run.partition)
    sealed = set(ours).difference(_missing(stage, run, ours))
    for index in sealed:
        run.drop_workspace(stage, index)
    run.progress.started(stage.name, len(ours), len(sealed))
    if not in_one_piece:
        folder.clean({f"{index:05d}" for index in ours})
        _build_shards(stage, _missing(stage, run, ours), run)
    for seconds in pauses():
        missing = _missing(stage, run, range(num_shards))
        if not is_finished(stage, run) and (in_one_piece or not missing):
            with claimed(folder, otherwise=not missing or run.partition[0] == 0) as is_ours:
                if is_ours and not is_finished(stage, run):
                    folder.clean()
                    _build_shards(stage, missing, run)
                    _finish(stage, run, num_shards)
        if is_finished(stage, run):
            run.progress.finished(stage.name, Tally.from_row(run.manifest(stage)["tally"]))
            return
        if is_last:
            return
        awaited = f"{len(missing)} of {num_shards} shards of {stage.name}, of other partitions"
        run.progress.news(stage.name, {"waiting for": awaited if missing else f"the end of {stage.name}, by another"})
        time.sleep(seconds)
        folder.refresh()


def _missing(stage: Stage[Any], run: Run, indices: Iterable[int]) -> list[int]:
    """The shards that are not sealed, or that somebody deleted."""
    names = set(run.folder(stage).names())
    return [index for index in indices if not {f"{index:05d}.json", stage.shard_name(index)} <= names]


def _build_shards(stage: Stage[Any], indices: list[int], run: Run) -> None:
    if not indices:
        return
    folder, executor = run.folder(stage), executor_of(stage.placement, wanted=run.executor)
    fingerprint(stage, run)  # known from here on, so that no worker digests the corpus again
    is_opened_here = stage.placement != "workers" and is_in_this_process(executor)
    with stage.opened(run) if is_opened_here else nullcontext() as shared:
        shard_run = dataclasses.replace(run, shared=shared)
        for index, seconds in open_executor(executor)(build_shard, stage, indices, shard_run):
            _append_timing(folder, run, index, seconds)
            run.progress.sealed(stage.name, read_tally(folder, index))


def _finish(stage: Stage[Any], run: Run, num_shards: int) -> None:
    """Join the shards and write the manifest."""
    folder, started = run.folder(stage), time.monotonic()
    path, total = run.workspace(stage, num_shards) / "joined", Tally()
    if stage.join(dataclasses.replace(run, tally=total), path):
        folder.publish(path, "joined")
        _append_timing(folder, run, num_shards, time.monotonic() - started)
    shutil.rmtree(path.parent)
    for index in range(num_shards):
        total.add(read_tally(folder, index))
    folder.clean()  # of a worker that died while others went on, and whose shard one of them built
    manifest = _manifest(stage, run, num_shards, total)
    folder.write("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    drop_claim(folder)


def build_shard(stage: Stage[Any], index: int, run: Run) -> float:
    """Build and seal one shard, in whichever process it runs; the seconds it took."""
    started = time.monotonic()
    run = dataclasses.replace(run, tally=Tally())
    folder, workspace = run.folder(stage), run.workspace(stage, index)
    name = stage.shard_name(index)
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


def _append_timing(folder: Folder, run: Run, index: int, seconds: float) -> None:
    # A file a partition: what two machines append to one file of a network file system may end up mixed.
    name = f"timing.{run.partition[0] + 1}-of-{run.partition[1]}.jsonl" if run.is_partition else "timing.jsonl"
    line = orjson.dumps({"shard": index, "seconds": round(seconds, 3)}) + b"\n"
    with refusals_named(folder.path):
        earlier = folder.read(name) if not folder.is_local and folder.exists(name) else b""
        with folder.fs.open(folder.join(name), "ab" if folder.is_local else "wb") as file:
            file.write(earlier + line)
