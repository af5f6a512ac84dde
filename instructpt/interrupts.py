"""Ctrl-C and SIGTERM for work that wants to finish a step and write a checkpoint before it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """For the duration, the first signal to stop is only noted, for the work to ask about; a second one stops at once.

    Raises KeyboardInterrupt at the end if a signal came. Outside the main thread, where signals never arrive, the
    answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted = threading.Event()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted.is_set():
        raise KeyboardInterrupt
