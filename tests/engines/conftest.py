"""Tiny models with random weights, saved as a user's would be: weights, configuration and tokenizer in one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, MistralConfig, Qwen3Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from instructpt.words import vocabulary

CONTEXT = 128
_COMMON = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    # Weights so large that one token makes another likely text: with the usual ones all prompts end alike.
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "intermediate_size": 64}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=None),
    "mistral with a window": lambda: MistralConfig(**_GROUPED, sliding_window=8),
    "qwen3": lambda: Qwen3Config(**_GROUPED, head_dim=8),
    "qwen3 with windows in some layers": lambda: Qwen3Config(
        **_GROUPED, head_dim=8, use_sliding_window=True, sliding_window=8, max_window_layers=1
    ),
    "gpt2": lambda: GPT2Config(**_COMMON),
    "gpt neox": lambda: GPTNeoXConfig(**_COMMON, intermediate_size=64),
}

MakeModel = Callable[..., str]


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of 300 ids."""
    folder = tmp_path_factory.mktemp("words")
    vocabulary.train(["the cat sat on the mat and the dog sat on the log\n\n" * 20], size=300, folder=folder)
    return folder


@pytest.fixture(scope="session")
def make_model(words: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Save a random model of one of CONFIGS; `change` may alter it first."""

    def make(kind: str = "llama", *, change: Callable[[Any], None] | None = None) -> str:
        folder = tmp_path_factory.mktemp("model")
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS[kind]())
        if change is not None:
            change(model)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((words / name).read_bytes())
        return str(folder)

    return make


@pytest.fixture(params=sorted(CONFIGS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of model in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def tiny_model(make_model: MakeModel) -> str:
    """A Llama of two layers."""
    return make_model("llama")
