"""Answers held to a form: whatever a model would write, what comes out has the form, and nobody else is touched."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from llguidance import LLMatcher
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from instructpt.engines import Completion, Form, Sampling, worker
from instructpt.engines.batching import Forward
from instructpt.engines.forms import Forms
from instructpt.engines.transformers import TransformersEngine
from instructpt.errors import EngineError, RecipeError
from instructpt.seeds import rng
from instructpt.words import vocabulary

WORDS = Form("regex", r"<a> (cat|dog)( sat| é)+ </a>(\n\n<b> [^<]{1,9} </b>)?")
LONG = Form("regex", r"[a-z]{30} [A-Z]{30}\n")
SCHEMA = {
    "type": "object",
    "properties": {"cat": {"type": "string", "enum": ["mat", "log"]}, "dogs": {"type": "integer", "maximum": 99}},
    "required": ["cat", "dogs"],
    "additionalProperties": False,
}
JSON = Form("json", json.dumps(SCHEMA))
PASSAGE = "The cat, 1.5 kg, sat on a mat."
SPAN = Form(
    "grammar",
    f"""%llguidance {{}}
start: P P?
P: "<a> " HELD " </a>"
SUBSTRING: %regex {json.dumps({"substring_chunks": re.findall("[a-zA-Z]+|.", PASSAGE)})}
HELD: SUBSTRING & /[^ ](.*[^ ])?/""",
)


def prompts(count: int) -> list[list[int]]:
    stream = rng(0, "prompts")
    return [[0] + [stream.randrange(2, 300) for _ in range(stream.randint(1, 30))] for _ in range(count)]


def complete(
    folder: str, forms: Sequence[Form | None], *, tokens: int = 80, temperature: float = 0.0, **options: Any
) -> list[Any]:
    """What the engine answers to as many prompts as there are forms, all at once: completions, or the errors."""

    async def run() -> list[Any]:
        engine = TransformersEngine(folder, precision="float32", **options)
        samplings = [Sampling(tokens, temperature, form=form) for form in forms]
        asked = map(engine.complete, prompts(len(forms)), samplings)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await engine.close()
        return answers

    return asyncio.run(run())


def of_form(answer: Any, form: Form) -> bool:
    assert isinstance(answer, Completion), answer
    if form.kind == "regex":
        return bool(re.fullmatch(form.text, answer.text))
    if form.kind == "grammar":
        held = re.fullmatch("<a> (.+?) </a>(?:<a> (.+?) </a>)?", answer.text)
        return held is not None and all(part is None or part in PASSAGE for part in held.groups())
    read = json.loads(answer.text)
    return list(read) == ["cat", "dogs"] and read["cat"] in ("mat", "log") and read["dogs"] <= 99


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_every_answer_has_the_form_that_was_asked_of_it(tiny_model: str, temperature: float) -> None:
    forms = [(WORDS, LONG, JSON, SPAN)[i % 4] for i in range(12)]
    answers = complete(tiny_model, forms, temperature=temperature, max_batch=5)
    assert [answer.finish for answer in answers] == ["stop"] * 12
    assert all(of_form(answer, form) for answer, form in zip(answers, forms, strict=True))
    assert len({answer.text for answer in answers}) > 5, "the model must still choose"


def test_none_of_them_would_have_it_otherwise(tiny_model: str) -> None:
    """Or the tests here would show nothing."""
    for answer in complete(tiny_model, [None] * 12):
        assert not re.fullmatch(WORDS.text, answer.text)
        assert answer.text[:1] not in ("{", "<")


def test_who_is_held_and_who_is_not_do_not_touch_one_another(tiny_model: str) -> None:
    forms = [WORDS if i % 2 else None for i in range(10)]
    mixed = complete(tiny_model, forms, max_batch=4)
    assert mixed[0::2] == complete(tiny_model, [None] * 10)[0::2]
    assert mixed[1::2] == complete(tiny_model, [WORDS] * 10, max_batch=3)[1::2]


def test_an_answer_that_is_cut_off_begins_as_its_form_does(tiny_model: str) -> None:
    (answer,) = complete(tiny_model, [LONG], tokens=5)
    assert (answer.finish, answer.num_tokens) == ("length", 5)
    assert re.fullmatch("[a-z]{1,30}( [A-Z]*)?", answer.text)


def test_without_memory_an_answer_keeps_its_form_and_its_words(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = complete(tiny_model, [WORDS, JSON] * 6)
    step, calls = Forward.step, [0]

    def short_of_memory(self: Forward, tokens: Sequence[int], rows: Any) -> Any:
        calls[0] += 1
        if calls[0] > 4 and len(tokens) > 3:
            raise torch.OutOfMemoryError("no memory")
        return step(self, tokens, rows)

    monkeypatch.setattr(Forward, "step", short_of_memory)
    assert complete(tiny_model, [WORDS, JSON] * 6) == expected


def test_what_must_come_is_written_and_read_without_asking_the_model(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each part had been asked for by itself, beside all that stands before it."""
    prefill, step, read, steps = Forward.prefill, Forward.step, list[int](), list[int]()

    def read_once(self: Forward, sequences: Sequence[Sequence[int]]) -> Any:
        read.append(len(sequences))
        return prefill(self, sequences)

    def counted(self: Forward, tokens: Sequence[int], rows: Any) -> Any:
        steps.append(len(tokens))
        return step(self, tokens, rows)

    monkeypatch.setattr(Forward, "prefill", read_once)
    monkeypatch.setattr(Forward, "step", counted)
    encode = vocabulary.load(tiny_model).tokenizer.encode
    begin, choice = "The answer: ", "([a-m]|[n-z])"

    async def ask(engine: TransformersEngine, prompt: Sequence[int], form: str) -> str:
        return (await engine.complete(prompt, Sampling(60, form=Form("regex", form)))).text

    async def run() -> None:
        engine = TransformersEngine(tiny_model, precision="float32", max_batch=18)
        monkeypatch.setattr(worker, "_GATHER_SECONDS", 60)  # it begins when all 18 are there
        whole = f"{begin}{choice}, sat {choice} that is all"
        answers = await asyncio.gather(*(ask(engine, prompt, whole) for prompt in prompts(9) for _ in range(2)))
        monkeypatch.setattr(worker, "_GATHER_SECONDS", 0.001)
        assert sum(read) == 9, "equal prompts are read once"
        between = encode(", sat ", add_special_tokens=False).ids
        assert steps == [18] * (1 + len(between)), "what stands between the letters is read, what follows them is not"
        for prompt, answer, same in zip(prompts(9), answers[::2], answers[1::2], strict=True):
            assert answer == same
            before = [*prompt, *encode(begin, add_special_tokens=False).ids]
            first = await ask(engine, before, choice)
            middle = f"{first}, sat "
            last = await ask(engine, [*before, *encode(middle, add_special_tokens=False).ids], choice)
            assert answer == f"{begin}{middle}{last} that is all"
        await engine.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "form", [Form("regex", "(a"), Form("regex", "(?!a)b"), Form("json", "{"), Form("json", '{"type": "fish"}')]
)
def test_a_form_that_is_none_is_refused_and_nobody_else(tiny_model: str, form: Form) -> None:
    first, broken, last = complete(tiny_model, [None, form, WORDS])
    assert isinstance(broken, RecipeError)
    assert "mend the form" in str(broken)
    assert "\n" not in str(broken)
    assert isinstance(first, Completion)
    assert of_form(last, WORDS)


