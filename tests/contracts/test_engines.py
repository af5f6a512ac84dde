"""What every engine promises, whichever it is. A new engine needs a line in OPTIONS (how to open it for a test)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from benchmarks.scripted_engine import SCRIPTED
from benchmarks.scripted_server import scripted_server
from instructpt.engines import ENGINES, Completion, Engine, EngineState, Form, Prompt, Sampling, open_engine
from instructpt.errors import EngineError, PromptRefusedError, RecipeError
from instructpt.words import vocabulary

OPTIONS: dict[str, dict[str, Any]] = {
    "transformers": {"precision": "float32", "max_batch": 3},
    SCRIPTED: {"delay_seconds": 0.005},
    "http": {"endpoints": "of a scripted server"},
}
ELSEWHERE = {"vllm": "it needs an environment of its own: tests/engines/serving/test_vllm.py"}
TEXTS = [f"The cat number {number} sat on the mat. " + "It sat and sat. " * (number % 4) for number in range(10)]

T = TypeVar("T")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train(TEXTS * 9, size=300, folder=folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary.load(folder).size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[str]:
    """The URL of a scripted server, a process of its own."""
    with scripted_server(model, delay_ms=5) as started:
        yield started.url


@pytest.fixture(params=[*sorted(ENGINES), SCRIPTED])
def ask(request: pytest.FixtureRequest, model: str) -> Callable[[Callable[[Engine], Awaitable[T]]], T]:
    """Open the engine, run `work` with it and close it. Every engine of the table is tried."""
    name = request.param
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    options = dict(OPTIONS[name])
    if "endpoints" in options:
        options["endpoints"] = request.getfixturevalue("server")

    def run(work: Callable[[Engine], Awaitable[T]]) -> T:
        async def opened() -> T:
            engine = open_engine(name, model, **options)
            try:
                return await asyncio.wait_for(work(engine), timeout=60)
            finally:
                await engine.close()

        return asyncio.run(opened())

    return run


@pytest.fixture(scope="module")
def prompts(model: str) -> list[list[int]]:
    words = vocabulary.load(model)
    return [words.sequence([text]) for text in TEXTS]


def test_each_prompt_gets_its_own_answer_in_any_order(ask: Any, prompts: list[list[int]]) -> None:
    async def together(engine: Engine, asked: list[list[int]]) -> list[Completion]:
        return list(await asyncio.gather(*(engine.complete(prompt, Sampling(12)) for prompt in asked)))

    forward = ask(lambda engine: together(engine, prompts))
    backward = ask(lambda engine: together(engine, prompts[::-1]))
    assert forward == backward[::-1]
    assert len({answer.text for answer in forward}) > 1


def test_the_same_prompt_gets_the_same_answer(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[Completion]:
        first = await engine.complete(prompts[0], Sampling(12))
        others = await asyncio.gather(*(engine.complete(prompts[i], Sampling(12)) for i in (3, 0, 0)))
        return [first, *others[1:]]

    first, *others = ask(work)
    assert others == [first, first]


def test_with_a_temperature_too_what_a_seed_gives_is_given_again(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[Completion]:
        sampling = Sampling(12, temperature=1.0, seed=3)
        return list(await asyncio.gather(*(engine.complete(prompt, sampling) for prompt in prompts)))

    assert ask(work) == ask(work)


@pytest.mark.parametrize("limit", [1, 2, 7, 40])
def test_no_answer_is_longer_than_asked(ask: Any, prompts: list[list[int]], limit: int) -> None:
    async def work(engine: Engine) -> list[Completion]:
        return list(await asyncio.gather(*(engine.complete(prompt, Sampling(limit)) for prompt in prompts)))

    for answer in ask(work):
        assert 0 <= answer.num_tokens <= limit
        assert answer.finish == "stop" or answer.num_tokens == limit
        assert len(answer.text) == 0 or answer.num_tokens > 0


def test_an_empty_prompt_is_answered_or_refused_and_the_others_are_answered(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[Any]:
        asked: list[Prompt] = [prompts[0], [], prompts[1]]
        return await asyncio.gather(*(engine.complete(one, Sampling(5)) for one in asked), return_exceptions=True)

    first, empty, last = ask(work)
    assert isinstance(first, Completion)
    assert isinstance(empty, Completion | PromptRefusedError)
    assert isinstance(last, Completion)


def test_a_form_asked_of_one_answer_changes_no_other(ask: Any, prompts: list[list[int]]) -> None:
    """Some engines hold an answer to its form, some do not: all take it."""
    form = Form("regex", "[a-z]{1,4}( [a-z]{1,4})*")

    async def work(engine: Engine) -> list[Completion]:
        samplings = [Sampling(12, form=form if i % 2 else None) for i in range(len(prompts))]
        return list(await asyncio.gather(*map(engine.complete, prompts, samplings)))

    async def plainly(engine: Engine) -> list[Completion]:
        return list(await asyncio.gather(*(engine.complete(prompt, Sampling(12)) for prompt in prompts)))

    assert ask(work)[::2] == ask(plainly)[::2]


def test_how_it_is_can_be_asked_at_any_time(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[EngineState]:
        states = [engine.state()]
        under_way = [asyncio.create_task(engine.complete(prompt, Sampling(5))) for prompt in prompts]
        await asyncio.sleep(0)
        states.append(engine.state())
        await asyncio.gather(*under_way)
        states.append(engine.state())
        await engine.close()
        return [*states, engine.state()]

    states = ask(work)
    for state in states:
        assert state.capacity is None or state.capacity >= 1
        assert (state.num_cached_tokens or 0) <= state.num_prompt_tokens
        assert all(endpoint.num_under_way >= 0 for endpoint in state.endpoints)
    counts = [state.num_prompt_tokens for state in states]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] in (0, sum(map(len, prompts))), "all that was read, or nothing where it is not told"


def test_a_score_for_each_token_of_the_continuation(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> list[Any]:
        return await asyncio.gather(*(engine.score(prompts[0], one) for one in (prompts[1][1:], [5], [])))

    for scores, length in zip(ask(work), (len(prompts[1]) - 1, 1, 0), strict=True):
        assert len(scores) == length
        assert all(score <= 0 for score in scores)


def test_a_score_depends_on_what_came_before_and_on_nothing_else(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> Any:
        whole, other = await asyncio.gather(engine.score(prompts[0], [7, 8, 9]), engine.score(prompts[1], [7, 8, 9]))
        tail = await engine.score([*prompts[0], 7], [8, 9])
        return whole, other, tail

    whole, other, tail = ask(work)
    assert list(whole[1:]) == pytest.approx(list(tail), abs=1e-4)
    assert list(whole) != pytest.approx(list(other), abs=1e-4)


def test_ids_are_taken_as_they_are_without_a_begin_of_text_of_its_own(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> Any:
        with_one, ids = prompts[0], prompts[0][1:]
        return await asyncio.gather(*(engine.score(prompt, [7, 8]) for prompt in (ids, with_one, [0, *with_one])))

    scores = [tuple(round(value, 4) for value in values) for values in ask(work)]
    assert len(set(scores)) == 3


def test_a_closed_engine_refuses_and_may_be_closed_again(ask: Any, prompts: list[list[int]]) -> None:
    async def work(engine: Engine) -> None:
        under_way = asyncio.create_task(engine.complete(prompts[0], Sampling(200)))
        await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        with pytest.raises(EngineError):
            await under_way
        with pytest.raises(EngineError):
            await engine.complete(prompts[0], Sampling(1))
        with pytest.raises(EngineError):
            await engine.score(prompts[0], [1])

    ask(work)


def test_an_unknown_engine_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(RecipeError, match=", ".join(sorted(ENGINES))):
        open_engine("steam", "model")
    with pytest.raises(RecipeError, match=r"steam:Engine .*see that Python can import steam"):
        open_engine("steam:Engine", "model")
    with pytest.raises(RecipeError, match="has no attribute 'Steam'"):
        open_engine("instructpt.engines:Steam", "model")
