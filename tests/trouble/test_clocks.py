"""The clock jumps by days and years, back and forth, at every look: nothing hangs, and what is made is the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from disturbed import Ground, finish

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED
from benchmarks.scripted_server import started_server

JUMPING = """
import atexit, itertools, os, time
true_seconds, jumps = time.time, itertools.cycle([0, 86_400, -7_200, 3_600, -400_000_000, 1, 900_000_000])
num_looks = 0
def jumping():
    global num_looks
    num_looks += 1
    return true_seconds() + next(jumps)
time.time, time.time_ns = jumping, lambda: int(jumping() * 1e9)
atexit.register(lambda: os.write(os.open(os.environ["LOOKS"], os.O_WRONLY | os.O_CREAT), str(num_looks).encode()))
"""
"""Python imports it before anything else. `time.monotonic` stays as it is: it only goes forward, whatever is set."""


@pytest.mark.parametrize("engine", ["scripted", "http"])
def test_a_clock_that_jumps_changes_nothing(ground: Ground, tmp_path: Path, engine: str) -> None:
    """Also with a server that makes trouble: waiting, giving up and trying again go by another clock."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    trouble = "status_500=0.1,status_429=0.05,half_body=0.05"
    with started_server(ground.corpus.model, trouble=trouble, retry_after_seconds=0, delay_ms=5) as server:
        where = ["--engine", SCRIPTED] if engine == "scripted" else ["--endpoints", server.url]
        words = ground.words(tmp_path / "out", *where)
        finish(*words, PYTHONPATH=paths, LOOKS=str(tmp_path / "looks"))
    assert int((tmp_path / "looks").read_text()) > 0
    assert contents(tmp_path / "out") == contents(ground.whole)
