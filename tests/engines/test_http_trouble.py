"""The HTTP engine with servers in trouble: every request is answered in the end, or fails for a reason that is told."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.scripted_engine import ScriptedEngine
from benchmarks.scripted_server import scripted_server, started_server
from instructpt.engines import Completion, EngineState, Sampling, patience
from instructpt.engines.http import HttpEngine
from instructpt.errors import EngineError, EngineGoneError, PromptRefusedError

PROMPTS = [[0, 40 + number % 250, *range(40, 80), number // 250 + 40] for number in range(60)]
QUICK = {"retry_seconds": 0.02, "health_seconds": 0.2, "gone_seconds": 20.0, "timeout_seconds": 20.0}


@pytest.fixture(scope="module")
def model(vocabulary_folder: Path) -> str:
    return str(vocabulary_folder)


def answers(model: str, endpoints: Any, *, during: Callable[[HttpEngine], Any] | None = None, **options: Any) -> Any:
    """What each of PROMPTS gets (an answer or an error), and the state at the end. during: work beside it."""

    async def run() -> tuple[list[Any], EngineState]:
        engine = HttpEngine(model, endpoints=endpoints, **QUICK | options)
        try:
            asked = [asyncio.ensure_future(engine.complete(prompt, Sampling(40))) for prompt in PROMPTS]
            if during is not None:
                await during(engine)
            results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), timeout=60)
            return results, engine.state()
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def expected(model: str) -> list[Completion]:
    async def run() -> list[Completion]:
        engine = ScriptedEngine(model)
        return [await engine.complete(prompt, Sampling(40)) for prompt in PROMPTS]

    return asyncio.run(run())


def port(url: str) -> int:
    return int(url.removesuffix("/v1").rpartition(":")[2])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "trouble",
    ["status_500=0.3", "garbage=0.3", "half_body=0.3", "status_429=0.3", "hang=0.05,slow=0.1"],
)
def test_troubles_that_pass_cost_no_answer(model: str, expected: list[Completion], trouble: str) -> None:
    with scripted_server(model, trouble=trouble, retry_after_seconds=0, slow_seconds=3) as server:
        results, state = answers(model, server.url, timeout_seconds=1.0)
    assert results == expected
    (endpoint,) = state.endpoints
    assert endpoint.num_answered == len(PROMPTS)
    assert (endpoint.num_failed > 0) == ("429" not in trouble)
    assert (state.capacity is not None) == ("429" in trouble)


def test_a_server_that_gets_slower_by_and_by_is_waited_for(
    model: str, expected: list[Completion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answers take twice as long as is waited at the least, at each try."""
    monkeypatch.setattr(patience, "LEAST_SECONDS", 0.6)
    with scripted_server(model, slower_ms=20) as server:
        results, _ = answers(model, server.url, timeout_seconds=None, retries=1, max_in_flight_per_endpoint=6)
    assert results == expected


