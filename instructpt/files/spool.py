"""What can be read only once (standard input, a pipe), copied to a file, since a corpus is read several times."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from instructpt.errors import InputError

_PREFIX = "INSTRUCTPT_COPY_OF_"
"""Environment variables tell worker processes where the main one's copies are."""


def spooled(path: str) -> Path:
    """The copy of a pipe's content, made the first time. Raises InputError for a terminal, and if nothing comes."""
    name = _PREFIX + path
    if name not in os.environ:
        if path == "/dev/stdin" and sys.stdin is not None and sys.stdin.isatty():
            raise InputError("standard input is a terminal: pipe JSON lines into the command, or name files")
        handle, copy = tempfile.mkstemp(prefix="instructpt-", suffix=".jsonl")
        atexit.register(_remove, copy)
        with Path(path).open("rb") as source, os.fdopen(handle, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.environ[name] = copy
    if not Path(os.environ[name]).stat().st_size:
        raise InputError(f"nothing came from {path}: pipe JSON lines into the command, or name files")
    return Path(os.environ[name])


def _remove(copy: str) -> None:
    with suppress(OSError):
        Path(copy).unlink()
