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
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from instructpt.artifacts.storage import Folder
from instructpt.progress.board import Board, View

VERSION = 1
FILE = "status.json"
SECONDS_BETWEEN_WRITES = 2.0
SECONDS_BETWEEN_UPLOADS = 30.0
"""Where the output is remote, and every write is a request that is paid for."""

State = Literal["running", "finished", "stopped", "failed"]


class StatusFile:
    """Writes how a board stands, now and then, from a thread of its own."""

    def __init__(
        self, board: Board, *, root: Folder, name: str = FILE, when_refused: Callable[[str], None] | None = None
    ) -> None:
        """when_refused: told once if the file cannot be written, and why."""
        self._board, self._root, self._name, self._when_refused = board, root, name, when_refused
        self._started, self._began = datetime.now(UTC), time.monotonic()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.num_refused = 0
        """Writes that failed."""

    def start(self) -> None:
        """Begin to write. Calling it twice is fine."""
        if self._thread is None and not self._ended.is_set():
            self.write("running")
            self._thread = threading.Thread(target=self._go_on, name="status", daemon=True)
            self._thread.start()

    def end(self, state: State, *, message: str | None = None) -> None:
        """Write the last word, if `start` was called. Calling it twice is fine."""
        if self._thread is None or self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        self.write(state, message=message)

    def write(self, state: State, *, message: str | None = None) -> None:
        """Write how things stand. What goes wrong is counted, and told once: no run ends because of this file."""
        data = orjson.dumps(self._row(state, message), option=orjson.OPT_INDENT_2)
        try:
            with self._lock:
                self._put(data)
        except Exception as error:  # of any kind: remote file systems raise errors of their own
            self.num_refused += 1
            if self.num_refused == 1 and self._when_refused is not None:
                reason = " ".join(str(error).split())[:200]
                self._when_refused(f"{self._name} cannot be written ({reason}): the run goes on without it")

    def _go_on(self) -> None:
        pause = SECONDS_BETWEEN_WRITES if self._root.is_local else SECONDS_BETWEEN_UPLOADS
        while not self._ended.wait(pause):
            self.write("running")

    def _put(self, data: bytes) -> None:
        if not self._root.is_local:
            self._root.fs.pipe_file(self._root.join(self._name), data)
            return
        path = Path(self._root.join(self._name))  # not flushed to the device: two seconds later it is old news
        unfinished = path.with_name(f".{self._name}.writing")
        unfinished.write_bytes(data)
        unfinished.replace(path)

    def _row(self, state: State, message: str | None) -> dict[str, Any]:
        view = self._board.view()
        return {
            "version": VERSION,
            "state": state,
            "message": message,
            "stage": view.stage,
            "stages": {name: _stage(name, view) for name in view.stages},
            "shards": {"total": view.num_shards, "sealed": view.num_sealed},
            "counts": _plain(view.counts),
            "per_second": {name: round(rate, 3) for name, rate in view.rates.items() if name in _PACED},
            "seconds_left": None if view.seconds_left is None else round(view.seconds_left, 1),
            "seconds": round(time.monotonic() - self._began, 1),
            "started": _written(self._started),
            "updated": _written(datetime.now(UTC)),
            "num_refused_writes": self.num_refused,
        }


_PACED = ("passages", "asked", "pairs", "prompt_tokens", "output_tokens")


def status_file_name(partition: tuple[int, int] = (0, 1)) -> str:
    """`status.json`, or `status.3-of-64.json` for a partition, counted from 0, of several on one folder."""
    index, count = partition
    return FILE if count == 1 else f"status.{index + 1}-of-{count}.json"


def _stage(name: str, view: View) -> dict[str, object]:
    row: dict[str, object] = {"state": view.stages[name]}
    if tally := view.tallies.get(name):
        row |= {"taken": tally.taken, "made": tally.made, "dropped": dict(tally.dropped), "counts": dict(tally.counts)}
    return row


def _plain(counts: Mapping[str, object]) -> dict[str, object]:
    return {name: _json_value(value) for name, value in counts.items()}


def _json_value(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value if isinstance(value, int | float | str | None) else str(value)


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
