"""Who may work in an output folder: one run alone, or the partitions of one run together.

    .lock            held whole by a run alone; shared by all partitions, and says of how many and of what they are
    .lock.3-of-64    held by that partition, so that it is not started twice
    <name>/.claim    held by whoever makes an artifact that is made in one piece

The system lets go of a lock when its process ends, however it ends, so there is none to remove by hand. Only local
folders can be locked, on file systems that know locks (network file systems as a rule do; `flock` must be among their
mount options). Elsewhere nobody is refused: do not start two runs, or one partition twice, on one root there.

Partitions are one recipe on many machines, with one output folder and nobody in charge:

    machine 1   --partition 1/3    passages 0 3 6 ------> groups 0 3 6 ----------> texts 0 3 6    exit 0
    machine 2   --partition 2/3    passages 1 4 7 -> ...  groups 1 4 7 -> joins -> texts 1 4 7    exit 0
    machine 3   --partition 3/3    passages 2 5 ---> ...  groups 2 5 ---> ...----> texts 2 5      exit 0, all is there

Partition k of n builds the shards whose index is k - 1 modulo n, of every stage that has several. What is made in one
piece (a model, what is joined from all shards) is made by whichever partition comes first, once. A partition that needs
what others have not finished waits for it (...), looking every few seconds; only the end of the last stage is not
waited for. They may be started in any order and killed at any moment; started again they go on, and a plain run over
the same folder finishes whatever is missing. What comes out is the same bytes as without partitions.

The open shard of a partition lies in `Run.scratch` on the machine's own disk and not in the output folder, since a
ledger cannot be kept on a network file system. So a partition that is killed goes on from its ledger on the machine
where it ran; elsewhere it asks the open shard's questions again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.errors import ArtifactError, RecipeError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_PATIENCE_SECONDS = 2.0
"""The first of many partitions that start together holds the lock alone for a moment."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
"""Between two looks at what others have done: a file listing, of many machines at one file system."""


def parse_partition(text: str) -> tuple[int, int]:
    """ "3/64" as (2, 64): the place, counted from 0, and how many there are. Raises RecipeError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not 1 <= (place := int(found[1])) <= (count := int(found[2])):
        raise RecipeError(f"the partition is {text!r}: give a number and how many there are, from 1/64 to 64/64")
    return place - 1, count


def own_shards(num_shards: int, partition: tuple[int, int]) -> range:
    """The shards of a partition, (place counted from 0, count)."""
    index, count = partition
    return range(index, num_shards, count)


def pauses() -> Iterator[float]:
    """Seconds to wait between one look and the next, without end: soon at first, then every few seconds."""
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _LONGEST_PAUSE_SECONDS)


@contextmanager
def locked(root: Folder) -> Iterator[None]:
    """Hold the folder alone. Raises ArtifactError if another run, or a partition of one, works in it."""
    with _opened(root, ".lock") as handle:
        if not _taken(handle, fcntl.LOCK_EX):
            raise ArtifactError(f"another run works in {root.path}: wait for it, or give another output folder")
        if handle is not None:
            for path in Path(root.path).glob(".lock.*-of-*"):
                path.unlink()  # of partitions that are gone: they would hold the folder's lock too
        yield


@contextmanager
def locked_together(root: Folder, *, partition: tuple[int, int], purpose: str) -> Iterator[None]:
    """Hold the folder as one of several partitions, (index, count), that all are at `purpose`.

    Raises ArtifactError if a run without partitions works in it, the same partition, or those of another purpose or
    count.
    """
    index, count = partition
    with ExitStack() as stack:
        handle = stack.enter_context(_opened(root, ".lock"))
        if handle is not None:
            _share(handle, root, said=f"{count} partitions: {purpose}\n".encode())
        if not _taken(stack.enter_context(_opened(root, f".lock.{index + 1}-of-{count}")), fcntl.LOCK_EX):
            raise ArtifactError(
                f"partition {index + 1}/{count} already works in {root.path}: give each its own number, or wait for it"
            )
        yield


@contextmanager
def claimed(folder: Folder, *, otherwise: bool) -> Iterator[bool]:
    """Whether this process is the one that works in an artifact's folder; it stays so inside the `with`.

    otherwise: the answer where there are no locks.
    """
    with _opened(folder, ".claim") as handle:
        yield otherwise if handle is None else _taken(handle, fcntl.LOCK_EX)


def drop_claim(folder: Folder) -> None:
    """Remove the file of a claim, from inside it, once there is nothing left to claim."""
    if folder.is_local:
        Path(folder.join(".claim")).unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a local folder, which is made if need be; wait for whoever holds it."""
    with _opened(Folder.at(str(path)), ".lock") as handle:
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[int | None]:
    """A lock's file; None where there are no locks."""
    if not folder.is_local:
        yield None
        return
    path = Path(folder.join(name))
    with refusals_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield handle if _has_locks(handle) else None
    finally:
        os.close(handle)


def _has_locks(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _taken(handle: int | None, kind: int) -> bool:
    """Take the lock, or turn it into this kind, if nobody is in the way now."""
    if handle is None:
        return True
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _share(handle: int, root: Folder, *, said: bytes) -> None:
    """Hold the lock together with others that say the same in its file.

    Who is alone at first says it anew. Turning a lock into a shared one lets go of it in between, so what the file says
    is looked at only afterwards, when nobody can change it any more.
    """
    if _taken(handle, fcntl.LOCK_EX):
        os.ftruncate(handle, 0)
        os.pwrite(handle, said, 0)
        os.fsync(handle)
    started = time.monotonic()
    while not _taken(handle, fcntl.LOCK_SH):
        if time.monotonic() - started > _PATIENCE_SECONDS:
            raise ArtifactError(
                f"another run, without --partition, works in {root.path}: wait for it, or give another output folder"
            )
        time.sleep(0.05)
    if (others := os.pread(handle, 10_000, 0)) != said:
        raise ArtifactError(
            f"partitions of something else work in {root.path} ({others.decode().strip()}; this one is of "
            f"{said.decode().strip()}): start all alike, or give another output folder"
        )
