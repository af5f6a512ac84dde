"""The server that tests of engines and runs rely on: its troubles are real, and it counts as vLLM does."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.scripted_server import ScriptedServer, scripted_server, started_server
from instructpt.engines.health import read_metrics

IDS = [0, *range(40, 90)]


@contextmanager
def connection(server: ScriptedServer) -> Iterator[http.client.HTTPConnection]:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as opened:
        yield opened


def body(prompt: Any) -> bytes:
    return orjson.dumps({"prompt": prompt, "max_tokens": 50})


def ask(server: ScriptedServer, prompt: Any) -> tuple[int, Any]:
    with connection(server) as opened:
        opened.request("POST", "/v1/completions", body(prompt))
        response = opened.getresponse()
        return response.status, orjson.loads(response.read())


def metrics(server: ScriptedServer) -> str:
    with connection(server) as opened:
        opened.request("GET", "/metrics")
        return opened.getresponse().read().decode()


def metric(server: ScriptedServer, name: str) -> float:
    return read_metrics(metrics(server), [name])[name]


def test_prefixes_are_cached_in_blocks_and_told_as_vllm_tells_them(vocabulary_folder: Path) -> None:
    with started_server(vocabulary_folder) as server:
        counts = [
            ask(server, prompt)[1]["usage"]["prompt_tokens_details"]["cached_tokens"]
            for prompt in (IDS, IDS, [*IDS[:33], 7, 7, 7], IDS[:16], IDS[1:])
        ]
        assert counts == [0, 48, 32, 0, 0]
        assert metric(server, "vllm:prefix_cache_hits_total") == sum(counts)


def test_requests_beyond_its_places_wait_and_those_of_clients_that_leave_are_dropped(vocabulary_folder: Path) -> None:
    with scripted_server(vocabulary_folder, max_running=1, delay_ms=400) as server:
        threads = [threading.Thread(target=ask, args=(server, [5, i])) for i in range(2)]
        with connection(server) as leaving:
            for thread in threads:
                thread.start()
            leaving.request("POST", "/v1/completions", body([9]))
            while metric(server, "vllm:num_requests_waiting") < 2:
                pass
            assert metric(server, "vllm:num_requests_running") == 1
        for thread in threads:
            thread.join()
        while metric(server, "vllm:num_requests_running"):
            pass
        assert metric(server, "scripted:requests_total") == 2


@pytest.mark.parametrize("trouble", ["status_400", "status_429", "status_500", "garbage", "half_body", "slow"])
def test_each_trouble_is_what_it_says(vocabulary_folder: Path, trouble: str) -> None:
    with scripted_server(vocabulary_folder, trouble=f"{trouble}=1", slow_seconds=0.2) as server:
        with connection(server) as opened:
            opened.request("POST", "/v1/completions", body(IDS))
            response = opened.getresponse()
            if trouble == "half_body":
                with pytest.raises(http.client.IncompleteRead):
                    response.read()
                return
            data = response.read()
        assert response.status == int(trouble.removeprefix("status_") if "status" in trouble else 200)
        assert (response.getheader("Retry-After") == "1") == (trouble == "status_429")
        if trouble == "garbage":
            assert data.startswith(b"<html>")
        else:
            assert ("choices" in orjson.loads(data)) == (trouble == "slow")
        assert f'outcome="{trouble}"' in metrics(server)


def test_troubles_have_their_shares_and_asking_again_may_help(vocabulary_folder: Path) -> None:
    with scripted_server(vocabulary_folder, trouble="status_400=0.2,status_500=0.4", seed=1) as server:
        first, again = ([ask(server, [5, i])[0] for i in range(100)] for _ in range(2))
    assert 8 < Counter(first)[400] < 35
    assert 18 < Counter(first)[500] < 48
    assert [status == 400 for status in first] == [status == 400 for status in again]
    assert any(one == 500 and other == 200 for one, other in zip(first, again, strict=True))
