"""A judge behind a real server: what it says is read, what goes wrong is counted, and the key goes nowhere else."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import NO, YES, Reply, Server, serve

from instructpt.errors import EngineError, InputError, RecipeError
from instructpt.records import Document, Pair, Reject
from instructpt.verification.judge import Verdict, judge, load_template, read_verdict, write_prompt
from instructpt.verification.judge.endpoint import KEY_VARIABLE, Endpoint

KEY = "secret-of-the-test"
PASSAGE = Document("d", "The heron waits in shallow water. {question} </passage>", "birds")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


def endpoint(server: Server, **changes: Any) -> Endpoint:
    return Endpoint(server.url, "wise-model", **{"back_off_seconds": 0.001, "num_attempts": 3, **changes})


def items(count: int) -> list[tuple[Document, Pair]]:
    return [(PASSAGE, Pair(f"Question {i}?", "A heron.")) for i in range(count)]


def number(prompt: str) -> int:
    return int(prompt.partition("Question ")[2].partition("?")[0])


def test_verdicts_come_in_order_and_equal_pairs_are_asked_once(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (200, YES if number(prompt) % 2 else f"Let me see. {NO} So be it.")
    work = items(9) + items(9)
    found = judge(work, endpoint=endpoint(server), replies=tmp_path / "replies.jsonl", max_in_flight=3)
    assert found == [Verdict(bool(i % 2), True) for i in range(9)] * 2
    assert len(server.asked) == 9
    assert server.most_under_way <= 3
    assert {(body["model"], body["temperature"]) for body in server.bodies} == {("wise-model", 0)}


def test_what_is_no_verdict_is_counted_by_its_reason(server: Server, tmp_path: Path) -> None:
    def behave(prompt: str, count: int) -> Reply:
        return [
            (200, YES),
            (200, "I would rather not say."),
            (200, '{"accuracy": "maybe", "relevance": "yes"}'),
            (400, "too long"),
            (429, "slow down") if count == 0 else (200, NO),
            (500, "broken for good"),
        ][number(prompt)]

    server.behaviour = behave
    found = judge(items(6), endpoint=endpoint(server), replies=tmp_path / "replies.jsonl")
    reasons = [item.reason if isinstance(item, Reject) else item for item in found]
    assert reasons == [Verdict(True, True), "unparsable", "unparsable", "http_400", Verdict(False, True), "http_500"]
    tries = Counter(map(number, server.asked))
    assert tries == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 3}


def test_a_run_that_was_stopped_asks_only_for_the_rest(server: Server, tmp_path: Path) -> None:
    replies = tmp_path / "replies.jsonl"
    judge(items(4), endpoint=endpoint(server), replies=replies)
    whole = replies.read_bytes()
    replies.write_bytes(whole[:-20])  # a kill in the middle of a line
    server.asked.clear()
    assert judge(items(6), endpoint=endpoint(server), replies=replies) == [Verdict(True, True)] * 6
    assert len(server.asked) == 3
    server.asked.clear()
    judge(items(6), endpoint=endpoint(server), replies=replies)
    assert not server.asked


def test_a_failed_request_is_asked_again_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (500, "") if number(prompt) else (200, YES)
    replies = tmp_path / "replies.jsonl"
    found = judge(items(2), endpoint=endpoint(server), replies=replies)
    assert isinstance(found[1], Reject)
    server.behaviour = lambda prompt, _: (200, NO)
    assert judge(items(2), endpoint=endpoint(server), replies=replies)[1] == Verdict(False, True)


def test_a_judge_that_never_answers_stops_the_run(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (503, "overloaded")
    with pytest.raises(EngineError, match=r"answered none of 3 requests.*http_503, overloaded"):
        judge(items(3), endpoint=endpoint(server), replies=tmp_path / "replies.jsonl")


@pytest.mark.parametrize(("status", "message"), [(401, "refuses the key"), (403, "refuses the key"), (404, "no model")])
def test_a_wrong_key_or_model_is_told_at_once(server: Server, tmp_path: Path, status: int, message: str) -> None:
    server.behaviour = lambda prompt, _: (status, "")
    with pytest.raises(InputError, match=message):
        judge(items(3), endpoint=endpoint(server), replies=tmp_path / "replies.jsonl", max_in_flight=1)


def test_the_key_is_sent_and_found_nowhere_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f" {KEY}\n")
    server.behaviour = lambda prompt, _: (400, f"bad key {KEY}?") if number(prompt) else (200, f"{YES}")
    found = judge(items(2), endpoint=endpoint(server), replies=tmp_path / "replies.jsonl")
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert found[1] == Reject("bad key ***?", "http_400")
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in repr(endpoint(server))


def test_without_a_key_no_header_is_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    judge(items(1), endpoint=endpoint(server), replies=tmp_path / "replies.jsonl")
    assert server.keys == [None]


def test_a_redirect_is_refused_for_it_would_carry_the_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    server.headers = {"Location": "http://127.0.0.1:9/elsewhere"}
    server.behaviour = lambda prompt, _: (302, "")
    with pytest.raises(InputError, match="check address and name"):
        endpoint(server).ask("hello", stopped=threading.Event())
    assert len(server.asked) == 1


def test_no_server_and_a_slow_server_are_reasons(server: Server) -> None:
    gone = Endpoint("http://127.0.0.1:9/v1", "m", num_attempts=2, back_off_seconds=0.001).ask(
        "hello", stopped=threading.Event()
    )
    assert isinstance(gone, Reject)
    assert gone.reason == "no_connection"
    wait = threading.Event()
    server.behaviour = lambda prompt, _: (200, YES) if wait.wait(5) else (500, "")
    slow = endpoint(server, timeout_seconds=0.05, num_attempts=1).ask("hello", stopped=threading.Event())
    wait.set()
    assert isinstance(slow, Reject)
    assert slow.reason == "timeout"


def test_a_stopped_run_does_not_wait_for_its_retries(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (401, "") if number(prompt) else (500, "")
    patient = endpoint(server, back_off_seconds=60.0)
    started = time.monotonic()
    with pytest.raises(InputError, match="refuses the key"):
        judge(items(2)[::-1], endpoint=patient, replies=tmp_path / "replies.jsonl")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("url", "model", "message"),
    [
        ("localhost:8000", "m", "give one such as"),
        ("file:///etc/passwd", "m", "give one such as"),
        ("http://user:pass@host/v1", "m", "holds a password"),
        ("http://host/v1", "", "not named"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Endpoint(url, model)


def test_the_prompt_holds_the_pair_as_it_is() -> None:
    template = load_template("english")
    pair = Pair("Which {answer}?", "fish", ("fish", "frog"), rationale="It strikes {passage}.")
    prompt = write_prompt(PASSAGE, pair, template=template)
    assert PASSAGE.text in prompt
    assert "Which {answer}?\nOptions:\n- fish\n- frog\n" in prompt
    assert "It strikes {passage}.\nConclusion: fish\n" in prompt
    assert prompt.endswith('{"accuracy": "...", "relevance": "..."}\n')


def test_a_language_without_a_prompt_is_refused() -> None:
    with pytest.raises(RecipeError, match="no prompt in 'klingon': choose from english"):
        load_template("klingon")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (YES, Verdict(True, True)),
        ('```json\n{"relevance": "No", "accuracy": " YES "}\n```', Verdict(True, False)),
        (f"First I thought {YES}, but: {NO}", Verdict(False, True)),
        ('{"accuracy": true, "relevance": "yes"}', None),
        ('{"accuracy": "yes"}', None),
        ("{broken", None),
        ("", None),
    ],
)
def test_a_verdict_is_the_last_object_of_a_reply(reply: str, verdict: Verdict | None) -> None:
    assert read_verdict(reply) == (verdict or Reject(reply, "unparsable"))
