"""Ctrl-C and SIGTERM for work that wants to finish a step and write a checkpoint before it stops.

Ctrl-C is a person, who may press it again because it takes too long. SIGTERM is a machine that wants to be free soon (a
scheduler, torchrun): it is obeyed, which is no failure, and it may come twice, from both.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGTERM came, and the work stopped where the same command goes on: exit status 0."""


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """For the duration, a signal to stop is only noted, for the work to ask about; a second Ctrl-C stops at once.

    Raises at the end Stopped if SIGTERM came, KeyboardInterrupt if Ctrl-C was pressed. Outside the main thread, where
    signals never arrive, the answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.append(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        raise Stopped if noted[0] == signal.SIGTERM else KeyboardInterrupt


def interruptible(work: Callable[[], T]) -> T:
    """What `work` returns or raises. A signal to stop ends the wait at once, even where `work` is one long native call.

    Python sees a signal between two of its own steps only; so the call runs in a thread, which the end of the process
    cuts short. For work whose half-done result nobody sees.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="interruptible", daemon=True).start()
    return future.result()