def test_a_model_that_gives_no_numbers_is_still_found_out(make_model: Any) -> None:
    def change(model: Any) -> None:
        model.model.norm.weight.data[:] = 1e38  # numbers all (others are refused when loaded), but their products
        model.lm_head.weight.data[:] = 1e38  # are above what float32 holds

    answers = complete(make_model("llama", change=change), [WORDS, None])
    assert all(isinstance(answer, EngineError) and "not a number" in str(answer) for answer in answers)


def test_an_answer_whose_matcher_fails_is_an_error_and_not_a_wrong_answer(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(self: Forms, form: Form) -> LLMatcher | None:
        found = matcher(self, form)
        if form == JSON:
            assert found is not None
            assert not found.consume_token(5)
        return found

    matcher = Forms.matcher
    monkeypatch.setattr(Forms, "matcher", failed)
    good, bad = complete(tiny_model, [WORDS, JSON])
    assert of_form(good, WORDS)
    assert isinstance(bad, EngineError)
    assert "held to its form" in str(bad)


def test_a_tokenizer_that_cannot_be_held_is_told_once_and_answers_come_as_they_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forms = Forms(Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")), num_ids=2, ends=frozenset({1}))
    with caplog.at_level(logging.WARNING):
        assert [forms.matcher(WORDS), forms.matcher(JSON)] == [None, None]
    assert len(caplog.records) == 1
    assert "cannot be held" in caplog.text


def test_logits_wider_or_narrower_than_the_tokenizer(words: Path) -> None:
    """Models round the width of their logits up; some have fewer than their tokenizer has added tokens."""
    tokenizer = vocabulary.load(words).tokenizer
    for num_ids in (299, 300, 320):
        forms = Forms(tokenizer, num_ids=num_ids, ends=frozenset({1}))
        matcher = forms.matcher(Form("regex", "[^a]"))
        assert matcher is not None
        logits = torch.rand(2, num_ids)
        masked = logits.clone()
        forms.mask(masked, [(1, matcher)])
        allowed = masked[1].isfinite()
        assert masked[0].equal(logits[0])
        assert masked[1][allowed].equal(logits[1][allowed])
        assert 100 < allowed.sum() < 300
        assert not allowed[[0, 1]].any(), "neither a begin nor an end of text"
