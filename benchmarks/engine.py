"""The embedded engine beside `model.generate` in static batches: the same model, prompts, precision and batch size.

    python benchmarks/engine.py                 both models, batches of 16 and 64, and answers held to a form
    python benchmarks/engine.py small           the model of 3M parameters alone
    python benchmarks/engine.py held            answers held to a form alone

Two workloads of 64 prompts (100 to 300 tokens). "equal": every answer has 96 tokens, which is what a static batch is
made for. "varied": 8 to 128 tokens, as real answers are; a static batch runs until its longest answer ends. Random
weights never end a text, so that an answer's length is its max_new_tokens. Counted are the tokens that were asked for.

"held": the shipped synthesizer, 64 prompts, free and held to the form of its dialect with four pairs asked for; the two
write different answers, so tokens a second are compared.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import MistralConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from instructpt.engines import Form, Sampling, open_engine
from instructpt.seeds import rng
from instructpt.synthesis.steered import Steered
from instructpt.words import vocabulary

MODELS = {
    "small": {"num_hidden_layers": 4, "hidden_size": 192, "num_attention_heads": 4, "vocab_size": 4096},
    "medium": {"num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8, "vocab_size": 4096},
}
"""3.3M and 29M parameters, with the proportions of Mistral."""
NUM_PROMPTS = 64
HELD = "held"
_SENTENCE = (
    "The bridge over the river was built in 1843 by an engineer and carries two railway lines , 212 metres long ."
)
NUM_ROUNDS = 3
"""Of which the best counts, in turns."""


def measure(*, models: Sequence[str] = (*MODELS, HELD), batch_sizes: Sequence[int] = (16, 64)) -> dict[str, float]:
    """Tokens a second, and ours divided by generate's, by "model/workload/batch/what". More is better.

    Under "held/..." the speed with a form, without, and the first divided by the second.
    """
    results: dict[str, float] = {}
    for name in models:
        if name == HELD:
            held, free = asyncio.run(_held())
            results |= {"held/64/form": held, "held/64/free": free, "held/64/ratio": held / free}
            continue
        with tempfile.TemporaryDirectory() as folder:
            _save(Path(folder), MODELS[name])
            for batch_size in batch_sizes:
                for workload, lengths in _workloads().items():
                    ours, theirs = _compare(folder, lengths, batch_size=batch_size)
                    key = f"{name}/{workload}/{batch_size}"
                    results |= {f"{key}/instructpt": ours, f"{key}/generate": theirs, f"{key}/ratio": ours / theirs}
    return results


def _save(folder: Path, shape: dict[str, int]) -> None:
    vocabulary.train(["some text to make a vocabulary from, it is not read here. " * 9], size=300, folder=folder)
    torch.manual_seed(0)
    width, num_heads = shape["hidden_size"], shape["num_attention_heads"]
    config = MistralConfig(
        **shape,
        intermediate_size=3 * width,
        num_key_value_heads=num_heads // 2,
        max_position_embeddings=2048,
        sliding_window=None,
        bos_token_id=0,
        eos_token_id=1,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def _workloads() -> dict[str, list[int]]:
    stream = rng(0, "lengths")
    return {"equal": [96] * NUM_PROMPTS, "varied": [stream.randint(8, 128) for _ in range(NUM_PROMPTS)]}


def _prompts(num_ids: int) -> list[list[int]]:
    stream = rng(0, "prompts")
    return [[stream.randrange(2, num_ids) for _ in range(stream.randint(100, 300))] for _ in range(NUM_PROMPTS)]


def _compare(folder: str, lengths: Sequence[int], *, batch_size: int) -> tuple[float, float]:
    """Tokens a second of ours and of generate: the better of two rounds each, in turns."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompts = _prompts(model.config.vocab_size)
    ours, theirs, precision = [], [], None
    for _ in range(2):
        seconds, precision = asyncio.run(_ours(folder, prompts, lengths, batch_size=batch_size))
        ours.append(sum(lengths) / seconds)
        model = model.to(precision)
        theirs.append(sum(lengths) / _generate(model, prompts, lengths, batch_size=batch_size))
    return max(ours), max(theirs)


async def _ours(
    folder: str, prompts: Sequence[Sequence[int]], lengths: Sequence[int], *, batch_size: int
) -> tuple[float, torch.dtype]:
    engine: Any = open_engine("transformers", folder, max_batch=batch_size)
    asked = [Sampling(max_new_tokens=length) for length in lengths]
    await engine.complete(prompts[0], Sampling(max_new_tokens=8))  # The first call of every kernel is slow.
    begin = time.perf_counter()
    answers = await asyncio.gather(*map(engine.complete, prompts, asked))
    seconds = time.perf_counter() - begin
    await engine.close()
    assert [answer.num_tokens for answer in answers] == list(lengths)
    return seconds, engine.dtype


async def _held() -> tuple[float, float]:
    """Tokens a second with a form and without."""
    words, dialect, stream = vocabulary.load("shipped:synthesizer"), Steered(), rng(0, "passages")
    asked = ["narrative QA", "extractive QA", "title writing", "keywords"]
    passages = [" ".join(stream.choices(_SENTENCE.split(), k=stream.randint(60, 180))) for _ in range(NUM_PROMPTS)]
    prompts = [words.sequence(dialect.prompt([], passage, categories=asked)) for passage in passages]
    engine = open_engine("transformers", "shipped:synthesizer", max_batch=NUM_PROMPTS)
    form = dialect.form(asked)

    async def tokens_per_second(form: Form | None) -> float:
        begin = time.perf_counter()
        answers = await asyncio.gather(*(engine.complete(prompt, Sampling(128, form=form)) for prompt in prompts))
        return sum(answer.num_tokens for answer in answers) / (time.perf_counter() - begin)

    speeds = [(await tokens_per_second(form), await tokens_per_second(None)) for _ in range(NUM_ROUNDS)]
    await engine.close()
    return max(held for held, _ in speeds), max(free for _, free in speeds)


@torch.inference_mode()
def _generate(model: Any, prompts: Sequence[Sequence[int]], lengths: Sequence[int], *, batch_size: int) -> float:
    model.generation_config.eos_token_id = None
    options = {"do_sample": False, "pad_token_id": 0}
    model.generate(torch.tensor([prompts[0]]), max_new_tokens=8, **options)
    begin = time.perf_counter()
    for first in range(0, len(prompts), batch_size):
        batch = prompts[first : first + batch_size]
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in batch])
        attended = torch.arange(longest) >= torch.tensor([[longest - len(prompt)] for prompt in batch])
        model.generate(
            ids,
            attention_mask=attended.long(),
            max_new_tokens=max(lengths[first : first + batch_size]),
            **options,
        )
    return time.perf_counter() - begin


def main(names: Sequence[str]) -> None:
    """Print a line a comparison."""
    results = measure(models=names or (*MODELS, HELD))
    print(f"{'model/workload/batch':24} {'instructpt':>12} {'generate':>12} {'ratio':>7}   tokens/s; held: form, free")
    for key in [key.removesuffix("/ratio") for key in results if key.endswith("/ratio")]:
        ours, theirs, ratio = (value for name, value in results.items() if name.startswith(f"{key}/"))
        print(f"{key:24} {ours:12.0f} {theirs:12.0f} {ratio:7.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
