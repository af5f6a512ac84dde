"""What people and machines are told while a recipe runs.

    artifacts, stages  -- Progress -->  Panel  -- Board -->  a live panel on a terminal, lines elsewhere (panel.py)
                                                        `->  status.json in the output folder (status.py)

Workers say nothing: `Silent`. The news of a stage that asks a model are numbers under fixed names, so that those of
several engines can be added; whatever else stands in them is shown as it is:

    passages, total, shards       done, of those in the shards begun so far, and how many shards those are
    pairs, rejects, rejects/*     accepted, not accepted, and those by reason
    replayed, failed              passages that the ledger answered, and those without an answer
    prompt_tokens, output_tokens  of answers that an engine gave in this command
    capacity, under_way           chains that may be, and are, with the engine
    engine_prompt_tokens, cached_tokens, endpoints      see `engines.EngineState`
    cost, max_cost, hours, max_hours                    see `budget`
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from instructpt.artifacts.tally import NOT_READ, Tally
from instructpt.errors import BudgetError
from instructpt.progress.board import Board
from instructpt.progress.panel import draw, duration, line, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from instructpt.progress.status import StatusFile

SECONDS_BETWEEN_LINES = 10.0
"""Plain output: at most one line of news in this time, so that a log of a week stays readable."""


class Panel:
    """A line a finished stage on a console; below them, on a terminal, the stage at work, drawn anew as it goes on."""

    def __init__(self, console: Console, *, board: Board | None = None) -> None:
        self._console = console
        self._board = board or Board()
        self._live: Live | None = None
        self._last_line = 0.0
        self._names: list[str] = []
        self.status: StatusFile | None = None
        """Begun with the first word of a run: one that is refused leaves another run's file alone."""

    def plan(self, names: Sequence[str]) -> None:
        """The stages to come, in order."""
        self._names = list(names)
        self._board.plan(names)
        if self.status is not None:
            self.status.start()

    def found(self, name: str, tally: Tally) -> None:
        """An artifact was finished before; nothing is done."""
        self._board.found(name, tally)
        self._line(name, summary(tally), state="found")

    def started(self, name: str, num_shards: int, num_sealed: int) -> None:
        """Work on a stage begins, some of its shards being there already."""
        self._board.started(name, num_shards, num_sealed)
        self._last_line = time.monotonic()
        if self._console.is_terminal and self._live is None:
            from rich.live import Live

            self._live = Live(
                get_renderable=lambda: draw(self._board.view()),
                console=self._console,
                transient=True,
                refresh_per_second=4,
                redirect_stdout=False,  # it may be a pipe
            )
            self._live.start()

    def news(self, name: str, counts: Mapping[str, object]) -> None:
        """How the open shards of a stage stand."""
        self._board.news(name, counts)
        if self._live is None and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(name, line(self._board.view()))

    def sealed(self, name: str, tally: Tally) -> None:
        """A shard is finished."""
        self._board.sealed(name, tally)
        if self._live is None and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(name, line(self._board.view()))

    def finished(self, name: str, tally: Tally) -> None:
        """An artifact is finished."""
        self._stop_drawing()
        seconds = self._board.view().seconds
        self._board.finished(name, tally)
        self._line(name, summary(tally), state="done", seconds=seconds)

    def close(self) -> None:
        """Leave the terminal as it was found. Calling it twice is fine."""
        self._stop_drawing()

    def say(self, words: str) -> None:
        """A line of its own."""
        from rich.text import Text

        self._console.print(Text(plain(words)), soft_wrap=True)

    def _stop_drawing(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, name: str, words: str, *, state: str = "", seconds: float | None = None) -> None:
        from rich.text import Text

        self._last_line = time.monotonic()
        number = f"{self._names.index(name) + 1}/{len(self._names)}" if name in self._names else ""
        text = Text.assemble((f"{number:>5}  ", "dim"), (f"{plain(name):<12} ", "bold"))
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
    from instructpt.artifacts.storage import Folder
    from instructpt.progress.status import StatusFile, status_file_name

    board = Board()
    panel = Panel(console, board=board)
    panel.status = status = StatusFile(
        board, root=Folder.at(root), name=status_file_name(partition), when_refused=panel.say
    )
    try:
        yield panel
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt | BudgetError)
        panel.close()
        status.end("stopped" if is_stopped else "failed", message=plain(error) or type(error).__name__)
        raise
    panel.close()
    status.end("finished")


def summary(tally: Tally) -> str:
    """A tally in a few words: taken -> made, dropped, and the most telling counts."""
    parts = []
    if tally.taken or tally.made:
        parts.append(f"{tally.taken:,} -> {tally.made:,}")
    if dropped := sum(tally.dropped.values()):
        parts.append(f"dropped {dropped:,} ({', '.join(f'{k} {v:,}' for k, v in sorted(tally.dropped.items())[:3])})")
    parts += [f"{key} {tally.counts[key]:,}" for key in ("pairs", "tokens", "rows", "steps") if key in tally.counts]
    if rejects := sum(number for name, number in tally.counts.items() if name.startswith("rejects/")):
        parts.append(f"rejected pairs {rejects:,}")
    if left_out := [f"{n:,} {k.removeprefix(NOT_READ)}" for k, n in tally.counts.items() if k.startswith(NOT_READ)]:
        parts.append(f"not read: {', '.join(left_out)}")
    return "  ".join(parts)


def time_left(started: float, *, done: int, total: int) -> str:
    """How long the rest takes at the pace so far. started: by time.monotonic()."""
    return duration((time.monotonic() - started) / max(1, done) * (total - done))
