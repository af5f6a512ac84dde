"""Digests of input files, remembered in the run's folder: a restart, or another partition, need not read them again.

    <root>/.inputs.json      {"data/a.jsonl": ["1024 1732700000000000000 ...", "5f0c..."]}      stamp, digest

A file is read again once its stamp (size and times, or its version) is another one, and while it is so young that it
may still change within the resolution of its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from instructpt import files
from instructpt.artifacts.run import Run
from instructpt.artifacts.storage import Folder
from instructpt.files import File
from instructpt.files.finding import stamp

_NAME = ".inputs.json"
_YOUNG_SECONDS = 2.0


class Remembered:
    """The digests of a run's input files; used in a `with`, at whose end what is new is written down."""

    def __init__(self, run: Run) -> None:
        self._folder = Folder.at(run.root)
        self._known: dict[str, list[str]] = {}
        self._is_changed = False

    def __enter__(self) -> Callable[[File], str]:
        try:
            self._known = orjson.loads(self._folder.read(_NAME)) if self._folder.exists(_NAME) else {}
        except (OSError, ValueError):  # cut off, say: all is digested again, and written anew
            self._known = {}
        return self.digest

    def __exit__(self, *error: object) -> None:
        if self._is_changed and self._folder.exists():  # `plan` makes no folder
            self._folder.write(_NAME, orjson.dumps(self._known, option=orjson.OPT_SORT_KEYS))

    def digest(self, file: File) -> str:
        """As `files.content_digest`."""
        now = stamp(file.url)
        known = self._known.get(file.url)
        if known and now and known[0] == now:
            return known[1]
        found = files.content_digest(file)
        if now and not _is_young(now) and now == stamp(file.url):
            self._known[file.url] = [now, found]
            self._is_changed = True
        return found


def _is_young(told: str) -> bool:
    """Whether a local file was written so lately that another write might leave its stamp as it is."""
    parts = told.split()
    changed = [int(part) for part in parts[1:] if part.isdigit() and len(part) > 15]
    return bool(changed) and time.time() - max(changed) / 1e9 < _YOUNG_SECONDS
