"""What people are told while a recipe runs: a line a finished stage, and a few lines on the one at work, drawn anew.

      4/5  groups       ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  34.1%  2h10m left
           passages     12,288 of about 36,000   8.2/s   pairs 55,123
           tokens       in 8,210/s   out 1,920/s   cached 41%
           under way    96 of 128   shards 3 of 24
           rejects      3,001: no_end_tag 1,200, duplicate 800, ungrounded 500
           endpoints    2 of 3 ok
                        DOWN http://gpu3:8000/v1   0 under way   12 failed
                        ok   http://gpu1:8000/v1   48 under way   0 failed
                        ok   http://gpu2:8000/v1   48 under way   0 failed
           idle         9% of the time: 7% for chains whose next turn waits for an answer, 2% for the disk
           spent        12.10 of 50   3.20 h of 24

The pace is that of the last minute and not since the start, so that an hour of waiting for a server does not weigh on
the days after it; without news it falls. (`rich.progress` learns of growth alone: what waits keeps its last pace there,
then has none.)

Machines that watch a run find how it stands in `status.json`, a few words that are no part of any artifact:

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
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from instructpt.artifacts.storage import Folder
from instructpt.artifacts.tally import Progress, Tally
from instructpt.errors import BudgetError
from instructpt.progress.view import DOWN, View, details, duration, idle, idle_shares, line, place, plain, summary

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0
"""Plain output: at most one line of news in this time, so that a log of a week stays readable."""
_PACE_SECONDS = 60.0
_SECONDS_BETWEEN_MARKS = 1.0


class Panel(Progress):
    """Keeps how a run stands and shows it on a console. Its methods may be called from any thread."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock, self._lock = console, clock, threading.Lock()
        self._view = View()
        self._began = self._last_line = 0.0
        self._marks: deque[tuple[float, Mapping[str, float]]] = deque()
        self._live: Live | None = None
        self.when_planned: Callable[[], None] | None = None

    def plan(self, names: Sequence[str]) -> None:
        with self._lock:
            self._view = View(stages={name: {"state": "waiting"} for name in names})
        if self.when_planned is not None:
            self.when_planned()

    def found(self, name: str, tally: Tally) -> None:
        self._keep(name, "found", tally)
        self._line(name, summary(tally), state="found")

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        with self._lock:
            stages = {**self._view.stages, name: {"state": "running"}}
            begun = View(stages=stages, stage=name, num_shards=num_shards)
            self._view = replace(begun, num_sealed=num_sealed, num_sealed_before=num_sealed)
            self._began, self._last_line = self._clock(), time.monotonic()
            self._marks.clear()
        if self._console.is_terminal and self._live is None:
            from rich.live import Live

            self._live = Live(
                get_renderable=lambda: draw(self.view()),
                console=self._console,
                transient=True,
                refresh_per_second=4,
                redirect_stdout=False,  # it may be a pipe
            )
            self._live.start()

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        with self._lock:
            if name == self._view.stage:
                self._view = replace(self._view, counts=dict(counts))
                self._mark()
        self._now_and_then(name)

    def sealed(self, name: str, tally: Tally) -> None:
        with self._lock:
            self._view = replace(self._view, num_sealed=self._view.num_sealed + (name == self._view.stage))
        self._now_and_then(name)

    def finished(self, name: str, tally: Tally) -> None:
        self.close()
        view = self.view()
        self._keep(name, "done", tally, **({"idle": shares} if (shares := idle_shares(view)) else {}))
        self._line(name, summary(tally), state="done", seconds=view.seconds)
        if words := idle(view):
            self._line(name, f"endpoints stood idle {words}")

    def view(self) -> View:
        """How things stand now."""
        with self._lock:
            now = self._clock()
            return replace(self._view, seconds=now - self._began if self._view.stage else 0.0, rates=self._rates(now))

    def close(self) -> None:
        """Leave the terminal as it was found. Calling it twice is fine."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, words: str) -> None:
        """A line of its own."""
        self._console.print(plain(words), soft_wrap=True, markup=False, highlight=False)

    def _keep(self, name: str, state: str, tally: Tally, **more: object) -> None:
        with self._lock:
            counted = {"taken": tally.taken, "made": tally.made, "dropped": tally.dropped, "counts": tally.counts}
            stage = None if name == self._view.stage else self._view.stage
            stages = {**self._view.stages, name: {"state": state, **counted, **more}}
            self._view = replace(self._view, stages=stages, stage=stage)

    def _mark(self) -> None:
        now = self._clock()
        numbers = {name: float(value) for name, value in self._view.counts.items() if isinstance(value, int | float)}
        if "passages" in numbers:
            numbers["asked"] = numbers["passages"] - numbers.get("replayed", 0.0)
        if len(self._marks) > 1 and now - self._marks[-2][0] < _SECONDS_BETWEEN_MARKS:
            self._marks.pop()
        self._marks.append((now, numbers))
        while len(self._marks) > 2 and self._marks[1][0] <= now - _PACE_SECONDS:
            self._marks.popleft()

    def _rates(self, now: float) -> dict[str, float]:
        if len(self._marks) < 2:
            return {}
        (began, first), (_, last) = self._marks[0], self._marks[-1]
        return {name: max(0.0, last[name] - first.get(name, 0.0)) / max(now - began, 1e-9) for name in last}

    def _now_and_then(self, name: str) -> None:
        if self._live is None and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(name, line(self.view()))

    def _line(self, name: str, words: str, *, state: str = "", seconds: float | None = None) -> None:
        self._last_line = time.monotonic()
        text = _label(name, list(self._view.stages)).append(" ")
        if state:
            text.append(f"{state:<6} ", style="green")
        text.append(plain(words))
        if seconds is not None:
            text.append(f"  {duration(seconds)}", style="dim")
        self._console.print(text, soft_wrap=True)


@contextmanager
def shown(root: str, *, console: Console, partition: tuple[int, int] = (0, 1)) -> Iterator[Panel]:
    """A panel on `console` and `status.json` under `root`, for the time of a run; its end is told to both.

    partition: see `Run.partition`; each has a status file of its own.
    """
    panel = Panel(console)
    status = StatusFile(panel.view, root=root, partition=partition, when_refused=panel.say)
    panel.when_planned = status.start  # not before: a run that is refused leaves another run's file alone
    try:
        yield panel
    except BaseException as error:
        panel.close()
        is_stopped = isinstance(error, KeyboardInterrupt | BudgetError)
        status.end("stopped" if is_stopped else "failed", message=plain(error) or type(error).__name__)
        raise
    panel.close()
    status.end("finished")


def draw(view: View) -> RenderableType:
    """The stage at work as lines that fit the terminal, whatever its width."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    label = _label(view.stage or "", list(view.stages))
    if not view.num_passages:
        return Text.assemble(label, " ", line(view) or duration(view.seconds), no_wrap=True, overflow="ellipsis")
    share = min(1.0, view.number("passages") / view.num_passages)
    head, table = Table.grid(padding=(0, 1), expand=True), Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    bar = ProgressBar(total=1.0, completed=share, complete_style="green", finished_style="green")
    head.add_row(bar, f"{share:6.1%}  {view.left}".rstrip())
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    table.add_row(label, head)
    for name, words in details(view).items():
        told = Text(words)
        told.highlight_words([DOWN], "bold red")
        table.add_row(Text(f"{'':>5}  {name}", style="dim"), told)
    return table


def _label(name: str, stages: Sequence[str]) -> Text:
    from rich.text import Text

    return Text.assemble((f"{place(name, stages):>5}  ", "dim"), (f"{plain(name):<12}", "bold"))


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
