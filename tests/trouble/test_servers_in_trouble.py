"""Servers are overloaded, broken, slow, gone: what comes out is what healthy ones would have given, or is counted."""

from __future__ import annotations

import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from disturbed import Ground, complaint, records, tally, wait_until

from benchmarks.reports import contents, passages, write_corpus
from benchmarks.scripted_server import ScriptedServer, scripted_server, started_server
from benchmarks.storm import Asked, kept_keys, shards_of

NUM_PASSAGES = 150
FAST = ("retry_seconds=0.02", "health_seconds=0.2")
"""Options of the engine: tests need not wait as long as people."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A corpus of some size, and what becomes of it with healthy servers."""
    folder = tmp_path_factory.mktemp("town")
    ground = Ground(write_corpus(folder, num_passages=NUM_PASSAGES, num_files=3), folder / "whole", folder / "none")
    assert ground.run(ground.whole) == 0
    return ground


@contextmanager
def servers(town: Ground, *options: dict[str, Any], start: Any = scripted_server) -> Iterator[list[Any]]:
    """One for each set of options. start: `started_server` for those that are to be killed."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(start(town.corpus.model, **{"delay_ms": 2, "retry_after_seconds": 0} | some))
            for some in options
        ]


def run(town: Ground, out: Path, at: Sequence[ScriptedServer], *options: str) -> int:
    """The command, with these servers."""
    return town.run(out, "--endpoints", *(server.url for server in at), "--engine-options", *FAST, *options)


def num_lines(path: Path) -> int:
    """Requests in a server's log."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


@contextmanager
def meanwhile(is_time: Callable[[], bool], work: Callable[[], object]) -> Iterator[None]:
    """In another thread: `work` once it is time."""

    def wait_and_work() -> None:
        wait_until(is_time)
        work()

    thread = threading.Thread(target=wait_and_work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


TROUBLES = {
    "servers that have too much to do": ("status_429=0.2,status_500=0.2", ()),
    "answers that are none": ("garbage=0.15,half_body=0.15", ()),
    "answers that never come or trickle": ("hang=0.03,slow=0.1", ("timeout_seconds=1",)),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_troubled_servers_give_what_healthy_ones_would(town: Ground, tmp_path: Path, name: str) -> None:
    shares, options = TROUBLES[name]
    trouble = {"trouble": shares, "slow_seconds": 0.2}
    with servers(town, trouble, trouble | {"seed": 1}) as both:
        assert run(town, tmp_path / "out", both, "retries=20", *options) == 0
        counts = "".join(metrics(server) for server in both)
    assert contents(tmp_path / "out") == contents(town.whole)
    for share in shares.split(","):  # the trouble was real
        assert f'outcome="{share.partition("=")[0]}"' in counts


def metrics(server: ScriptedServer) -> str:
    """What a server counted."""
    with urllib.request.urlopen(f"{server.url.removesuffix('/v1')}/metrics", timeout=60) as answer:
        counts: str = answer.read().decode()
    return counts


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_of_two_servers_one_that_dies_half_way_is_not_missed(town: Ground, tmp_path: Path, end: str) -> None:
    """Killed: its connections break. Stopped: they stay open, and nothing comes any more."""
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    with servers(town, *({"log": log, "delay_ms": 20} for log in logs), start=started_server) as both:
        number = signal.SIGKILL if end == "killed" else signal.SIGSTOP
        with meanwhile(lambda: num_lines(logs[0]) > 20, lambda: both[0].process.send_signal(number)):
            assert run(town, tmp_path / "out", both, "timeout_seconds=1") == 0
    assert contents(tmp_path / "out") == contents(town.whole)
    assert num_lines(logs[1]) > NUM_PASSAGES / 2


def test_refused_prompts_are_counted_and_all_others_come_out_as_ever(town: Ground, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with servers(town, {"trouble": "status_400=0.1"}) as (server,):
        assert run(town, out, [server]) == 0
    shots = [shot for group in records(out, "groups") for shot in group["shots"]]
    refused = [any(reject["reason"] == "prompt_refused" for reject in shot["rejects"]) for shot in shots]
    assert 0 < sum(refused) < NUM_PASSAGES / 4
    counts = tally(out, "groups")["counts"]
    assert counts["rejects/prompt_refused"] == sum(refused)
    assert not any(shot["pairs"] for shot, is_refused in zip(shots, refused, strict=True) if is_refused)
    assert passages(out) == passages(town.whole)
    assert tally(out, "groups")["taken"] == tally(out, "groups")["kept"] == NUM_PASSAGES
    # A passage whose chain had no refused one before it was asked as ever, and has what it ever had.
    as_ever = {group["id"]: group for group in records(town.whole, "groups")}
    num_equal = 0
    for group in records(out, "groups"):
        for shot, wanted in zip(group["shots"], as_ever[group["id"]]["shots"], strict=True):
            if any(reject["reason"] == "prompt_refused" for reject in shot["rejects"]):
                break
            assert shot == wanted
            num_equal += 1
    assert num_equal > NUM_PASSAGES / 2


@pytest.mark.parametrize("end", ["before the first answer", "half-way"])
def test_with_all_servers_dead_it_says_so_and_goes_on_once_they_are_back(
    town: Ground, tmp_path: Path, capfd: pytest.CaptureFixture[str], end: str
) -> None:
    out, logs = tmp_path / "out", [tmp_path / "first.log", tmp_path / "second.log"]
    first = {"log": logs[0], "delay_ms": 20, "trouble": "hang=0.02"}
    with servers(town, first, start=started_server) as (server,):
        port = int(server.url.rpartition(":")[2].removesuffix("/v1"))
        if end == "half-way":
            with meanwhile(lambda: num_lines(logs[0]) > NUM_PASSAGES // 3, server.process.kill):
                status = run(town, out, [server], "gone_seconds=0.5")
        else:
            server.process.kill()
            status = run(town, out, [server], "gone_seconds=0.5")
    assert status == 1
    said = complaint(capfd.readouterr().err)
    assert server.url.removesuffix("/v1") in said
    assert "run" in said
    shards = shards_of_all(town)
    kept = kept_keys(out, shards)
    assert len(kept) > (20 if end == "half-way" else -1)
    with servers(town, {"log": logs[1], "port": port}) as (server,):
        assert run(town, out, [server]) == 0
    again = Asked(logs[1], corpus=town.corpus)
    again.read()
    assert not kept & set(again.keys)
    assert len(again.keys) == NUM_PASSAGES - len(kept)
    assert contents(out) == contents(town.whole)


def shards_of_all(town: Ground) -> dict[bytes, int]:
    """In which shard each prompt's passage lies, from a run that is told of."""
    log, out = town.whole.parent / "asked.log", town.whole.parent / "told"
    if not out.exists():
        with servers(town, {"log": log}) as (server,):
            assert run(town, out, [server]) == 0
    asked = Asked(log, corpus=town.corpus)
    asked.read()
    return shards_of(out, asked)


def test_a_server_that_only_makes_errors_ends_the_run(
    town: Ground, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with servers(town, {"trouble": "status_500=1"}) as (server,):
        assert run(town, tmp_path / "out", [server], "retries=1", "gone_seconds=1") == 1
        assert "trouble was asked for" in complaint(capfd.readouterr().err)
    assert not list((tmp_path / "out" / "groups").glob("*.parquet"))
