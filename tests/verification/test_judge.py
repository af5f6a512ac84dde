"""A judge behind a real server: what it says is read, what goes wrong is counted, and the key goes nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import NO, YES, Reply, Server, serve

from instructpt.errors import EngineError, EngineGoneError, RecipeError
from instructpt.records import Document, Pair, Reject
from instructpt.verification.judge import (
    KEY_VARIABLE,
    Verdict,
    ask_all,
    judge,
    load_template,
    read_verdict,
    write_prompt,
)
from instructpt.verification.judge import Server as Judge

KEY = "secret-of-the-test"
PASSAGE = Document("d", "The heron waits in shallow water. {question} </passage>", "birds")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


def asked_at(server: Server, **options: Any) -> Judge:
    quick = {"retry_seconds": 0.001, "retries": 2, "gone_seconds": 5.0, "health_seconds": 0.1}
    return Judge(server.url, "wise-model", {**quick, **options})


def items(count: int) -> list[tuple[Document, Pair]]:
    return [(PASSAGE, Pair(f"Question {i}?", "A heron.")) for i in range(count)]


def number(prompt: str) -> int:
    return int(prompt.partition("Question ")[2].partition("?")[0])


def test_verdicts_come_in_order_and_equal_pairs_are_asked_once(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (200, YES if number(prompt) % 2 else f"Let me see. {NO} So be it.")
    work = items(9) + items(9)
    found = judge(work, server=asked_at(server, max_in_flight_per_endpoint=3), replies=tmp_path / "ledger.sqlite")
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
    found = judge(items(6), server=asked_at(server), replies=tmp_path / "ledger.sqlite")
    reasons = [item.reason if isinstance(item, Reject) else item for item in found]
    assert reasons == [
        Verdict(True, True),
        "unparsable",
        "unparsable",
        "prompt_refused",
        Verdict(False, True),
        "engine_error",
    ]
    tries = Counter(map(number, server.asked))
    assert tries == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 3}


def test_a_run_that_was_stopped_asks_only_for_the_rest(server: Server, tmp_path: Path) -> None:
    replies = tmp_path / "ledger.sqlite"

    def stop(num_done: int) -> None:
        if num_done == 4:
            raise OSError("stopped")

    with pytest.raises(OSError, match="stopped"):
        judge(items(6), server=asked_at(server, max_in_flight_per_endpoint=1), replies=replies, on_progress=stop)
    num_asked = len(server.asked)
    server.asked.clear()
    assert judge(items(6), server=asked_at(server), replies=replies) == [Verdict(True, True)] * 6
    assert num_asked >= 4
    assert len(server.asked) <= 3  # two, and one that the first run sent as it stopped may come in late
    server.asked.clear()
    judge(items(6), server=asked_at(server), replies=replies)
    assert not server.asked


def test_a_failed_request_is_asked_again_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (500, "") if number(prompt) else (200, YES)
    replies = tmp_path / "ledger.sqlite"
    found = judge(items(2), server=asked_at(server), replies=replies)
    assert isinstance(found[1], Reject)
    server.behaviour = lambda prompt, _: (200, NO)
    assert judge(items(2), server=asked_at(server), replies=replies)[1] == Verdict(False, True)


def test_a_judge_that_never_answers_stops_the_run(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda prompt, _: (503, "overloaded")
    with pytest.raises(EngineError, match=r"503.*overloaded"):
        judge(items(3), server=asked_at(server, gone_seconds=1.0), replies=tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(("status", "message"), [(401, KEY_VARIABLE), (403, KEY_VARIABLE), (404, "serves wise-model")])
def test_a_wrong_key_or_model_is_told_at_once(server: Server, tmp_path: Path, status: int, message: str) -> None:
    server.behaviour = lambda prompt, _: (status, "")
    with pytest.raises(EngineGoneError, match=message):
        judge(items(3), server=asked_at(server), replies=tmp_path / "ledger.sqlite")


def test_of_two_endpoints_the_one_that_answers_does_the_work(server: Server, tmp_path: Path) -> None:
    with serve() as locked:
        locked.behaviour = lambda prompt, _: (401, "")
        both = Judge(f"{locked.url},{server.url}", "wise-model", {"health_seconds": 0.1})
        assert judge(items(9), server=both, replies=tmp_path / "ledger.sqlite") == [Verdict(True, True)] * 9
    assert len(server.asked) == 9


def test_the_key_is_sent_and_found_nowhere_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f" {KEY}\n")
    server.behaviour = lambda prompt, _: (400, f"bad key {KEY}?") if number(prompt) else (200, f"{YES}")
    found = judge(items(2), server=asked_at(server), replies=tmp_path / "ledger.sqlite")
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert isinstance(found[1], Reject)
    assert found[1].text.endswith("bad key ***?")
    assert KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in repr(asked_at(server))


def test_without_a_key_no_header_is_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    judge(items(1), server=asked_at(server), replies=tmp_path / "ledger.sqlite")
    assert server.keys == [None]


def test_a_redirect_is_refused_for_it_would_carry_the_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    server.headers = {"Location": "http://127.0.0.1:9/elsewhere"}
    server.behaviour = lambda prompt, _: (302, "")
    with pytest.raises(EngineGoneError, match="redirects elsewhere"):
        ask_all(["hello"], server=asked_at(server), replies=tmp_path / "ledger.sqlite")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "model", "message"),
    [
        ("file:///etc/passwd", "m", "give one such as"),
        ("http://host/v1", "", "not named"),
        ("http://user:pass@host/v1", "m", "over plain http"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, model: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        Judge(url, model)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://gpu1:8000/v1", "gpu1", "http://127.example.org", "https://a,http://10.0.0.1/v1"]
)
def test_the_key_never_goes_over_plain_http_to_another_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    Judge(url, "m")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with pytest.raises(
        RecipeError, match=rf"over plain http.*give an https address, or unset {KEY_VARIABLE}"
    ) as caught:
        Judge(url, "m")
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://127.0.0.2/v1", "http://[::1]:9", "https://host/v1"])
def test_the_key_goes_over_https_and_to_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert KEY not in repr(Judge(url, "m"))


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
