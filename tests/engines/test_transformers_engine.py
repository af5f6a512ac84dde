from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MambaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from instructpt.engines import Completion, EngineState, Sampling
from instructpt.engines.batching import Forward, shared_tokens
from instructpt.engines.transformers import TransformersEngine
from instructpt.errors import EngineError, InputError, PromptRefusedError, RecipeError
from instructpt.models.loading import load_causal_model
from instructpt.seeds import rng
from instructpt.words import vocabulary

CONTEXT = 128


def prompts(count: int, *, longest: int = 40) -> list[list[int]]:
    stream = rng(0, "prompts")
    return [[0] + [stream.randrange(2, 300) for _ in range(stream.randint(1, longest - 1))] for _ in range(count)]


def budgets(count: int, *, most: int = 40) -> list[int]:
    stream = rng(0, "budgets")
    return [stream.randint(1, most) for _ in range(count)]


def alone(folder: str, asked: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[tuple[str, int]]:
    """What transformers' own generate answers, prompt by prompt."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    words = vocabulary.load(folder)
    answers = []
    for prompt, length in zip(asked, lengths, strict=True):
        ids = torch.tensor([list(prompt)])
        options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 1}
        written = model.generate(ids, max_new_tokens=length, **options)[0, len(prompt) :].tolist()
        answers.append((words.decode(written), len(written)))
    return answers


def complete(
    folder: str, asked: Sequence[Sequence[int]], lengths: Sequence[int], *, temperature: float = 0.0, **options: Any
) -> list[Any]:
    """What the engine answers to all at once: completions, or the errors."""

    async def run() -> list[Any]:
        engine = TransformersEngine(folder, precision="float32", **options)
        samplings = [Sampling(length, temperature) for length in lengths]
        answers = await asyncio.gather(*map(engine.complete, asked, samplings), return_exceptions=True)
        await engine.close()
        return answers

    return asyncio.run(run())


def plain(answers: Sequence[Any]) -> list[tuple[str, int]]:
    assert all(isinstance(answer, Completion) for answer in answers), answers
    return [(answer.text, answer.num_tokens) for answer in answers]


class Gate:
    """Holds the engine before its step number `number`, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, number: int) -> None:
        self.reached, self.opened, self.count = threading.Event(), threading.Event(), 0
        step = Forward.step

        def held(forward: Forward, tokens: Sequence[int], rows: Any) -> Any:
            self.count += 1
            if self.count == number:
                self.reached.set()
                assert self.opened.wait(60)
            return step(forward, tokens, rows)

        monkeypatch.setattr(Forward, "step", held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 60)


def test_each_prompt_of_a_mixed_batch_gets_what_it_gets_alone(make_model: Any, kind: str) -> None:
    folder, asked, lengths = make_model(kind), prompts(14), budgets(14)
    expected = alone(folder, asked, lengths)
    assert plain(complete(folder, asked, lengths, max_batch=4, max_prefill_tokens=64)) == expected
    assert len(set(expected)) > 10, "answers are all alike: the comparison shows nothing"


@pytest.mark.parametrize("named_by", ["config", "generation_config", "tokenizer"])
def test_an_end_of_text_ends_an_answer_and_is_not_its_text(make_model: Any, tiny_model: str, named_by: str) -> None:
    prompt, words = prompts(1)[0], vocabulary.load(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([prompt])
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 1}
    written = model.generate(ids, max_new_tokens=12, **options)[0, len(prompt) :].tolist()
    # The same weights write the same; what was token number six becomes an end.
    end = written[5]

    def change(model: Any) -> None:
        model.config.eos_token_id = model.generation_config.eos_token_id = None
        if named_by == "tokenizer":
            model.lm_head.weight.data[[words.eos, end]] = model.lm_head.weight.data[[end, words.eos]]
        else:
            getattr(model, named_by).eos_token_id = [7, end]

    (answer,) = complete(make_model("llama", change=change), [prompt], [12])
    first = written.index(end)
    assert answer == Completion(words.decode(written[:first]), first + 1, "stop")


