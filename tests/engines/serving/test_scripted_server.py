"""The scripted server: what a user relies on who tries a run without a model, and what a client may expect of it."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import threading
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from instructpt.engines import Sampling
from instructpt.engines.health import read_metrics
from instructpt.engines.scripted import ScriptedEngine
from instructpt.engines.serving.answers import Troubles, shares
from instructpt.engines.serving.prefixes import BLOCK_TOKENS, PrefixCache
from instructpt.engines.serving.scripted import StartedServer, started_server
from instructpt.errors import EngineError, RecipeError
from instructpt.words import vocabulary

IDS = [0, *range(40, 90)]


@pytest.fixture(scope="module")
def server(vocabulary_folder: Path) -> Iterator[StartedServer]:
    with started_server(vocabulary_folder, served_model="canned", max_model_len=200) as started:
        yield started


@contextmanager
def connection(server: StartedServer) -> Iterator[http.client.HTTPConnection]:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as opened:
        yield opened


def call(server: StartedServer, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
    with connection(server) as opened:
        opened.request("GET" if body is None else "POST", path, body and orjson.dumps(body), headers)
        response = opened.getresponse()
        data = response.read()
    is_json = response.getheader("Content-Type") == "application/json"
    return response.status, orjson.loads(data) if is_json and data else data.decode()


def ask(server: StartedServer, prompt: Any, **more: Any) -> tuple[int, Any]:
    return call(server, "/v1/completions", {"prompt": prompt, "max_tokens": 50, **more})


def metric(server: StartedServer, name: str) -> float:
    return read_metrics(call(server, "/metrics")[1], [name])[name]


def test_a_prompt_gets_the_answer_of_the_scripted_engine_with_its_counts(
    server: StartedServer, vocabulary_folder: Path
) -> None:
    expected = asyncio.run(ScriptedEngine(str(vocabulary_folder)).complete(IDS, Sampling(50)))
    status, answer = ask(server, IDS, return_token_ids=True)
    choice = answer["choices"][0]
    assert (status, choice["text"], choice["finish_reason"]) == (200, expected.text, expected.finish)
    assert answer["usage"]["completion_tokens"] == expected.num_tokens == len(choice["token_ids"])
    assert answer["usage"]["prompt_tokens"] == len(IDS)
    assert choice["prompt_token_ids"] == IDS


def test_text_is_counted_in_the_models_vocabulary_with_its_begin_of_text(
    server: StartedServer, vocabulary_folder: Path
) -> None:
    words = vocabulary.load(vocabulary_folder)
    text = "The bridge over the river Cole."
    expected = words.sequence([text])
    assert ask(server, text)[1]["usage"]["prompt_tokens"] == len(expected)
    assert ask(server, text, add_special_tokens=False)[1]["usage"]["prompt_tokens"] == len(expected) - 1
    messages = [{"role": "user", "content": text}]
    status, answer = call(server, "/v1/chat/completions", {"messages": messages, "max_tokens": 9})
    assert (status, answer["choices"][0]["message"]["role"]) == (200, "assistant")
    assert answer["usage"]["completion_tokens"] <= 9


def test_it_says_what_it_is(server: StartedServer) -> None:
    (model,) = call(server, "/v1/models")[1]["data"]
    assert (model["id"], model["owned_by"], model["max_model_len"]) == ("canned", "instructpt", 200)
    assert call(server, "/health") == (200, "")
    assert "version" in call(server, "/version")[1]
    assert call(server, "/v2/else")[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"prompt": [5] * 190, "max_tokens": 11}, 400, "maximum context length is 200 tokens"),
        ({"prompt": []}, 400, "non-empty"),
        ({"prompt": [10**6]}, 400, "out of vocabulary"),
        ({"prompt": [[1], [2]]}, 400, "neither text nor token ids"),
        ({"prompt": "x", "stream": True}, 400, "stream"),
        ({"prompt": "x", "max_tokens": -1}, 400, "max_tokens"),
        ({"prompt": "x", "model": "other"}, 404, "`other` does not exist"),
    ],
)
def test_it_refuses_as_vllm_does(server: StartedServer, body: dict[str, Any], status: int, says: str) -> None:
    answered, error = call(server, "/v1/completions", body)
    assert (answered, error["error"]["code"]) == (status, status)
    assert says in error["error"]["message"]


def test_scores_of_a_prompt_in_both_spellings_are_those_of_the_scripted_engine(
    server: StartedServer, vocabulary_folder: Path
) -> None:
    expected = asyncio.run(ScriptedEngine(str(vocabulary_folder)).score(IDS[:1], IDS[1:]))
    tables = ask(server, IDS, prompt_logprobs=0, max_tokens=1)[1]["choices"][0]["prompt_logprobs"]
    assert tables[0] is None
    told = [table[str(token)]["logprob"] for table, token in zip(tables[1:], IDS[1:], strict=True)]
    assert told == pytest.approx(expected)
    echoed = ask(server, IDS, echo=True, logprobs=1, max_tokens=1)[1]["choices"][0]["logprobs"]
    assert echoed["token_logprobs"][1 : len(IDS)] == pytest.approx(expected)


def test_prefixes_are_cached_in_blocks_and_told_as_vllm_tells_them(vocabulary_folder: Path) -> None:
    with started_server(vocabulary_folder) as server:
        counts = [
            ask(server, prompt)[1]["usage"]["prompt_tokens_details"]["cached_tokens"]
            for prompt in (IDS, IDS, [*IDS[:33], 7, 7, 7], IDS[:16], IDS[1:])
        ]
        assert counts == [0, 48, 32, 0, 0]
        assert metric(server, "vllm:prefix_cache_hits_total") == sum(counts)
        assert metric(server, "vllm:prefix_cache_queries_total") == 51 + 51 + 36 + 16 + 50


def test_a_bounded_cache_forgets_the_least_recently_used_ends_first() -> None:
    cache = PrefixCache(max_blocks=4)
    first, second = (array("i", [start] * (3 * BLOCK_TOKENS + 1)) for start in (1, 2))
    cache.add(first)
    cache.add(second)  # takes three of the four places: of the first, its beginning is left
    assert cache.add(first[: BLOCK_TOKENS + 1]) == BLOCK_TOKENS
    assert cache.add(second) == 3 * BLOCK_TOKENS


def test_requests_beyond_its_places_wait_and_those_of_clients_that_leave_are_dropped(vocabulary_folder: Path) -> None:
    with started_server(vocabulary_folder, max_running=1, delay_ms=400) as server:
        threads = [threading.Thread(target=ask, args=(server, [5, i])) for i in range(2)]
        with connection(server) as leaving:
            for thread in threads:
                thread.start()
            leaving.request("POST", "/v1/completions", orjson.dumps({"prompt": [9]}))
            while metric(server, "vllm:num_requests_waiting") < 2:
                pass
            assert metric(server, "vllm:num_requests_running") == 1
        for thread in threads:
            thread.join()
        while metric(server, "vllm:num_requests_running"):
            pass
        assert metric(server, "instructpt:requests_total") == 2


def test_answers_come_from_a_file_by_the_prompt_alone(vocabulary_folder: Path, tmp_path: Path) -> None:
    answers = [f"Answer {i} says that the bridge is {i} metres long." for i in range(5)]
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, answers)))
    with started_server(vocabulary_folder, answers=file, log=tmp_path / "log.jsonl") as server:
        told = [ask(server, [i])[1]["choices"][0]["text"] for i in (*range(20), *range(20))]
        assert told[:20] == told[20:]
        assert set(told) <= set(answers)
        assert len(set(told)) > 2
        cut = ask(server, [3], max_tokens=4)[1]
        assert (cut["choices"][0]["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 4)
    logged = [orjson.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [entry["body"]["prompt"] for entry in logged[:20]] == [[i] for i in range(20)]


def test_troubles_have_their_shares_and_asking_again_may_help() -> None:
    troubles = Troubles(shares("status_400=0.1, status_500=0.2,hang=0.1"), seed=1)
    first = [troubles.draw(bytes([i % 256, i // 256])) for i in range(2000)]
    again = [troubles.draw(bytes([i % 256, i // 256])) for i in range(2000)]
    assert abs(first.count("status_400") - 200) < 60
    assert abs(first.count("status_500") - 360) < 80
    assert [drawn == "status_400" for drawn in first] == [drawn == "status_400" for drawn in again]
    assert [drawn for drawn in first if drawn == "status_500"]
    assert any(one == "status_500" and other is None for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("text", ["fire=0.1", "status_500=0.6,hang=0.6", "hang", "hang=-1", "hang=much"])
def test_troubles_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Troubles(shares(text), seed=0)


@pytest.mark.parametrize("trouble", ["status_400", "status_429", "status_500", "garbage", "half_body", "empty", "slow"])
def test_each_trouble_is_what_it_says(vocabulary_folder: Path, trouble: str) -> None:
    with started_server(vocabulary_folder, trouble=f"{trouble}=1", slow_seconds=0.2) as server:
        with connection(server) as opened:
            opened.request("POST", "/v1/completions", orjson.dumps({"prompt": IDS}))
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
        elif response.status == 200:
            assert (orjson.loads(data)["choices"][0]["text"] == "") == (trouble == "empty")
        assert f'outcome="{trouble}"' in call(server, "/metrics")[1]


def test_chunked_requests_requests_in_pieces_and_connections_that_stay_open(server: StartedServer) -> None:
    body = orjson.dumps({"prompt": IDS, "max_tokens": 5})
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5] + b"\r\n%x\r\n" % len(body[5:]) + body[5:]
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with closing(socket.create_connection((host, int(port)), timeout=20)) as opened, opened.makefile("rb") as answers:
        for data in (head + chunked + b"\r\n0\r\n\r\n", whole, whole + whole):
            for start in range(0, len(data), 50):
                opened.sendall(data[start : start + 50])
        for _ in range(4):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := answers.readline()) != b"\r\n":
                length = int(line.split()[1]) if line.startswith(b"Content-Length") else length
            assert orjson.loads(answers.read(length))["usage"]["prompt_tokens"] == len(IDS)
        opened.sendall(b"nonsense\r\n\r\n")
        assert answers.readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_a_key_is_wanted_where_one_is_set(vocabulary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANNED_KEY", "right")
    with started_server(vocabulary_folder, key_variable="CANNED_KEY") as server:
        assert call(server, "/v1/models")[0] == 401
        assert call(server, "/v1/models", Authorization="Bearer wrong")[0] == 401
        assert call(server, "/v1/models", Authorization="Bearer right")[0] == 200
        assert call(server, "/health")[0] == 200


def test_sigterm_ends_it_and_it_can_be_started_again_at_its_port(vocabulary_folder: Path) -> None:
    with started_server(vocabulary_folder) as server:
        port = int(server.url.removesuffix("/v1").rpartition(":")[2])
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0
        with started_server(vocabulary_folder, port=port) as again:
            assert again.url == server.url
            assert call(again, "/health")[0] == 200


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no tokenizer.json"), started_server(tmp_path):
        pass
