"""`status.json`: how a run stands, for machines that watch it. A few words in a file, no part of any artifact.

    {"version": 1, "state": "running", "stage": "groups",
     "stages": {"passages": {"state": "done", "taken": 9000, "made": 36000, ...}, "groups": {"state": "running"}},
     "shards": {"total": 24, "sealed": 3}, "counts": {"passages": 12288, "pairs": 55123, "rejects/no_end_tag": 1200},
     "per_second": {"output_tokens": 1920.4}, "seconds_left": 7800.0, "started": "2026-11-22T08:00:00Z", ...}

`state` is running, finished, stopped (Ctrl-C, or a budget is used up) or failed; `message` says why. A run that was
killed leaves "running" and an `updated` that grows old. A disk that refuses the file stops no run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from instructpt.artifacts.storage import Folder
from instructpt.progress.view import View

SECONDS_BETWEEN_WRITES = 2.0
SECONDS_BETWEEN_UPLOADS = 30.0
"""Where the output is remote, and every write is a request that is paid for."""
_PACED = ("passages", "asked", "pairs", "prompt_tokens", "output_tokens")


class StatusFile:
    """Writes how a run stands, now and then, from a thread of its own.

    A partition, counted from 0, of several on one folder has a file of its own: `status.3-of-64.json`. What goes wrong
    is counted, and told once to `when_refused`.
    """

    def __init__(
        self, view: Callable[[], View], *, root: str, partition: tuple[int, int], when_refused: Callable[[str], None]
    ) -> None:
        index, count = partition
        self._name = "status.json" if count == 1 else f"status.{index + 1}-of-{count}.json"
        self._view, self._folder, self._when_refused = view, Folder.at(root), when_refused
        self._started, self._began = _now(), time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._num_refused = 0

    def start(self) -> None:
        """Begin to write. Calling it twice is fine."""
        if self._thread is None:
            self._write("running")
            self._thread = threading.Thread(target=self._go_on, name="status", daemon=True)
            self._thread.start()

    def end(self, state: str, *, message: str | None = None) -> None:
        """Write the last word, if `start` was called. state: "finished", "stopped" or "failed"."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._write(state, message)

    def _go_on(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_WRITES if self._folder.is_local else SECONDS_BETWEEN_UPLOADS):
            self._write("running")

    def _write(self, state: str, message: str | None = None) -> None:
        try:
            data = self._row(state, message)
            if not self._folder.is_local:
                self._folder.fs.pipe_file(self._folder.join(self._name), data)
                return
            path = Path(self._folder.join(self._name))  # not flushed to the device: two seconds later it is old news
            unfinished = path.with_name(f".{self._name}.writing")
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except Exception as error:  # of any kind: remote file systems raise errors of their own
            self._num_refused += 1
            if self._num_refused == 1:
                reason = " ".join(str(error).split())[:200]
                self._when_refused(f"{self._name} cannot be written ({reason}): the run goes on without it")

    def _row(self, state: str, message: str | None) -> bytes:
        import orjson

        view = self._view()
        row = {
            "version": 1,
            "state": state,
            "message": message,
            "stage": view.stage,
            "stages": view.stages,
            "shards": {"total": view.num_shards, "sealed": view.num_sealed},
            "counts": view.counts,
            "per_second": {name: round(view.rates[name], 3) for name in _PACED if name in view.rates},
            "seconds_left": None if view.seconds_left is None else round(view.seconds_left, 1),
            "seconds": round(time.monotonic() - self._began, 1),
            "started": self._started,
            "updated": _now(),
            "num_refused_writes": self._num_refused,
        }
        return orjson.dumps(row, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
