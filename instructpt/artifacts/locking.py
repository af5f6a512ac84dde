"""Who may work in an output folder: one run alone, or the partitions of one run together.

    .lock            held whole by a run alone; shared by all partitions, and says of how many and of what they are
    .lock.3-of-64    held by that partition, so that it is not started twice
    <name>/.claim    held by whoever makes an artifact that is made in one piece

The system lets go of a lock when its process ends, however it ends, so there is none to remove by hand. Only local
folders can be locked, on file systems that know locks (network file systems as a rule do; `flock` must be among their
mount options). Elsewhere nobody is refused: do not start two runs, or one partition twice, on one root there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.errors import ArtifactError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_PATIENCE_SECONDS = 2.0
"""The first of many partitions that start together holds the lock alone for a moment."""


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
