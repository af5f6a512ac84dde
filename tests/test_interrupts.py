"""Signals to stop, and work that does not look for them."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from instructpt.interrupts import interruptible

LONG = """
import signal, sys
from instructpt.interrupts import interruptible
signal.signal(signal.SIGTERM, signal.default_int_handler)
waiting = lambda: __import__("ctypes").CDLL(None).sleep(60)  # a native call, as long as a large vocabulary takes
try:
    print("begun", flush=True)
    interruptible(waiting)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def test_what_the_work_gives_or_raises_arrives() -> None:
    assert interruptible(lambda: threading.current_thread().name) == "interruptible"
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_a_native_call_does_not_hold_up_a_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    said, _ = process.communicate(timeout=180)
    assert said == "stopped\n"
    assert process.returncode == 0
