"""What the HTTP engine is made of, without a server: addresses, the choice of an endpoint, bodies and answers."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from instructpt.engines import Conversation, Form, Message, Sampling
from instructpt.engines.addresses import read_addresses
from instructpt.engines.endpoints import Endpoints
from instructpt.engines.health import Expected, choose_model, read_metrics
from instructpt.engines.openai_format import (
    FailureError,
    Kind,
    Manners,
    RefusalError,
    can_say,
    completion_body,
    form_fields,
    read_completion,
    read_refusal,
    read_scores,
    without,
)
from instructpt.engines.patience import LEAST_SECONDS, MOST_SECONDS, Patience
from instructpt.engines.places import CacheHits, Flight, Place
from instructpt.errors import EngineError, EngineGoneError, RecipeError

SCHEMA = '{"type": "object"}'
GRAMMAR = "%llguidance {}\nstart: /a+/"


def place(number: int = 0, *, max_in_flight: int = 100) -> Place:
    (address,) = read_addresses(f"http://gpu{number}", key_variable=None)
    made = Place(address, max_in_flight=max_in_flight)
    made.introduce(Manners("vllm", "model", "vllm"))
    return made


def load(one: Place, num_requests: int) -> None:
    one.flights |= {Flight(asyncio.Timeout(None)) for _ in range(num_requests)}


@pytest.mark.parametrize(
    ("given", "name", "root"),
    [
        ("http://gpu1:8000/v1", "http://gpu1:8000/v1", "http://gpu1:8000"),
        ("http://gpu1:8000", "http://gpu1:8000/v1", "http://gpu1:8000"),
        ("gpu1:8000/", "http://gpu1:8000/v1", "http://gpu1:8000"),
        ("https://host/api/v1/chat/completions", "https://host/api/v1", "https://host/api"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai", "https://host/v1beta/openai"),
        ("http://[::1]:9/v1/completions", "http://[::1]:9/v1", "http://[::1]:9"),
    ],
)
def test_addresses_as_people_write_them(given: str, name: str, root: str) -> None:
    (address,) = read_addresses(given, key_variable=None)
    assert (address.name, address.root) == (name, root)


@pytest.mark.parametrize(
    "given", ["", [], "ftp://host", "http://", "http://host:port", "http://a/v1?x=1", "a:1,a:1/v1"]
)
def test_addresses_that_cannot_be_are_refused(given: Any) -> None:
    with pytest.raises(RecipeError):
        read_addresses(given, key_variable=None)


def test_keys_go_where_they_are_meant_to_and_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OTHER_KEY", "ok-secret")
    plain, safe, own = read_addresses("gpu1:8000,https://host,http://me:pass%20word@gpu2", key_variable=None)
    assert (plain.headers, safe.headers) == ({}, {"Authorization": "Bearer sk-secret"})
    assert own.headers["Authorization"] == f"Basic {base64.b64encode(b'me:pass word').decode()}"
    assert own.name == "http://gpu2/v1"
    (named,) = read_addresses("gpu1:8000", key_variable="OTHER_KEY")
    assert named.headers == {"Authorization": "Bearer ok-secret"}
    for address in (plain, safe, own, named):
        assert not any(secret in repr(address) for secret in ("sk-secret", "ok-secret", "pass", "Basic"))
    assert named.blot("no such key: ok-secret") == "no such key: ***"
    with pytest.raises(RecipeError) as caught:
        read_addresses("http://me:word@host:port", key_variable=None)
    assert "word" not in str(caught.value)


def test_what_an_answer_may_take_follows_what_answers_took() -> None:
    patience = Patience()
    assert (patience.seconds(400), patience.seconds(4000)) == (600, 4000)
    patience.answered(2.0, 400)
    assert patience.seconds(400) == LEAST_SECONDS
    patience.answered(30.0, 400)
    assert (patience.seconds(400), patience.seconds(100), patience.seconds(800)) == (150, 150, 300)
    patience.answered(3000.0, 400)
    assert patience.seconds(400) == MOST_SECONDS
    for _ in range(64):
        patience.answered(20.0, 400)
    patience.answered(3000.0, 400)  # one alone
    assert patience.seconds(400) == 100
    assert Patience(7.0).seconds(400) == 7


def test_there_is_patience_with_a_server_that_becomes_slow_by_and_by_or_at_once() -> None:
    patience, took = Patience(), 10.0
    for _ in range(500):
        patience.answered(took, 400)
        took = min(600.0, took * 1.05)
        assert took < patience.seconds(400)
    sudden = Patience()
    sudden.answered(20.0, 400)
    tries = 0
    while sudden.seconds(400) < 600.0:
        sudden.expired()
        tries += 1
    assert tries == 3
    for _ in range(100):
        sudden.expired()
    assert sudden.seconds(400) == 1600
    sudden.answered(20.0, 400)
    assert sudden.seconds(400) == 100


def test_the_least_loaded_gets_it_and_a_prefix_stays_where_it_is() -> None:
    first, second = place(1), place(2)
    endpoints = Endpoints([first, second], gone_seconds=60)
    load(first, 1)
    assert endpoints.choose(b"a") is second
    load(second, 3)
    assert endpoints.choose(b"a") is second
    assert endpoints.choose(b"b") is first
    load(second, 10)  # far more loaded: the chain goes on elsewhere, and stays there
    assert endpoints.choose(b"a") is first
    second.flights.clear()
    assert endpoints.choose(b"a") is first


def test_an_endpoint_that_is_down_full_or_held_back_gets_nothing() -> None:
    first, second = place(1, max_in_flight=2), place(2)
    endpoints = Endpoints([first, second], gone_seconds=60)
    load(second, 2)
    assert endpoints.choose(b"") is first
    assert endpoints.choose(b"", avoid=first) is second
    load(first, 2)
    assert endpoints.choose(b"a") is second
    first.flights.clear()
    first.hold_back(50)
    assert endpoints.choose(b"b") is second
    second.fail("refused", is_gone=True)
    assert endpoints.choose(b"c") is None


def test_three_failures_in_a_row_take_it_out_and_only_an_answer_brings_it_back_for_good() -> None:
    one = place()
    for _ in range(2):
        one.fail("status 500")
    one.answer()
    for _ in range(3):
        assert one.state == "up"
        one.fail("status 500")
    assert one.state == "down"
    one.probe_well()
    assert one.state == "down"  # its probes were good all the time: it has to wait
    one.hold_until = 0.0
    one.probe_well()
    assert (one.state, one.most) == ("trial", 2)
    one.fail("status 500")
    assert (one.state, one.hold_seconds) == ("down", 4.0)
    one.hold_until = 0.0
    one.probe_well()
    one.answer()
    assert (one.state, one.most, one.down_since, one.hold_seconds) == ("up", 100, None, 1.0)


def test_an_endpoint_that_its_probes_found_ill_is_up_with_the_first_good_one() -> None:
    one = place()
    for _ in range(3):
        assert one.state == "up"
        one.probe_badly("no answer", is_gone=False)
    assert one.state == "down"
    one.probe_well()
    assert one.state == "up"


def test_too_many_requests_halve_what_it_gets_and_answers_raise_it_again() -> None:
    one = place()
    load(one, 39)
    one.push_back(0.0)
    one.push_back(0.0)  # sent together: halved once
    assert one.most == 20
    for _ in range(30):
        one.answer()
    assert 21 < one.most < 22
    assert one.capacity() == int(one.most)


def test_all_is_over_when_no_place_is_left_and_the_error_says_why() -> None:
    first, second = place(1), place(2)
    endpoints = Endpoints([first, second], gone_seconds=5)
    for one in (first, second):
        one.fail("cannot connect", is_gone=True)
    endpoints.check()
    assert endpoints.choose(b"") is None
    first.down_since = second.down_since = time.monotonic() - 6
    endpoints.check()
    with pytest.raises(EngineGoneError, match=r"gpu1/v1 \(cannot connect\), http://gpu2.* same command again"):
        asyncio.run(endpoints.acquire(b""))


def test_too_many_requests_are_warned_of_once_and_after_a_while_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    one = place(1)
    endpoints = Endpoints([one], gone_seconds=6)
    one.push_back(0.0)
    endpoints.check()
    assert not caplog.messages
    one.pushed_back_since = time.monotonic() - 16
    endpoints.check()
    endpoints.check()
    (warned,) = caplog.messages
    assert "too many requests" in warned
    assert "for 30 seconds" in warned
    one.pushed_back_since = time.monotonic() - 31
    endpoints.check()
    with pytest.raises(EngineGoneError, match="too many requests"):
        asyncio.run(endpoints.acquire(b""))


def test_who_waits_for_a_place_gets_the_next_one() -> None:
    async def run() -> int:
        one = place(max_in_flight=1)
        endpoints = Endpoints([one], gone_seconds=60)
        done = 0

        async def work() -> None:
            nonlocal done
            await endpoints.acquire(b"")
            assert not one.flights
            load(one, 1)
            await asyncio.sleep(0)
            one.flights.clear()
            endpoints.wake()
            done += 1

        tasks = [asyncio.create_task(work()) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[5:20]:
            task.cancel()
        await asyncio.wait(tasks, timeout=60)
        return done

    assert asyncio.run(run()) == 35


@pytest.mark.parametrize(
    ("kind", "regex", "schema", "grammar"),
    [
        (
            "vllm",
            {"structured_outputs": {"regex": "a+"}},
            {"structured_outputs": {"json": {"type": "object"}}},
            {"structured_outputs": {"grammar": GRAMMAR}},
        ),
        ("sglang", {"regex": "a+"}, {"json_schema": SCHEMA}, {"ebnf": GRAMMAR}),
        ("llamacpp", {}, {"json_schema": {"type": "object"}}, {"grammar": GRAMMAR}),
        ("openai", {}, {}, {}),
    ],
)
def test_forms_are_spelled_as_each_server_spells_them(
    kind: Kind, regex: dict[str, Any], schema: dict[str, Any], grammar: dict[str, Any]
) -> None:
    forms = (Form("regex", "a+"), Form("json", SCHEMA), Form("grammar", GRAMMAR))
    fields = [form_fields(form, kind, is_chat=False) for form in forms]
    assert fields == [regex, schema, grammar]
    assert [can_say(form, kind) for form in forms] == [bool(regex), True, bool(grammar)]


def test_a_form_in_chat_is_openais_where_there_is_no_other() -> None:
    fields = form_fields(Form("json", SCHEMA), "openai", is_chat=True)
    assert fields["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_bodies_say_what_is_drawn_and_nothing_that_a_hosted_server_may_not_know() -> None:
    plain = Manners("openai", "model", None)
    body = completion_body([1, 2], Sampling(7), manners=plain, seed=5)
    assert body == {"prompt": [1, 2], "model": "model", "temperature": 0.0, "max_tokens": 7}
    drawn = completion_body([1, 2], Sampling(7, temperature=0.5), manners=plain, seed=5)
    assert (drawn["seed"], drawn["top_p"]) == (5, 1.0)
    vllm = completion_body([1], Sampling(7), manners=Manners("vllm", "model", "vllm"), seed=5)
    assert (vllm["repetition_penalty"], vllm["top_k"]) == (1.0, -1)
    renamed = Manners("openai", "model", None, refused=frozenset({"max_tokens"}))
    chat = completion_body(Conversation((Message("user", "Hi"),)), Sampling(7), manners=renamed, seed=5)
    assert chat["messages"] == [{"role": "user", "content": "Hi"}]
    assert chat["max_completion_tokens"] == 7
    assert "max_tokens" not in chat


@pytest.mark.parametrize(
    ("refusal", "form", "left_out"),
    [
        (RefusalError(400, "grammar error"), Form("regex", "a"), "regex"),
        (RefusalError(400, "use 'max_completion_tokens' instead"), None, "max_tokens"),
        (RefusalError(400, "unsupported value", "temperature"), None, "temperature"),
        (RefusalError(422, "Input should be a valid string"), None, "ids"),
        (RefusalError(400, "This model's maximum context length is 5 tokens"), None, None),
        (RefusalError(413, "too large"), Form("regex", "a"), None),
    ],
)
def test_what_a_server_may_not_know_is_left_out(refusal: RefusalError, form: Form | None, left_out: str | None) -> None:
    manners = Manners("vllm", "model", "vllm")
    body = completion_body([1], Sampling(7, form=form), manners=manners, seed=0)
    fewer = without(manners, body, form, refusal)
    assert (fewer and fewer.refused) == (None if left_out is None else {left_out})


def response(change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    body = {
        "choices": [{"text": "It </s> is <CON> é.", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
    }
    change(body)
    return orjson.dumps(body)


def test_answers_are_read_with_their_counts() -> None:
    answer = read_completion(response(), max_new_tokens=5, is_chat=False)
    assert answer.completion.text == "It </s> is <CON> é."
    assert (answer.completion.num_tokens, answer.completion.finish) == (5, "stop")
    assert (answer.num_prompt_tokens, answer.num_cached_tokens) == (9, 4)
    bare = read_completion(
        response(lambda body: body["usage"].pop("prompt_tokens_details")), max_new_tokens=5, is_chat=False
    )
    assert bare.num_cached_tokens is None
    cut = read_completion(
        response(lambda body: body["choices"][0].pop("finish_reason")), max_new_tokens=5, is_chat=False
    )
    assert cut.completion.finish == "length"


@pytest.mark.parametrize(
    "data",
    [
        b"<html>Bad gateway</html>",
        b"",
        b"[]",
        b'{"error": {"message": "overloaded"}}',
        response(lambda body: body["choices"].clear()),
        response(lambda body: body["choices"][0].pop("text")),
        response(lambda body: body["choices"][0].update(text=5)),
        response(lambda body: body["choices"][0].update(finish_reason="abort")),
        response(lambda body: body.pop("usage")),
        response(lambda body: body["usage"].update(completion_tokens="many")),
    ],
)
def test_what_is_no_answer_is_garbage(data: bytes) -> None:
    with pytest.raises(FailureError):
        read_completion(data, max_new_tokens=5, is_chat=False)


def test_an_answer_that_a_filter_stopped_is_refused() -> None:
    data = response(lambda body: body["choices"][0].update(finish_reason="content_filter"))
    with pytest.raises(RefusalError, match="content filter"):
        read_completion(data, max_new_tokens=5, is_chat=False)


def test_scores_are_read_in_both_spellings() -> None:
    tables = [None, {"5": {"logprob": -1.0}}, {"9": {"logprob": -0.1}, "6": {"logprob": -2.0}}]
    theirs = orjson.dumps({"choices": [{"prompt_logprobs": tables}]})
    openais = orjson.dumps({"choices": [{"logprobs": {"token_logprobs": [None, -1.0, -2.0, -3.0]}}]})
    for data in (theirs, openais):
        assert read_scores(data, ids=[4, 5, 6], num_prompt_tokens=1) == [-1.0, -2.0]
    for data in (b"{}", orjson.dumps({"choices": [{"logprobs": {"token_logprobs": [-3.0]}}]})):
        with pytest.raises(FailureError):
            read_scores(data, ids=[4, 5, 6], num_prompt_tokens=1)


@pytest.mark.parametrize(
    "data",
    [
        b'{"error": {"message": "too long\\nand more", "param": "prompt", "code": 400}}',
        b'{"object": "error", "message": "too long", "param": "prompt"}',
        b'{"detail": "too long", "param": "prompt"}',
    ],
)
def test_refusals_are_read_in_their_usual_forms(data: bytes) -> None:
    refusal = read_refusal(400, data)
    assert (refusal.message, refusal.field) == ("too long", "prompt")


def test_long_and_strange_refusals_are_one_short_line() -> None:
    assert len(read_refusal(400, b"x" * 10_000).message) == 300
    assert read_refusal(400, b"").message == "no reason given"
    assert "\x1b" not in read_refusal(400, b"\x1b[31mred\nblue").message


def test_the_name_of_the_model_is_found_out_where_it_can_be() -> None:
    one = place()
    for names, wanted, expected in (
        (["a", "/models/mine"], Expected("/models/mine", None, "auto"), "/models/mine"),
        (["a", "mine"], Expected("/models/mine", None, "auto"), "mine"),
        (["a"], Expected("/models/mine", None, "auto"), "a"),
        (["a", "b"], Expected("/models/mine", "b", "auto"), "b"),
    ):
        assert choose_model(names, wanted=wanted, place=one) == expected
    for names, wanted in (
        (["a", "b"], Expected("mine", None, "auto")),
        (["a", "b"], Expected("mine", "c", "auto")),
        ([], Expected("mine", None, "auto")),
    ):
        with pytest.raises(EngineGoneError, match="served_model"):
            choose_model(names, wanted=wanted, place=one)


def test_counters_are_summed_over_engines_and_survive_a_restart_of_the_server() -> None:
    text = '# TYPE hits counter\nhits{engine="0",name="a b"} 5.0\nhits{engine="1"} 1e1\nother 3\nhits_else 9\n'
    assert read_metrics(text, ["hits", "other"]) == {"hits": 15.0, "other": 3.0}
    hits = CacheHits()
    told = []
    for counter in (100, 150, 20, 25):
        hits.read(counter)
        told.append(hits.num_tokens)
    assert told == [0, 50, 70, 75]


def test_end_reaches_those_who_sleep_and_wait() -> None:
    async def run() -> list[Any]:
        endpoints = Endpoints([place(max_in_flight=0)], gone_seconds=60)
        tasks = [asyncio.create_task(endpoints.acquire(b"")), asyncio.create_task(endpoints.wait_for_end(60))]
        await asyncio.sleep(0)
        endpoints.end(EngineError("closed"))
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    waited, slept = asyncio.run(run())
    assert isinstance(waited, EngineError)
    assert slept is None
