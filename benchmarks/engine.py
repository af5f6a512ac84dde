"""The embedded engine beside `model.generate` in static batches: the same model, prompts, precision and batch size.

    python benchmarks/engine.py                 both models, batches of 16 and 64
    python benchmarks/engine.py small           the model of 3M parameters alone

Two workloads of 64 prompts (100 to 300 tokens). "equal": every answer has 96 tokens, which is what a static batch is
made for. "varied": 8 to 128 tokens, as real answers are; a static batch runs until its longest answer ends. Random
weights never end a text, so that an answer's length is its max_new_tokens. Counted are the tokens that were asked for.
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

from instructpt import vocabulary
from instructpt.engines import Sampling, open_engine
from instructpt.seeds import rng

MODELS = {
    "small": {"num_hidden_layers": 4, "hidden_size": 192, "num_attention_heads": 4, "vocab_size": 4096},
    "medium": {"num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8, "vocab_size": 4096},
}
"""3.3M and 29M parameters, with the proportions of Mistral."""
NUM_PROMPTS = 64


def measure(*, models: Sequence[str] = tuple(MODELS), batch_sizes: Sequence[int] = (16, 64)) -> dict[str, float]:
    """Tokens a second, and ours divided by generate's, by "model/workload/batch/what". More is better."""
    results: dict[str, float] = {}
    for name in models:
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
    results = measure(models=names or tuple(MODELS))
    print(f"{'model/workload/batch':24} {'instructpt':>12} {'generate':>12} {'ratio':>7}   tokens/s")
    for key in [key.removesuffix("/ratio") for key in results if key.endswith("/ratio")]:
        ours, theirs, ratio = (results[f"{key}/{what}"] for what in ("instructpt", "generate", "ratio"))
        print(f"{key:24} {ours:12.0f} {theirs:12.0f} {ratio:7.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
