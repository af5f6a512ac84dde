"""One run at a time in an output folder: a second one started on it is refused, not mixed in."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructpt.errors import ArtifactError
from instructpt.storage import Folder, refusals_named


@contextmanager
def locked(root: Folder) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends.

    Only local folders can be locked; elsewhere the caller must not start two runs on one root.
    Raises ArtifactError if another run holds it.
    """
    if not root.is_local:
        yield
        return
    path = Path(root.path) / ".lock"
    with refusals_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"another run works in {root.path}: wait for it, or give another output folder"
            ) from error
        yield
    finally:
        os.close(handle)
