"""GGUF files, written here by llama.cpp's own package: converted once, with the same answers; refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from transformers import LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from instructpt.errors import InputError
from instructpt.models import gguf
from instructpt.models.folders import local_folder
from instructpt.models.gguf import gguf_folder, read_gguf, said
from instructpt.words import vocabulary

HEADS, KEY_HEADS, LAYERS = 4, 2, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
WriteGguf = Callable[..., Path]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def llama(vocabulary_folder: Path) -> Any:
    torch.manual_seed(0)
    words = vocabulary.load(vocabulary_folder)
    return AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=words.size,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            max_position_embeddings=128,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
        )
    ).eval()


def tensors(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """As llama.cpp names and lays them out: the halves of each head's rotary pairs side by side."""
    for name, value in model.state_dict().items():
        array, parts = value.numpy().astype(np.float32), name.split(".")
        if name == "model.embed_tokens.weight":
            yield "token_embd.weight", array
        elif name == "model.norm.weight":
            yield "output_norm.weight", array
        elif parts[1] == "layers":
            inner = ".".join(parts[3:-1])
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_HEADS}.get(inner)
            if heads:
                array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            yield f"blk.{parts[2]}.{NAMES[inner]}.weight", array


@pytest.fixture
def write_gguf(llama: Any, vocabulary_folder: Path, tmp_path: Path) -> WriteGguf:
    """A file with the tiny Llama. quantized: its matrices in Q8_0. fields: more of the header, by name."""

    def write(
        name: str = "tiny.gguf",
        *,
        architecture: str = "llama",
        quantized: bool = False,
        pre: str = "gpt-2",
        **fields: str,
    ) -> Path:
        path = tmp_path / name
        writer = GGUFWriter(path, architecture)
        writer.add_context_length(128)
        writer.add_embedding_length(32)
        writer.add_block_count(LAYERS)
        writer.add_feed_forward_length(64)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KEY_HEADS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10_000.0)
        description = orjson.loads((vocabulary_folder / "tokenizer.json").read_bytes())["model"]
        tokens = sorted(description["vocab"], key=description["vocab"].__getitem__)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types([3 if i < 2 else 1 for i in range(len(tokens))])
        writer.add_token_merges([" ".join(pair) for pair in description["merges"]])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
        for key, value in fields.items():
            writer.add_string(key.replace("__", "."), value)
        for tensor, array in tensors(llama):
            if quantized and array.ndim == 2 and array.shape[1] % 32 == 0:
                packed = quantize(array, GGMLQuantizationType.Q8_0)
                writer.add_tensor(tensor, packed, raw_dtype=GGMLQuantizationType.Q8_0)
            else:
                writer.add_tensor(tensor, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([[0, 70, 80, 90, 100]])).logits
    return found


def converted_model(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(local_folder(path), dtype=torch.float32, use_safetensors=True).eval()


def test_a_gguf_file_becomes_the_model_that_it_was_made_from(
    write_gguf: WriteGguf, llama: Any, vocabulary_folder: Path
) -> None:
    folder = local_folder(write_gguf())
    assert torch.equal(logits(converted_model(folder)), logits(llama))
    assert (folder / "chat_template.jinja").exists()
    ours, theirs = vocabulary.load(folder), vocabulary.load(vocabulary_folder)
    assert (ours.bos, ours.eos, ours.size) == (theirs.bos, theirs.eos, theirs.size)
    assert ours.encode(["The bridge over the river"]) == theirs.encode(["The bridge over the river"])


def test_packed_weights_are_unpacked_to_half_precision(write_gguf: WriteGguf, llama: Any) -> None:
    path = write_gguf(quantized=True)
    config = orjson.loads((local_folder(path) / "config.json").read_bytes())
    assert config["dtype"] == "float16"
    assert config["tie_word_embeddings"]
    difference = (logits(converted_model(path)) - logits(llama)).abs().max()
    assert 0 < difference < 0.05


def test_a_file_is_converted_once_and_again_only_when_it_changes(
    write_gguf: WriteGguf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = write_gguf(), []
    convert = gguf._convert
    monkeypatch.setattr(gguf, "_convert", lambda *given, **named: (calls.append(given), convert(*given, **named)))
    first = gguf_folder(path)
    assert gguf_folder(path) == first == local_folder(path.parent)  # a folder with nothing but one file is that file
    assert len(calls) == 1
    os.utime(path, ns=(1, 1))
    assert gguf_folder(path) != first
    assert len(calls) == 2
    assert not list(first.parent.glob(".*"))


def test_text_is_cut_as_the_file_says(write_gguf: WriteGguf) -> None:
    """SmolLM2 has a token for each digit; transformers alone takes an unknown way for GPT-2's."""
    words = vocabulary.load(local_folder(write_gguf(pre="smollm")))
    assert len(words.encode(["1843"])[0]) == 4
    assert len(vocabulary.load(local_folder(write_gguf("other.gguf"))).encode(["1843"])[0]) < 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "rwkv7"}, "architecture rwkv7"),
        ({"pre": "viking"}, "in the way viking"),
        ({"general__type": "adapter"}, "holds no model but adapter"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    write_gguf: WriteGguf, settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        local_folder(write_gguf(**settings))
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_cut_file_is_refused_before_it_is_read(write_gguf: WriteGguf, share: float) -> None:
    path = write_gguf()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="download it again"):
        local_folder(path)


def test_another_way_of_packing_is_refused(write_gguf: WriteGguf) -> None:
    path = write_gguf()
    data, name = path.read_bytes(), b"blk.0.attn_q.weight"
    place = data.index(name) + len(name) + 4 + 2 * 8  # the number of dimensions, two dimensions
    path.write_bytes(data[:place] + (99).to_bytes(4, "little") + data[place + 4 :])
    with pytest.raises(InputError, match=r"packed in an unknown way \(.*99.* is not a valid"):
        local_folder(path)


def test_a_file_says_what_it_holds(write_gguf: WriteGguf) -> None:
    file = read_gguf(write_gguf())
    assert said(file, "general.architecture") == "llama"
    assert said(file, "general.type", "model") == "model"
    assert file.get_tensor(0).shape[0] == 32
