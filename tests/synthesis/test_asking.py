"""Asking one prompt: what is sent, what is asked once, and how the engine's number under way is learned."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from gated_engine import GOOD, GatedEngine, Make

from instructpt.engines import Completion, Conversation, EngineState, Form, Message, Prompt, Sampling
from instructpt.errors import BudgetError, EngineError, PromptRefusedError
from instructpt.synthesis import chains
from instructpt.synthesis.asking import Session, ask, refusal
from instructpt.synthesis.capacity import FIRST, Capacity
from instructpt.words.vocabulary import Vocabulary


class Recorder:
    """An engine that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Prompt, Sampling]] = []

    def state(self) -> EngineState:
        return EngineState()

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        self.given.append((prompt, sampling))
        await asyncio.sleep(0.001)
        return Completion(GOOD, 7, "stop")


def test_a_prompt_goes_out_as_it_is_with_the_form_that_it_asks_for(make: Make) -> None:
    engine, form = Recorder(), Form("json", '{"type": "array"}')
    conversation = Conversation((Message("user", "Say something about herons."),))
    session = Session(make(engine=engine))
    asked = [
        chains.Prompt([0, 5, 6], 3, 0),
        chains.Prompt([0, 5, 6], 3, 0, form),
        chains.Prompt(conversation, 50, 0, form),
    ]

    async def run() -> list[tuple[Completion, bool]]:
        # The same ids under another form are another question.
        found = await asyncio.gather(*(ask(session, prompt) for prompt in asked))
        return [*found, await ask(session, asked[2])]

    answers = asyncio.run(run())
    plain = session.synthesis.sampling
    assert engine.given == [
        ([0, 5, 6], plain),
        ([0, 5, 6], replace(plain, form=form)),
        (conversation, replace(plain, form=form)),
    ]
    assert [replayed for _, replayed in answers] == [False, False, False, True]
    assert (session.progress.prompt_tokens, session.progress.output_tokens) == (3 + 3 + 50 + 50, 4 * 7)


def test_equal_prompts_at_once_are_asked_once_and_each_gets_the_answer(make: Make) -> None:
    engine = Recorder()
    session = Session(make(engine=engine))

    async def run() -> list[tuple[Completion, bool]]:
        return await asyncio.gather(*(ask(session, chains.Prompt([0, 5], 2, 0)) for _ in range(9)))

    answers = asyncio.run(run())
    assert len(engine.given) == 1
    assert [replayed for _, replayed in answers] == [False] + [True] * 8


def test_the_number_under_way_grows_with_an_engine_that_keeps_up(make: Make) -> None:
    engine, seconds = Recorder(), 0.0

    def clock() -> float:  # so many more at once, so much faster
        nonlocal seconds
        seconds += 1 / capacity.limit
        return seconds

    capacity = Capacity(engine, clock=clock)
    session = Session(make(engine=engine, capacity=capacity))

    async def one(number: int) -> None:
        await capacity.take(0)
        await ask(session, chains.Prompt([0, number], 2, 0))
        capacity.leave()

    async def run() -> None:
        assert capacity.limit == FIRST
        await asyncio.gather(*(one(number) for number in range(1_000)))

    asyncio.run(run())
    assert capacity.num_answered == 1_000
    assert capacity.limit > FIRST


def test_what_the_ledger_holds_is_neither_stopped_nor_paid_for(make: Make) -> None:
    paid: list[int] = []

    def pay(*, prompt_tokens: int, output_tokens: int) -> None:
        paid.append(100 * prompt_tokens + output_tokens)

    session = Session(make(stop=lambda: "enough" if paid else None, pay=pay))
    first, second = chains.Prompt([0, 5], 2, 0), chains.Prompt([0, 6], 2, 0)

    async def run() -> None:
        await ask(session, first)
        assert (await ask(session, first))[1]
        with pytest.raises(BudgetError, match="enough"):
            await ask(session, second)
        assert (await ask(session, first))[1]

    asyncio.run(run())
    assert paid == [205], "what the ledger holds costs nothing"


def test_a_failed_prompt_may_be_asked_again(make: Make, small_vocabulary: Vocabulary) -> None:
    failures = iter([EngineError("busy")])

    def answer(prompt: str) -> str:
        for failure in failures:
            raise failure
        return GOOD

    session = Session(make(engine=GatedEngine(small_vocabulary, answer)))

    async def run() -> None:
        with pytest.raises(EngineError, match="busy"):
            await ask(session, chains.Prompt([0, 5], 2, 0))
        completion, replayed = await ask(session, chains.Prompt([0, 5], 2, 0))
        assert (completion.text, replayed) == (GOOD, False)

    asyncio.run(run())


def test_a_refusal_says_whose_fault_it_was() -> None:
    assert refusal(EngineError("a")).reason == "engine_error"
    assert refusal(PromptRefusedError("b")).reason == "prompt_refused"
    assert refusal(PromptRefusedError("b")).text == "b"
