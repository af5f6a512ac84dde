"""The keeper: a small process between us and a server, so that the server ends with us, however we end.

    instructpt ===pipe===> keeper ---starts---> server ---starts---> its workers
        |                    |                     '------one process group-----'
        ends, is killed      standard input ends: SIGTERM to the group, SIGKILL to what is left of it after a while

A signal on the parent's death (prctl) would not do: it reaches one process of the server's several, and comes as soon
as the thread ends that started it. Here it only covers for a keeper that is killed itself. The keeper imports nothing
of the package and runs as a plain file:

    python keeper.py LOG GRACE_SECONDS COMMAND...

Its exit status is the server's, 128 + N if signal N ended that.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of Linux's prctl
_SECONDS_BETWEEN_LOOKS = 0.1


def keep(command: Sequence[str], *, log: Path, grace_seconds: float) -> int:
    """Run `command` until it ends, standard input does or a signal comes; how it ended, as an exit status."""
    keeper, signals = os.getpid(), []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: signals.append(number))
    _prctl(_CHILD_SUBREAPER, 1)  # what the server's main process leaves behind is ours to wait for

    def die_with_keeper() -> None:
        _prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != keeper:
            os._exit(1)

    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 (the command is the caller's)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=die_with_keeper,  # safe: this process has one thread
        )
    why = ""
    while server.poll() is None and not why:
        readable, _, _ = select.select([sys.stdin], [], [], _SECONDS_BETWEEN_LOOKS)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            why = "the process that started it let go of it, or ended"
        elif signals:
            why = f"its keeper got signal {signals[0]}"
    status = server.returncode
    _end_group(server.pid, grace_seconds=grace_seconds)
    if why:
        with log.open("a") as text:
            text.write(f"keeper: it was ended, since {why}\n")
    return 0 if why else status if status >= 0 else 128 - status


def _end_group(group: int, *, grace_seconds: float) -> None:
    """End all processes of a group and wait for them."""
    with suppress(ProcessLookupError, ChildProcessError):
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            os.killpg(group, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                os.killpg(group, 0)
                time.sleep(_SECONDS_BETWEEN_LOOKS)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[3:], log=Path(sys.argv[1]), grace_seconds=float(sys.argv[2])))
