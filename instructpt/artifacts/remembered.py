"""Digests of input files, remembered in the run's folder: a restart, or another partition, need not read them again.

    <root>/.inputs.json      {"data/a.jsonl": ["1024 1732700000000000000 ...", "5f0c..."]}      stamp, digest

A file is read again once its stamp (size and times, or its version) is another one, and while it is so young that it
may still change within the resolution of its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import orjson

from instructpt import files
from instructpt.artifacts.run import Run
from instructpt.artifacts.storage import Folder
from instructpt.errors import StorageError
from instructpt.files import File
from instructpt.files.finding import stamp

_NAME = ".inputs.json"
_YOUNG_SECONDS = 2.0


@contextmanager
def remembered_digests(run: Run) -> Iterator[Callable[[File], str]]:
    """Gives what is `files.content_digest` for the run's input files; at the end what is new is written down."""
    folder, known = Folder.at(run.root), dict[str, list[str]]()
    with suppress(OSError, ValueError):  # cut off, say: all is digested again, and written anew
        known = orjson.loads(folder.read(_NAME)) if folder.exists(_NAME) else known
    before = dict(known)

    def digest(file: File) -> str:
        now = stamp(file.url)
        if now and file.url in known and known[file.url][0] == now:
            return known[file.url][1]
        found = files.content_digest(file)
        if now and not _is_young(now) and now == stamp(file.url):
            known[file.url] = [now, found]
        return found

    try:
        yield digest
    finally:
        if known != before and folder.exists():  # `plan` makes no folder, and may look at one that cannot be written
            with suppress(StorageError):
                folder.write(_NAME, orjson.dumps(known, option=orjson.OPT_SORT_KEYS))


def _is_young(told: str) -> bool:
    """Whether a local file was written so lately that another write might leave its stamp as it is."""
    parts = told.split()
    changed = [int(part) for part in parts[1:] if part.isdigit() and len(part) > 15]
    return bool(changed) and time.time() - max(changed) / 1e9 < _YOUNG_SECONDS