def test_what_hangs_is_asked_elsewhere_and_nothing_is_lost_or_answered_twice(
    model: str, expected: list[Completion], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(patience, "START_SECONDS", 1.0)
    monkeypatch.setattr(patience, "LEAST_SECONDS", 0.3)
    logs = tmp_path / "sick.log", tmp_path / "well.log"
    with scripted_server(model, trouble="hang=0.4", log=logs[0]) as sick, scripted_server(model, log=logs[1]) as well:
        options = {"timeout_seconds": None, "max_in_flight_per_endpoint": 8}
        results, state = answers(model, [sick.url, well.url], **options)
    assert results == expected
    assert state.endpoints[0].num_failed > 0
    assert sum(endpoint.num_answered for endpoint in state.endpoints) == len(PROMPTS)
    asked = [tuple(orjson.loads(line)["body"]["prompt"]) for log in logs for line in log.read_bytes().splitlines()]
    assert set(asked) == set(map(tuple, PROMPTS))
    assert len(asked) <= len(PROMPTS) + sum(endpoint.num_failed for endpoint in state.endpoints)


def test_a_time_out_says_what_was_waited_for_and_how_to_wait_longer(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "START_SECONDS", 0.2)
    with scripted_server(model, trouble="hang=1") as server:
        for given, says in ((None, "its first answer, of up to 40 tokens"), (0.2, "as the engine option")):
            results, _ = answers(model, server.url, timeout_seconds=given, retries=0, gone_seconds=1.0)
            (told,) = {str(result).partition(", ")[2] for result in results if "no answer after 1" in str(result)}
            assert says in told
            assert "timeout_seconds" in told


def test_prompts_that_are_refused_fail_alone_and_are_asked_once(model: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with scripted_server(model, trouble="status_400=0.3", log=log) as server:
        results, state = answers(model, server.url)
    kinds = Counter(type(result) for result in results)
    assert kinds[PromptRefusedError] + kinds[Completion] == len(PROMPTS)
    assert kinds[PromptRefusedError] > 5
    assert len(log.read_bytes().splitlines()) == len(PROMPTS)
    assert state.endpoints[0].num_failed == 0


def test_a_server_that_is_killed_midway_and_started_again_costs_no_answer(
    model: str, expected: list[Completion]
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(started_server(model, delay_ms=200, max_running=8))

        async def kill_and_restart(engine: HttpEngine) -> None:
            await until(lambda: engine.state().endpoints[0].num_answered >= 8)
            first.process.kill()
            await until(lambda: not engine.state().endpoints[0].is_healthy)
            stack.enter_context(scripted_server(model, port=port(first.url)))

        results, state = answers(model, first.url, during=kill_and_restart)
    assert results == expected
    assert state.endpoints[0].is_healthy


def test_requests_move_from_a_server_that_hangs_to_one_that_is_well(model: str, expected: list[Completion]) -> None:
    with started_server(model, delay_ms=300) as sick, scripted_server(model) as well:

        async def stop(engine: HttpEngine) -> None:
            await until(lambda: engine.state().endpoints[0].num_under_way >= 20)
            os.kill(sick.process.pid, signal.SIGSTOP)

        results, state = answers(model, [sick.url, well.url], during=stop, timeout_seconds=500.0)
    assert results == expected
    assert not state.endpoints[0].is_healthy
    assert state.endpoints[1].num_answered >= 40


def test_a_server_that_only_fails_is_taken_out_and_the_other_does_the_work(
    model: str, expected: list[Completion]
) -> None:
    async def until_taken_out(engine: HttpEngine) -> None:
        await until(lambda: not engine.state().endpoints[0].is_healthy)

    with scripted_server(model, trouble="status_500=1") as sick, scripted_server(model) as well:
        results, state = answers(model, [sick.url, well.url], during=until_taken_out)
    assert results == expected
    assert state.endpoints[0].num_answered == 0


def test_servers_whose_key_model_or_address_is_wrong_are_named_and_the_others_do_the_work(
    model: str, expected: list[Completion], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CANNED_KEY", "nobody-has-it")
    with (
        scripted_server(model, key_variable="CANNED_KEY") as locked,
        scripted_server(model, served_model="another") as other,
        scripted_server(model) as well,
    ):
        urls = [locked.url, other.url, well.url]
        results, state = answers(model, urls, served_model=model)
        with pytest.raises(EngineGoneError, match=r"refuses requests without a key|serves no"):
            raise answers(model, urls[:2], served_model=model)[0][0]
    assert results == expected
    assert [endpoint.is_healthy for endpoint in state.endpoints] == [False, False, True]
    for url, why in ((locked.url, "status 401"), (other.url, "serves no")):
        assert any(url in line and why in line and "the other endpoints go on" in line for line in caplog.messages)


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_turns_its_back_midway_loses_no_answer(
    model: str, expected: list[Completion], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_question = (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST")
        body = orjson.dumps({"data": [{"id": model}]})
        head = b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (status if is_question else 200, len(body)) + body)
        writer.close()

    async def run(well: str) -> tuple[list[Any], EngineState]:
        async with await asyncio.start_server(turn, "127.0.0.1", 0) as server:
            turned = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            engine = HttpEngine(model, endpoints=[turned, well], **QUICK)
            try:
                asked = [engine.complete(prompt, Sampling(40)) for prompt in PROMPTS]
                return await asyncio.wait_for(asyncio.gather(*asked), timeout=60), engine.state()
            finally:
                await engine.close()

    with scripted_server(model) as well:
        results, state = asyncio.run(run(well.url))
    assert results == expected
    assert (state.endpoints[0].is_healthy, state.endpoints[0].num_answered) == (False, 0)
    assert sum("gets no more requests" in line for line in caplog.messages) == 1


def test_a_server_may_be_started_after_its_engine(model: str, expected: list[Completion]) -> None:
    with scripted_server(model) as server:
        address = server.url
    with ExitStack() as stack:

        async def start(engine: HttpEngine) -> None:
            await asyncio.sleep(0.3)
            stack.enter_context(scripted_server(model, port=port(address)))

        results, _ = answers(model, address, during=start)
    assert results == expected


def test_a_request_that_always_fails_says_so_after_its_retries(model: str) -> None:
    with scripted_server(model, trouble="status_500=0.9") as server:
        results, _ = answers(model, server.url, retries=1, gone_seconds=2.0)
    errors = [result for result in results if isinstance(result, EngineError)]
    assert errors
    for error in errors:
        assert "no answer after 2 tries" in str(error) or isinstance(error, EngineGoneError)


def test_when_all_servers_are_dead_all_requests_fail_and_say_how_to_go_on(model: str) -> None:
    with started_server(model, delay_ms=60_000) as first, started_server(model, delay_ms=60_000) as second:

        async def kill(engine: HttpEngine) -> None:
            await until(lambda: sum(endpoint.num_under_way for endpoint in engine.state().endpoints) == len(PROMPTS))
            first.process.kill()
            os.kill(second.process.pid, signal.SIGSTOP)

        urls = [first.url, second.url]
        results, _ = answers(model, urls, during=kill, gone_seconds=1.0)
    assert all(isinstance(result, EngineGoneError) for result in results)
    for says in (*urls, "refused", "no whole answer in 0.2 s", "same command again"):
        assert says in str(results[0])


def test_a_server_that_says_too_many_for_ever_is_told_of_and_given_up(model: str) -> None:
    async def look(engine: HttpEngine) -> None:
        await until(lambda: "too many requests" in engine.state().endpoints[0].trouble)

    with scripted_server(model, trouble="status_429=1", retry_after_seconds=0) as server:
        results, _ = answers(model, server.url, during=look, gone_seconds=0.3)
    assert all(isinstance(result, EngineGoneError) for result in results)
    for word in ("too many requests", "for 1.5 seconds"):
        assert word in str(results[0])


@pytest.mark.parametrize("status", [400, 500])
def test_no_error_tells_a_secret_even_if_the_server_repeats_it(
    model: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async def parrot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        said = {"data": [{"id": "m"}]} if "/models" in head else {"error": {"message": repr(head)}}
        body = orjson.dumps(said)
        shown = 200 if head.startswith("GET") else status
        writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (shown, len(body)) + body)
        writer.close()

    async def run(user: str) -> list[str]:
        server = await asyncio.start_server(parrot, "127.0.0.1", 0)
        address = f"http://{user}127.0.0.1:{server.sockets[0].getsockname()[1]}"
        engine = HttpEngine(model, endpoints=address, retries=0, api_key_variable="CANNED_KEY", **QUICK)
        try:
            with pytest.raises(EngineError) as caught:
                await asyncio.wait_for(engine.complete(PROMPTS[0], Sampling(5)), timeout=60)
            return [str(caught.value), repr(caught.value), repr(engine.state())]
        finally:
            await engine.close()
            server.close()
            await server.wait_closed()

    monkeypatch.setenv("CANNED_KEY", "the-secret")
    basic = base64.b64encode(b"me:the-secret").decode()
    for user in ("", "me:the-secret@"):
        told = "".join(asyncio.run(run(user)))
        assert "***" in told
        assert "the-secret" not in told
        assert basic not in told
