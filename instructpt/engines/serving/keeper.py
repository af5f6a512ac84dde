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
from collections.abc import Mapping, Sequence
from pathlib import Path

_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of Linux's prctl
_SECONDS_BETWEEN_LOOKS = 0.1


def start(
    command: Sequence[str], *, environ: Mapping[str, str], log: Path, grace_seconds: float
) -> subprocess.Popen[bytes]:
    """A keeper with `command` under it, whose output goes to `log`. Close its standard input to end both.

    grace_seconds: between SIGTERM and SIGKILL.
    """
    words = [sys.executable, "-I", str(Path(__file__).resolve()), str(log), str(grace_seconds), *command]
    return subprocess.Popen(  # noqa: S603 (this interpreter, this file)
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=dict(environ), start_new_session=True
    )


class _EndedError(Exception):
    """A signal told the keeper to end."""


def keep(command: Sequence[str], *, log: Path, grace_seconds: float) -> int:
    """Run `command` until it ends or standard input does; how it ended, as an exit status."""
    keeper = os.getpid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
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
    try:
        while server.poll() is None:
            if _input_ended(_SECONDS_BETWEEN_LOOKS):
                why = "the process that started it let go of it, or ended"
                return 0
        status = server.returncode
        return status if status >= 0 else 128 - status
    except _EndedError as ended:
        why = str(ended)
        return 0
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _end_group(server.pid, grace_seconds=grace_seconds)
        if why:
            with log.open("a") as text:
                text.write(f"keeper: it was ended, since {why}\n")


def _end(number: int, _: object) -> None:
    raise _EndedError(f"its keeper got signal {number}")


def _input_ended(seconds: float) -> bool:
    """Whether standard input has ended, after waiting so long for it."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1024)


def _end_group(group: int, *, grace_seconds: float) -> None:
    """End all processes of a group and wait for them."""
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                os.killpg(group, 0)
            except (ChildProcessError, ProcessLookupError):
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[3:], log=Path(sys.argv[1]), grace_seconds=float(sys.argv[2])))
