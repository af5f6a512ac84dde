"""The HTTP engine and a scripted server that is well: what is sent, what comes back, what a newcomer does wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from benchmarks.scripted_engine import ScriptedEngine
from benchmarks.scripted_server import ScriptedServer, scripted_server
from instructpt.engines import Completion, Conversation, Form, Message, Sampling, open_engine
from instructpt.engines.http import HttpEngine
from instructpt.errors import EngineError, EngineGoneError, PromptRefusedError, RecipeError
from instructpt.words import vocabulary

IDS = [0, *range(40, 90)]
TALK = Conversation((Message("system", "You write."), Message("user", "The bridge is long. It is old.")))

T = TypeVar("T")


@pytest.fixture(scope="module")
def model(vocabulary_folder: Path) -> str:
    return str(vocabulary_folder)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "requests.jsonl"


@pytest.fixture(scope="module")
def server(model: str, log: Path) -> Iterator[ScriptedServer]:
    with scripted_server(model, log=log, max_model_len=1000) as started:
        yield started


def use(model: str, endpoints: Any, work: Callable[[HttpEngine], Awaitable[T]], **options: Any) -> T:
    """Open the engine, let `work` use it and close it."""

    async def run() -> T:
        engine = HttpEngine(model, endpoints=endpoints, **{"retry_seconds": 0.02, "health_seconds": 0.5} | options)
        try:
            return await asyncio.wait_for(work(engine), timeout=60)
        finally:
            await engine.close()

    return asyncio.run(run())


def sent(log: Path) -> list[Any]:
    return [orjson.loads(line) for line in log.read_bytes().splitlines()]


def test_ids_are_sent_exactly_as_given_and_the_answer_is_the_servers(
    server: ScriptedServer, model: str, log: Path
) -> None:
    answer = use(model, server.url, lambda engine: engine.complete(IDS, Sampling(60)))
    assert answer == asyncio.run(ScriptedEngine(model).complete(IDS, Sampling(60)))
    request = sent(log)[-1]
    assert request["path"] == "/v1/completions"
    assert request["body"]["prompt"] == IDS
    assert (request["body"]["temperature"], request["body"]["max_tokens"]) == (0, 60)
    assert "seed" not in request["body"]


def test_conversations_go_to_the_chat_route(server: ScriptedServer, model: str, log: Path) -> None:
    answer = use(model, server.url, lambda engine: engine.complete(TALK, Sampling(500)))
    assert answer.text
    assert answer.finish == "stop"
    request = sent(log)[-1]
    assert request["path"] == "/v1/chat/completions"
    assert request["body"]["messages"][1] == {"role": "user", "content": "The bridge is long. It is old."}


def test_each_prompt_has_a_seed_of_its_own_and_always_the_same(server: ScriptedServer, model: str, log: Path) -> None:
    async def work(engine: HttpEngine) -> None:
        for prompt, seed in ((IDS, 1), (IDS, 1), (IDS[1:], 1), (IDS, 2)):
            await engine.complete(prompt, Sampling(9, temperature=0.8, seed=seed))

    use(model, server.url, work)
    first, again, other, later = [request["body"]["seed"] for request in sent(log)[-4:]]
    assert first == again
    assert len({first, other, later}) == 3
    assert all(0 <= seed < 2**31 for seed in (first, other, later))


def test_scores_are_those_of_the_server(server: ScriptedServer, model: str) -> None:
    expected = asyncio.run(ScriptedEngine(model).score(IDS, [7, 8]))
    assert use(model, server.url, lambda engine: engine.score(IDS, [7, 8])) == pytest.approx(expected)
    assert use(model, server.url, lambda engine: engine.score(IDS, [])) == []


def test_scores_come_by_echo_from_servers_of_another_kind_and_not_at_all_from_some(model: str) -> None:
    expected = asyncio.run(ScriptedEngine(model).score(IDS, [7, 8]))
    with scripted_server(model, owner="sglang") as server:
        assert use(model, server.url, lambda engine: engine.score(IDS, [7, 8])) == pytest.approx(expected)
    with (
        scripted_server(model, owner="llamacpp", refused_fields=("echo",)) as server,
        pytest.raises(EngineError, match="echo is not supported"),
    ):
        use(model, server.url, lambda engine: engine.score(IDS, [7, 8]))


def test_a_prompt_that_is_too_long_is_refused_with_the_servers_words_and_others_are_not(
    server: ScriptedServer, model: str
) -> None:
    async def work(engine: HttpEngine) -> list[Any]:
        prompts = [IDS, [5] * 991, IDS]
        return await asyncio.gather(*(engine.complete(one, Sampling(10)) for one in prompts), return_exceptions=True)

    first, refused, last = use(model, server.url, work)
    assert isinstance(first, Completion)
    assert first == last
    assert isinstance(refused, PromptRefusedError)
    assert "maximum context length is 1000 tokens" in str(refused)


def test_a_form_is_sent_and_left_out_with_one_warning_once_a_server_refuses_it(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(engine: HttpEngine) -> None:
        for number in range(3):
            await engine.complete([*IDS, number], Sampling(20, form=Form("regex", "a+")))

    log = tmp_path / "log.jsonl"
    with scripted_server(model, log=log, refused_fields=("structured_outputs",)) as server:
        use(model, server.url, work)
    forms = [request["body"].get("structured_outputs") for request in sent(log)]
    assert forms == [{"regex": "a+"}, None, None, None]
    assert [record.levelno for record in caplog.records if "forms" in record.message] == [logging.WARNING]


def test_a_server_without_a_word_for_grammars_is_sent_none_and_that_is_said_once(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(engine: HttpEngine) -> None:
        for number in range(3):
            await engine.complete([*IDS, number], Sampling(20, form=Form("grammar", "%llguidance {}\nstart: /a+/")))

    log = tmp_path / "log.jsonl"
    with scripted_server(model, log=log, owner="somebody") as server:
        use(model, server.url, work)
    assert not any({"structured_outputs", "ebnf", "grammar"} & set(request["body"]) for request in sent(log))
    (said,) = [record.message for record in caplog.records if "forms" in record.message]
    assert said.endswith("takes no forms (grammar): it is not sent them any more")


def test_a_server_that_takes_no_ids_gets_text_without_the_begin_of_text_that_it_adds(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = vocabulary.load(model)
    log = tmp_path / "log.jsonl"
    ids = words.sequence(["The bridge over the river.", "It is long."])
    with scripted_server(model, log=log, refused_fields=("ids",)) as server:
        use(model, server.url, lambda engine: engine.complete(ids, Sampling(20)))
        assert sent(log)[-1]["body"]["prompt"] == "The bridge over the river.</s><s>It is long."
        assert "takes no token ids" in caplog.text
        with pytest.raises(PromptRefusedError, match="ids is not supported"):
            use(model, server.url, lambda engine: engine.complete(ids, Sampling(20)), prompts="ids")
    with scripted_server(model, log=log) as server:
        use(model, server.url, lambda engine: engine.complete(ids, Sampling(20)), prompts="text")
        assert isinstance(sent(log)[-1]["body"]["prompt"], str)


def test_a_chain_goes_on_where_its_prefix_lies_and_the_load_is_shared(model: str) -> None:
    async def work(engine: HttpEngine) -> Any:
        async def chain(number: int) -> None:
            ids = [0, *([number % 50 + 40] * 30), *range(40, 80), number % 300]
            for _ in range(3):
                answer = await engine.complete(ids, Sampling(50))
                ids = [*ids, *([answer.num_tokens] * 40)]

        await asyncio.gather(*(chain(number) for number in range(40)))
        return engine.state()

    with scripted_server(model, delay_ms=20) as first, scripted_server(model, delay_ms=20) as second:
        state = use(model, [first.url, second.url], work)
    assert [endpoint.num_failed for endpoint in state.endpoints] == [0, 0]
    assert min(endpoint.num_answered for endpoint in state.endpoints) >= 40
    # Of each chain, rounds 2 and 3 find what the rounds before them left: 64 and 96 tokens of 111 and 151.
    assert state.num_cached_tokens is not None
    assert state.num_cached_tokens >= 40 * (64 + 96)


def test_the_state_tells_what_a_full_server_takes_and_what_its_cache_held(model: str) -> None:
    async def work(engine: HttpEngine) -> Any:
        tasks = [asyncio.create_task(engine.complete([*IDS, number], Sampling(5))) for number in range(40)]
        while engine.state().capacity is None:
            await asyncio.sleep(0.02)
        capacity = engine.state().capacity
        await asyncio.gather(*tasks)
        return capacity, engine.state()

    with scripted_server(model, max_running=4, delay_ms=150) as server:
        capacity, state = use(model, server.url, work, health_seconds=0.1)
    assert 4 <= capacity <= 8
    assert state.num_prompt_tokens == 40 * 52
    assert state.num_cached_tokens == 39 * 48


def test_no_more_requests_at_once_than_asked_for(model: str) -> None:
    async def work(engine: HttpEngine) -> int:
        tasks = [asyncio.create_task(engine.complete([*IDS, number], Sampling(5))) for number in range(12)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, engine.state().endpoints[0].num_under_way)
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert engine.state().capacity == 3
        return most

    with scripted_server(model, delay_ms=60) as server:
        assert use(model, server.url, work, max_in_flight_per_endpoint=3) == 3


def test_addresses_without_v1_and_with_a_slash_are_understood(server: ScriptedServer, model: str) -> None:
    bare = server.url.removesuffix("/v1")
    for address in (bare, f"{bare}/", bare.removeprefix("http://"), f"{server.url}/completions"):
        assert use(model, address, lambda engine: engine.complete(IDS, Sampling(5))).num_tokens == 5


def test_a_model_served_under_another_name_is_taken_if_it_is_the_only_one(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted_server(model, served_model="mine") as server:
        assert use(model, server.url, lambda engine: engine.complete(IDS, Sampling(5))).num_tokens == 5
        assert "serves mine, which is taken to be" in caplog.text
        with pytest.raises(EngineGoneError, match="serves no yours but mine"):
            use(model, server.url, lambda engine: engine.complete(IDS, Sampling(5)), served_model="yours")


def test_a_missing_or_wrong_key_ends_it_with_the_name_of_the_variable_and_without_the_key(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANNED_KEY", "right-secret")
    with scripted_server(model, key_variable="CANNED_KEY") as server:

        def ask(**options: Any) -> Completion:
            return use(model, server.url, lambda engine: engine.complete(IDS, Sampling(5)), **options)

        assert ask(api_key_variable="CANNED_KEY").num_tokens == 5
        with pytest.raises(EngineGoneError, match=r"refuses requests without a key.*OPENAI_API_KEY"):
            ask()
        monkeypatch.setenv("CANNED_KEY", "wrong-secret")
        with pytest.raises(EngineGoneError, match=r"status 401.*CANNED_KEY") as caught:
            ask(api_key_variable="CANNED_KEY")
        assert "secret" not in str(caught.value)
        own = server.url.replace("//", "//me:wrong-secret@")
        with pytest.raises(EngineGoneError) as caught:
            use(model, own, lambda engine: engine.complete(IDS, Sampling(5)))
        assert "secret" not in str(caught.value)


def test_a_wrong_address_says_what_to_do(server: ScriptedServer, model: str) -> None:
    for address, says in (("http://127.0.0.1:1", "refused"), (f"{server.url[:-3]}/api/v1", "status 404")):
        with pytest.raises(EngineGoneError, match=rf"{says}.*addresses are right"):
            use(model, address, lambda engine: engine.complete(IDS, Sampling(5)), gone_seconds=0.4, health_seconds=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"endpoints": []},
        {"prompts": "words"},
        {"structured": "strictly"},
        {"timeout_seconds": 0},
        {"retries": -1},
        {"max_in_flight_per_endpoint": -2},
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        HttpEngine("model", **{"endpoints": "gpu1:8000"} | options)


def test_it_is_one_of_the_engines_and_closing_it_ends_what_is_under_way(model: str) -> None:
    async def run() -> None:
        engine = open_engine("http", model, endpoints=server.url)
        tasks = [asyncio.create_task(engine.complete(IDS, Sampling(5))) for _ in range(3)]
        await asyncio.sleep(0.5)
        await engine.close()
        await engine.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, EngineError)
            assert "closed" in str(result)
        with pytest.raises(EngineError, match="closed"):
            await engine.complete(IDS, Sampling(5))

    with scripted_server(model, delay_ms=60_000) as server:
        asyncio.run(run())
