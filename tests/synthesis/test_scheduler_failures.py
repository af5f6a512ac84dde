"""The scheduler when something fails: what it costs, what stops the run, and a stop that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gated_engine import GOOD, Answer, GatedEngine, Make, collect, passages

from instructpt.engines import Completion, Prompt, Sampling
from instructpt.errors import BudgetError, EngineError, EngineGoneError, PromptRefusedError, StorageError
from instructpt.records import Document
from instructpt.synthesis.asking import MAX_FAILURES_IN_A_ROW
from instructpt.synthesis.capacity import READ_AHEAD
from instructpt.synthesis.chains import chains
from instructpt.synthesis.ledger import Ledger
from instructpt.synthesis.scheduler import synthesize
from instructpt.words.vocabulary import Vocabulary


def test_garbage_and_silence_leave_the_passage_raw(make: Make) -> None:
    answers = {"p0": "", "p1": "<QUE> {broken} %s", "p2": "<QUE> q <ANS> </END>"}
    synthesis = make(lambda prompt: next((answers[p] for p in answers if f"<CON> {p} " in prompt), GOOD))
    groups = collect(chains(passages(4), shots=1), synthesis)
    assert [len(group.shots[0].pairs) for group in groups] == [0, 0, 0, 1]
    reasons = [[reject.reason for reject in group.shots[0].rejects] for group in groups]
    assert reasons == [["no_pair"], ["no_end_tag"], ["empty_answer"], []]


def refusing(*, passage: str, error: EngineError | None = None) -> Answer:
    def answer(prompt: str) -> str:
        if passage in prompt:
            raise error or EngineError("this prompt cannot be answered: shorten it")
        return GOOD

    return answer


def test_a_prompt_that_the_engine_refuses_costs_its_passage_alone(make: Make, ledger: Ledger) -> None:
    groups = collect(chains(passages(9), shots=3), make(refusing(passage="<CON> p4 ")))
    shots = [shot for group in groups for shot in group.shots]
    assert [len(shot.pairs) for shot in shots] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert [(reject.reason, reject.text) for reject in shots[4].rejects] == [
        ("engine_error", "this prompt cannot be answered: shorten it")
    ]
    assert ledger.count() == 8
    again = make()
    groups = collect(chains(passages(9), shots=3), again)
    assert all(shot.pairs for group in groups for shot in group.shots)
    # Only the failed passage, and the one whose prompt it now is a part of, are asked again.
    assert len(again.engine.asked) == 2  # type: ignore[attr-defined]


def test_an_engine_that_dies_stops_the_run(make: Make) -> None:
    num_answered = 0

    def dying(prompt: str) -> str:
        nonlocal num_answered
        if num_answered == 50:
            raise EngineError("connection refused")
        num_answered += 1
        return GOOD

    synthesis = make(dying)
    with pytest.raises(EngineError, match=r"last 32 requests.*connection refused"):
        collect(chains(passages(1_000), shots=1), synthesis)
    assert len(synthesis.engine.asked) <= 50 + MAX_FAILURES_IN_A_ROW + 8 * READ_AHEAD  # type: ignore[attr-defined]


def test_an_engine_that_never_answers_stops_even_a_short_run(make: Make) -> None:
    with pytest.raises(EngineError, match="none of 3 requests"):
        collect(chains(passages(3), shots=1), make(refusing(passage="")))


def test_scattered_failures_do_not_stop_a_run(make: Make) -> None:
    synthesis = make(refusing(passage="7"))
    groups = collect(chains(passages(400), shots=1), synthesis)
    num_failed = sum(1 for group in groups if not group.shots[0].pairs)
    assert num_failed == sum("7" in str(i) for i in range(400)) > MAX_FAILURES_IN_A_ROW


def test_failures_at_once_do_not_stop_a_run_that_waits_for_good_answers(
    make: Make, small_vocabulary: Vocabulary
) -> None:
    """A prompt that an engine refuses fails in no time; forty of them overtake one that is being answered."""

    class Busy(GatedEngine):
        async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
            assert isinstance(prompt, list)
            if "p0 " in small_vocabulary.decode(prompt):
                await asyncio.sleep(0.2)
                return Completion(GOOD, 9, "stop")
            raise EngineError("prompt refused")

    synthesis = make(engine=Busy(small_vocabulary, capacity=64))
    groups = collect(chains(passages(MAX_FAILURES_IN_A_ROW + 8), shots=1), synthesis)
    assert [bool(group.shots[0].pairs) for group in groups] == [True] + [False] * (MAX_FAILURES_IN_A_ROW + 7)


def test_an_error_of_our_own_stops_the_run(make: Make) -> None:
    def broken(prompt: str) -> str:
        if "p7 " in prompt:
            raise ZeroDivisionError
        return GOOD

    with pytest.raises(ZeroDivisionError):
        collect(chains(passages(50), shots=1), make(broken))


def test_a_failure_far_behind_the_slow_first_chain_is_seen_at_once(make: Make) -> None:
    async def run() -> None:
        synthesis = make(refusing(passage="no such passage"))
        engine = synthesis.engine
        assert isinstance(engine, GatedEngine)
        engine.gates["p0 is a heron."] = asyncio.Event()  # never opened

        def reading() -> Iterator[tuple[Document, ...]]:
            yield from chains(passages(20), shots=1)

        full = replace(synthesis, ledger=FullLedger())  # type: ignore[arg-type]
        with pytest.raises(StorageError, match="disk is full"):
            await asyncio.wait_for(anext(synthesize(reading(), synthesis=full)), 10)

    asyncio.run(run())


class FullLedger:
    """A ledger on a disk without room."""

    def get(self, key: bytes) -> Completion | None:
        return None

    async def put(self, key: bytes, completion: Completion) -> None:
        raise StorageError("disk is full")


def test_a_prompt_at_fault_is_told_from_an_engine_at_fault(make: Make) -> None:
    refused = PromptRefusedError("longer than the context")
    documents = passages(1) + passages(2 * MAX_FAILURES_IN_A_ROW, prefix="q") + passages(1, prefix="z")
    # Any number of them in a row, behind one good answer: the engine is alive.
    groups = collect(chains(documents, shots=1), make(refusing(passage="<CON> q", error=refused), limit=1))
    shots = [shot for group in groups for shot in group.shots]
    assert [len(shot.pairs) for shot in shots] == [1] + [0] * (2 * MAX_FAILURES_IN_A_ROW) + [1]
    assert {(r.reason, r.text) for shot in shots for r in shot.rejects} == {
        ("prompt_refused", "longer than the context")
    }


def test_a_few_refused_prompts_are_a_finished_shard_but_an_engine_that_refuses_all_is_not(make: Make) -> None:
    refused = PromptRefusedError("no such model")
    groups = collect(chains(passages(3), shots=1), make(refusing(passage="", error=refused)))
    assert [group.shots[0].rejects[0].reason for group in groups] == ["prompt_refused"] * 3
    with pytest.raises(EngineGoneError, match=r"last 32 requests.*no such model"):
        collect(chains(passages(500), shots=1), make(refusing(passage="", error=refused)))


@pytest.mark.parametrize("num_paid", [0, 7])
def test_a_stop_sends_nothing_more_and_keeps_what_is_under_way(make: Make, ledger: Ledger, num_paid: int) -> None:
    paid: list[int] = []
    num_asked = iter(range(10_000))

    def pay(*, prompt_tokens: int, output_tokens: int) -> None:
        paid.append(prompt_tokens + output_tokens)

    def stop() -> str | None:
        return "$3 of $3 are spent" if next(num_asked) >= num_paid else None

    synthesis = make(stop=stop, pay=pay)
    with pytest.raises(BudgetError, match=r"\$3 of \$3"):
        collect(chains(passages(100), shots=3), synthesis)
    asked = synthesis.engine.asked  # type: ignore[attr-defined]
    assert len(asked) == ledger.count() == len(paid) == num_paid
    assert min(paid, default=10) > 5
    assert (synthesis.capacity.num_taken, synthesis.capacity.num_held) == (0, 0)
    # What was paid for is not asked again.
    again = make(pay=pay)
    collect(chains(passages(100), shots=3), again)
    assert len(paid) == 100
    assert not set(asked) & set(again.engine.asked)  # type: ignore[attr-defined]


def test_a_stop_ends_also_where_as_much_is_held_as_may_be(make: Make, ledger: Ledger) -> None:
    async def run() -> None:
        stopped: list[str] = []
        synthesis = make(limit=2, stop=lambda: stopped[0] if stopped else None)
        engine = synthesis.engine
        assert isinstance(engine, GatedEngine)
        gate = engine.gates["p0 is a heron."] = asyncio.Event()
        groups = synthesize(chains(passages(100), shots=2), synthesis=synthesis)
        first = asyncio.create_task(anext(groups))
        num_asked = 1 + 2 * (READ_AHEAD * 2 - 1)
        while len(engine.asked) < num_asked or engine.under_way > 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        stopped.append("enough")
        gate.set()
        with pytest.raises(BudgetError, match="enough"):
            await asyncio.wait_for(first, 10)
        assert ledger.count() == len(engine.asked) == num_asked
        assert (synthesis.capacity.num_taken, synthesis.capacity.num_held) == (0, 0)

    asyncio.run(run())


def test_whatever_happens_all_places_come_back(make: Make) -> None:
    async def run() -> None:
        synthesis = make()
        groups = synthesize(chains(passages(200), shots=2), synthesis=synthesis)
        for _ in range(3):
            await anext(groups)
        await groups.aclose()
        assert (synthesis.capacity.num_taken, synthesis.capacity.num_held) == (0, 0)

        def unreadable() -> Iterator[tuple[Document, ...]]:
            yield from chains(passages(30), shots=1)
            raise StorageError("the disk is gone")

        with pytest.raises(StorageError, match="the disk is gone"):
            [group async for group in synthesize(unreadable(), synthesis=synthesis)]
        assert (synthesis.capacity.num_taken, synthesis.capacity.num_held) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_what_cannot_be_read_is_never_taken_for_the_end(make: Make, limit: int) -> None:
    # Reading may fail in the very turn of the event loop in which the last group comes out: at one place always.
    async def run(num_passages: int) -> None:
        def unreadable() -> Iterator[tuple[Document, ...]]:
            yield from chains(passages(num_passages), shots=1)
            raise StorageError("the disk is gone")

        with pytest.raises(StorageError, match="the disk is gone"):
            [group async for group in synthesize(unreadable(), synthesis=make(limit=limit))]

    for num_passages in range(12):
        asyncio.run(run(num_passages))
