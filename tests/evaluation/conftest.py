"""A model of two layers with a vocabulary of its own, made on the spot."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import zstandard

import instructpt
from instructpt.records import Document
from instructpt.words import vocabulary

SAMPLE = Path(instructpt.__file__).parent / "sample"


def sample_documents(name: str) -> list[Document]:
    data = zstandard.ZstdDecompressor().decompress((SAMPLE / f"{name}.jsonl.zst").read_bytes())
    rows = [orjson.loads(line) for line in data.splitlines()]
    return [Document(row["id"], row["text"], row["source"], {"domain": row["domain"]}) for row in rows]


@pytest.fixture(scope="session")
def held_out() -> list[Document]:
    return sample_documents("held_out")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, held_out: list[Document]) -> Path:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    folder = tmp_path_factory.mktemp("tiny_model")
    vocabulary.train((document.text for document in held_out), size=1024, folder=folder)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=1024,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        sliding_window=None,
    )
    MistralForCausalLM(config).save_pretrained(folder)
    return folder