def test_an_answer_ends_where_the_context_does(tiny_model: str) -> None:
    (answer,) = complete(tiny_model, [prompts(1)[0][:1] + [5] * (CONTEXT - 4)], [400])
    assert (answer.num_tokens, answer.finish) == (3, "length")


def test_a_prompt_that_cannot_be_answered_fails_alone(tiny_model: str) -> None:
    good = prompts(3)
    asked = [good[0], [], good[1], [0] * CONTEXT, [0, 300], [0, -1], good[2]]
    answers = complete(tiny_model, asked, [8] * len(asked))
    assert plain([answers[0], answers[2], answers[6]]) == alone(tiny_model, good, [8] * 3)
    messages = [str(answer) for answer in answers if isinstance(answer, PromptRefusedError)]
    expected = ["prompt is empty", "leaves no room", "token id 300", "token id -1"]
    assert len(messages) == 4
    assert all(words in message for words, message in zip(expected, messages, strict=True))


def test_it_tells_how_many_requests_are_worth_sending_and_what_it_read(tiny_model: str) -> None:
    async def run() -> tuple[EngineState, EngineState]:
        engine = TransformersEngine(tiny_model, max_batch=5)
        before = engine.state()
        asked: list[list[int]] = [[0, 5, 6], [0] * CONTEXT, [0, 7]]
        await asyncio.gather(*(engine.complete(one, Sampling(2)) for one in asked), return_exceptions=True)
        after = engine.state()
        await engine.close()
        return before, after

    assert asyncio.run(run()) == (EngineState(capacity=10), EngineState(capacity=10, num_prompt_tokens=5))


def test_a_prompt_that_yields_no_numbers_fails_alone_and_leaves_nothing_behind(
    make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(model: Any) -> None:
        model.lm_head.weight.data[299] = 0

    def damaged(*given: Any, **named: Any) -> Any:  # after loading, which refuses such weights
        model: Any = load_causal_model(*given, **named)
        model.model.embed_tokens.weight.data[299] = math.nan
        return model

    monkeypatch.setattr("instructpt.engines.transformers.load_causal_model", damaged)
    folder, good = make_model("llama", change=change), [prompt for prompt in prompts(9) if 299 not in prompt]
    asked = [prompt for one in good for prompt in ([0, 299, 7], one)]
    answers = complete(folder, asked, [10] * len(asked), max_batch=2)
    assert all("not a number" in str(answer) for answer in answers[::2])
    assert plain(answers[1::2]) == alone(folder, good, [10] * len(good))


def test_what_is_drawn_depends_on_seed_and_prompt_but_not_on_the_company(tiny_model: str) -> None:
    asked, lengths = prompts(6), [12] * 6
    together = plain(complete(tiny_model, asked, lengths, temperature=1.0))
    single = [plain(complete(tiny_model, [prompt], [12], temperature=1.0))[0] for prompt in asked]
    assert together == single
    assert together != alone(tiny_model, asked, lengths)


def test_every_prompt_and_every_token_has_a_draw_of_its_own(tiny_model: str) -> None:
    # So hot that all tokens are equally likely, whatever the prompt: only the draws make a difference.
    answers = complete(tiny_model, prompts(6), [30] * 6, temperature=1e6)
    assert len({answer.text for answer in answers}) == 6
    whole = [answer.text for answer in answers if answer.finish == "length"]
    assert len(whole) > 2
    assert all(len(set(text)) > 5 for text in whole)


def test_tokens_are_drawn_as_often_as_the_model_says(tiny_model: str) -> None:
    prompt, temperature, num_draws = [0, 5, 9], 2.0, 600

    async def run() -> list[Completion]:
        engine = TransformersEngine(tiny_model, precision="float32", max_batch=200)
        draws = [engine.complete(prompt, Sampling(1, temperature, seed)) for seed in range(num_draws)]
        answers = await asyncio.gather(*draws)
        await engine.close()
        return list(answers)

    words = vocabulary.load(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.inference_mode():
        shares = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
    texts = [answer.text for answer in asyncio.run(run())]
    for share, token in zip(*(values.tolist() for values in shares.topk(4)), strict=True):
        deviation = math.sqrt(share * (1 - share) / num_draws)
        assert abs(texts.count(words.decode([token])) / num_draws - share) < 4 * deviation


@pytest.mark.parametrize("is_shared", [False, True], ids=["apart", "after one beginning"])
def test_scores_are_the_log_probabilities_of_a_plain_forward(make_model: Any, is_shared: bool) -> None:
    folder = make_model("mistral with a window")
    asked = beginnings_shared(9) if is_shared else prompts(9)
    pairs = list(zip(asked, prompts(len(asked) + 1, longest=20)[1:], strict=True))

    async def run() -> tuple[list[Any], Any]:
        engine = TransformersEngine(folder, precision="float32", max_prefill_tokens=100)
        scores = await asyncio.gather(*(engine.score(*pair) for pair in pairs))
        nothing = await engine.score([0], [])
        for prompt, continuation in (([], [3]), ([0], [300]), ([0] * CONTEXT, [3])):
            with pytest.raises(EngineError):
                await engine.score(prompt, continuation)
        await engine.close()
        return list(scores), nothing

    scores, nothing = asyncio.run(run())
    assert nothing == []
    model = AutoModelForCausalLM.from_pretrained(folder)
    for (prompt, continuation), values in zip(pairs, scores, strict=True):
        with torch.inference_mode():
            logs = model(torch.tensor([prompt + continuation])).logits[0].log_softmax(-1)
        expected = [logs[len(prompt) + i - 1, token].item() for i, token in enumerate(continuation)]
        assert values == pytest.approx(expected, abs=1e-4)


def test_one_that_comes_later_joins_and_may_leave_first(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, number=3)

    async def run() -> list[str]:
        order: list[str] = []
        engine = TransformersEngine(tiny_model, precision="float32", max_batch=2)

        async def ask(name: str, prompt: list[int], length: int) -> None:
            await engine.complete(prompt, Sampling(length))
            order.append(name)

        long = asyncio.create_task(ask("long", [0, 5], 120))
        await gate.wait()
        short = [asyncio.create_task(ask(f"short {i}", [0, i], 2)) for i in range(3)]
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(long, *short)
        await engine.close()
        return order

    assert asyncio.run(run()) == ["short 0", "short 1", "short 2", "long"]


def test_those_that_wait_together_decode_together_within_the_limits(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    step = Forward.step

    def spy(self: Forward, tokens: Sequence[int], rows: Any) -> Any:
        sizes.append(len(tokens))
        return step(self, tokens, rows)

    monkeypatch.setattr(Forward, "step", spy)
    asked = [[0, 5, 6, 7]] * 10
    complete(tiny_model, asked, [11] * 10)
    assert sizes == [10] * 10
    sizes.clear()
    complete(tiny_model, asked, [11] * 10, max_batch=4)
    assert max(sizes) == 4
    sizes.clear()
    complete(tiny_model, asked, [11] * 10, max_batch_tokens=3 * 15)
    assert max(sizes) == 3
    sizes.clear()
    complete(tiny_model, asked[:2], [11] * 2, max_batch_tokens=1)
    assert max(sizes) == 1


def test_without_memory_it_goes_on_with_fewer_at_once(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = Forward.step, [0]

    def short_of_memory(self: Forward, tokens: Sequence[int], rows: Any) -> Any:
        calls[0] += 1
        if calls[0] > 5 and len(tokens) > 3:
            raise torch.OutOfMemoryError("no memory")
        return step(self, tokens, rows)

    asked, order = prompts(16), []

    async def run(max_batch: int) -> list[tuple[str, int]]:
        engine = TransformersEngine(tiny_model, precision="float32", max_batch=max_batch)

        async def ask(number: int) -> Completion:
            answer = await engine.complete(asked[number], Sampling(20, temperature=1.0))
            order.append(number)
            return answer

        answers = await asyncio.gather(*map(ask, range(16)))
        await engine.close()
        return plain(answers)

    expected = asyncio.run(run(3))
    order.clear()
    monkeypatch.setattr(Forward, "step", short_of_memory)
    assert asyncio.run(run(12)) == expected
    assert max(order[:9]) < 12, "those that were under way go on before those that waited"


def test_only_a_sequence_that_does_not_fit_alone_fails_for_memory(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefill, step = Forward.prefill, Forward.step
    sizes = []

    def counted(self: Forward, tokens: Sequence[int], rows: Any) -> Any:
        sizes.append(len(tokens))
        return step(self, tokens, rows)

    def check(sequences: Sequence[Sequence[int]]) -> None:
        if len(sequences) * max(map(len, sequences)) > 60:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def short_prefill(self: Forward, sequences: Sequence[Sequence[int]], **options: Any) -> Any:
        check(sequences)
        return prefill(self, sequences, **options)

    monkeypatch.setattr(Forward, "prefill", short_prefill)
    monkeypatch.setattr(Forward, "step", counted)
    good = prompts(6)
    answers = complete(tiny_model, [*good[:3], [0] * 61, *good[3:]], [8] * 7)
    assert "no memory" in str(answers.pop(3))
    assert plain(answers) == alone(tiny_model, good, [8] * 6)
    assert sizes[-1] > 1, "one that was too long must not leave the others one at a time for ever"

    async def run() -> list[Any]:
        engine = TransformersEngine(tiny_model)
        continuations = [*good[:3], [0] * 61, *good[3:]]
        scores = await asyncio.gather(*(engine.score([0], one) for one in continuations), return_exceptions=True)
        await engine.close()
        return scores

    scores = asyncio.run(run())
    assert "no memory" in str(scores.pop(3))
    assert [len(values) for values in scores] == [len(one) for one in good]


def test_nobody_waits_for_ever_when_the_model_breaks(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("weights of\nclay")

    monkeypatch.setattr(Forward, "step", broken)
    answers = complete(tiny_model, prompts(9), [5] * 9, max_batch=4)
    assert all(isinstance(answer, EngineError) and "ValueError: weights of clay" in str(answer) for answer in answers)

    async def score() -> None:
        monkeypatch.setattr(Forward, "prefill", broken)
        engine = TransformersEngine(tiny_model)
        for _ in range(2):
            with pytest.raises(EngineError, match="weights of clay"):
                await engine.score([0], [3])
        await engine.close()

    asyncio.run(score())


def test_a_request_that_is_cancelled_leaves_the_others_alone(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate, prefill, num_read = prompts(6), Gate(monkeypatch, number=7), Forward.prefill, []

    def counted(self: Forward, sequences: Sequence[Sequence[int]]) -> Any:
        num_read.append(len(sequences))
        return prefill(self, sequences)

    monkeypatch.setattr(Forward, "prefill", counted)

    async def run() -> list[Any]:
        engine = TransformersEngine(tiny_model, precision="float32", max_batch=4)
        tasks = [asyncio.create_task(engine.complete(prompt, Sampling(60))) for prompt in asked]
        await gate.wait()
        for task in (tasks[0], tasks[5]):
            task.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await engine.close()
        assert isinstance(answers[0], asyncio.CancelledError)
        assert isinstance(answers[5], asyncio.CancelledError)
        assert gate.count < 70, "the place of the first is free at once"
        assert sum(num_read) == 5, "the last is not even read"
        return answers[1:5]

    assert plain(asyncio.run(run())) == alone(tiny_model, asked[1:5], [60] * 4)


def test_closing_ends_what_is_under_way(tiny_model: str) -> None:
    async def run() -> None:
        engine = TransformersEngine(tiny_model, max_batch=2)
        tasks = [asyncio.create_task(engine.complete(prompt, Sampling(80))) for prompt in prompts(4)]
        await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, EngineError) and "closed" in str(answer) for answer in answers)
        with pytest.raises(EngineError, match="closed"):
            await engine.score([0], [1])

    asyncio.run(run())


@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float16"])
def test_other_precisions_answer_too(tiny_model: str, precision: Any) -> None:
    async def run() -> list[Completion]:
        engine = TransformersEngine(tiny_model, precision=precision)
        answers = await asyncio.gather(*(engine.complete(prompt, Sampling(5)) for prompt in prompts(3)))
        await engine.close()
        return list(answers)

    assert all(0 < answer.num_tokens <= 5 for answer in asyncio.run(run()))


def test_models_that_cannot_be_batched_are_refused(words: Path, tmp_path: Path, tiny_model: str) -> None:
    config = MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4, eos_token_id=1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((words / name).read_bytes())
    with pytest.raises(InputError, match="Mamba"):
        TransformersEngine(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="safetensors"):
        TransformersEngine(str(tmp_path))


@pytest.mark.parametrize(
    "options", [{"precision": "float8"}, {"device": "toaster"}, {"max_batch": 0}, {"max_batch_tokens": 0}]
)
def test_settings_that_cannot_be_are_refused(tiny_model: str, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        TransformersEngine(tiny_model, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_it_gives_alone(tiny_model: str) -> None:
    asked, lengths = prompts(14), budgets(14)
    assert plain(complete(tiny_model, asked, lengths, max_batch=4, device="cuda")) == alone(tiny_model, asked, lengths)


def beginnings_shared(count: int) -> list[list[int]]:
    """Prompts of three passages, each with several questions, and two that are alone."""
    stream = rng(0, "passages")
    passages = [[0] + [stream.randrange(2, 300) for _ in range(length)] for length in (40, 55, 62)]
    asked = [passages[i % 3] + [stream.randrange(2, 300) for _ in range(stream.randint(1, 14))] for i in range(count)]
    return [*asked, passages[0], *prompts(2)]


def test_a_beginning_that_prompts_share_is_read_once_and_answers_are_the_same(
    make_model: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = make_model(kind), beginnings_shared(12)
    lengths, num_read = budgets(len(asked), most=20), [0]
    call = Forward._call

    def counted(self: Forward, inputs: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        num_read[0] += inputs.numel() if inputs.shape[1] > 1 else 0
        return call(self, inputs, *rest, **options)

    monkeypatch.setattr(Forward, "_call", counted)
    expected = alone(folder, asked, lengths)
    assert plain(complete(folder, asked, lengths)) == expected
    once = 40 + 55 + 62 + 3
    assert num_read[0] < once + 16 * 15 + sum(map(len, asked[-2:])) + 40 < sum(map(len, asked)) / 1.5
    assert len(set(expected)) > 10, "answers are all alike: the comparison shows nothing"


@pytest.mark.parametrize(
    ("sequences", "num_shared"),
    [
        ([[5] * 80], 0),
        ([[5] * 80, [5] * 80], 79),
        ([[5] * 60 + [6], [5] * 60 + [7, 8]], 60),
        ([[5] * 60, [5] * 60 + [7, 8]], 59),
        ([[5] * 60 + [6] * 70, [5] * 60 + [7]], 0),
        ([[5] * 31 + [6], [5] * 31 + [7]], 0),
    ],
)
def test_a_beginning_is_shared_where_it_is_the_larger_part(sequences: list[list[int]], num_shared: int) -> None:
    assert shared_tokens(sequences) == num_shared
