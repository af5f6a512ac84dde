"""Models as people have them: loaded, or refused in one line that names file, tensor and remedy, at the start."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, GPT2Config, LlamaConfig

from instructpt.cli.commands import main
from instructpt.engines.models import check_model
from instructpt.errors import InputError
from instructpt.models.folders import local_folder
from instructpt.models.inspection import context_tokens, hidden_size, inspect
from instructpt.models.loading import load_causal_model
from instructpt.words import vocabulary

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 1234567\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def saved(folder: Path, words: Path, config: Any, model_class: Any = AutoModelForCausalLM) -> Path:
    torch.manual_seed(0)
    model = model_class.from_config(config) if model_class is AutoModelForCausalLM else model_class(config)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(words / name, folder / name)
    return folder


def llama_config(words: Path, **settings: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary.load(words).size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        **settings,
    )


@pytest.fixture(scope="session")
def whole(vocabulary_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("llama"), vocabulary_folder, llama_config(vocabulary_folder))


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """A whole model, to be spoiled."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def shard(folder: Path) -> dict[str, str]:
    """The weights in two files and an index, as large models come."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, members in parts.items():
        save_file({name: tensors[name] for name in members}, folder / file, metadata={"format": "pt"})
    where = {name: file for file, members in parts.items() for name in members}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return where


def lose_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def lose_index(folder: Path) -> None:
    shard(folder)
    (folder / f"{WEIGHTS}.index.json").unlink()


def lose_tensor(folder: Path) -> None:
    where = shard(folder)
    file = folder / where["model.norm.weight"]
    tensors = {name: value for name, value in load_file(file).items() if name != "model.norm.weight"}
    save_file(tensors, file, metadata={"format": "pt"})


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) * 2 // 3])


def pickle_only(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def add_tokens(folder: Path) -> None:
    description = orjson.loads((folder / "tokenizer.json").read_bytes())
    added = {**description["added_tokens"][0], "id": 400, "content": "<|tool|>"}
    description["added_tokens"].append(added)
    (folder / "tokenizer.json").write_bytes(orjson.dumps(description))


def configure(folder: Path, **settings: Any) -> None:
    config = orjson.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_bytes(orjson.dumps(config | settings))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an LFS pointer": (lambda f: (f / WEIGHTS).write_text(POINTER), r"safetensors is a Git LFS pointer.*lfs pull"),
    "a config that is a pointer": (lambda f: (f / "config.json").write_text(POINTER), r"is a Git LFS pointer"),
    "a cut file": (cut, r"model\.safetensors is no whole safetensors file \(.* bytes"),
    "an empty file": (lambda f: (f / WEIGHTS).write_bytes(b""), r"model\.safetensors is no whole safetensors file"),
    "a missing shard": (lose_shard, r"lacks 1 of 2 files of weights, model-00002-of-00002\.safetensors"),
    "shards without an index": (lose_index, r"without model\.safetensors\.index\.json"),
    "a missing tensor": (lose_tensor, r"lacks the tensor model\.norm\.weight"),
    "a pickle": (pickle_only, r"in a pickle \(pytorch_model\.bin\).*save_pretrained"),
    "added tokens": (add_tokens, r"'<\|tool\|>' has id 400, but model\.embed_tokens\.weight has 400 rows"),
    "another vocab_size": (lambda f: configure(f, vocab_size=500), r"weight has 400 rows, vocab_size .* 500"),
    "code of its own": (
        lambda f: configure(f, model_type="mine", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"}),
        r"comes with code of its own \(mine\), which is not run",
    ),
    "an unknown type": (lambda f: configure(f, model_type="mine"), r"model_type 'mine', which transformers does not"),
    "a config of no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json is no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_loaded_is_refused_by_its_headers(model: Path, case: str) -> None:
    spoil, message = REFUSED[case]
    spoil(model)
    with pytest.raises(InputError, match=message) as refusal:
        inspect(model)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match=message):
        load_causal_model(model, dtype=torch.float32)
    if "config" not in case:
        with pytest.raises(InputError, match=message):
            check_model(str(model))


def test_bert_is_no_causal_language_model(vocabulary_folder: Path, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    folder = saved(tmp_path / "bert", vocabulary_folder, config, BertForMaskedLM)
    with pytest.raises(InputError, match=r"BertForMaskedLM by its config\.json, no causal language model"):
        load_causal_model(folder, dtype=torch.float32)


def test_weights_that_are_nan_are_refused_by_name(model: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, model / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 of 2,048 numbers of model\.layers\.1\.mlp\.up_proj\.weight are NaN"):
        load_causal_model(model, dtype=torch.float32)


def test_weights_of_another_shape_or_none_are_refused_by_name(model: Path) -> None:
    tensors = load_file(model / WEIGHTS)
    lost = {name: value for name, value in tensors.items() if name != "model.layers.0.self_attn.q_proj.weight"}
    save_file(lost, model / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack model\.layers\.0\.self_attn\.q_proj\.weight \(1 tensor"):
        load_causal_model(model, dtype=torch.float32)
    tensors["model.norm.weight"] = torch.ones(8)
    save_file(tensors, model / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"model\.norm\.weight"):
        load_causal_model(model, dtype=torch.float32)


def test_whole_sharded_and_tied_models_load(model: Path, vocabulary_folder: Path, tmp_path: Path) -> None:
    expected = load_causal_model(model, dtype=torch.float32).state_dict()
    shard(model)
    found = load_causal_model(model, dtype=torch.float32).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    tied = saved(tmp_path / "tied", vocabulary_folder, llama_config(vocabulary_folder, tie_word_embeddings=True))
    assert "lm_head.weight" not in inspect(tied)
    assert load_causal_model(tied, dtype=torch.float32).lm_head.weight.isfinite().all()


def test_gpt_2_says_its_sizes_in_other_words(vocabulary_folder: Path, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=400, n_positions=96, n_embd=32, n_layer=1, n_head=2)
    folder = saved(tmp_path / "gpt2", vocabulary_folder, config)
    assert context_tokens(folder) == 96
    assert hidden_size(folder) == 32
    assert load_causal_model(folder, dtype=torch.float32).config.n_embd == 32


@pytest.fixture
def lora(whole: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(whole)
    with warnings.catch_warnings(action="ignore"):
        wrapped = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    wrapped.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def test_lora_adapters_are_merged_into_their_base_once(lora: Path, whole: Path) -> None:
    from peft import PeftModel

    folder = local_folder(str(lora))
    assert local_folder(str(lora)) == folder
    ids = torch.tensor([[0, 70, 80]])
    with torch.inference_mode():
        merged = load_causal_model(folder, dtype=torch.float32)(input_ids=ids).logits
        with warnings.catch_warnings(action="ignore"):
            adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(whole), lora)
        expected = adapted(input_ids=ids).logits
        plain = load_causal_model(whole, dtype=torch.float32)(input_ids=ids).logits
    assert torch.allclose(merged, expected, atol=1e-5)
    assert not torch.allclose(merged, plain, atol=1e-3)
    assert vocabulary.load(str(lora)).size == vocabulary.load(whole).size


def test_lora_adapters_without_their_base_say_which(lora: Path) -> None:
    config = orjson.loads((lora / "adapter_config.json").read_bytes())
    gone = {**config, "base_model_name_or_path": "/gone/llama-base"}
    (lora / "adapter_config.json").write_bytes(orjson.dumps(gone))
    with pytest.raises(InputError, match="LoRA adapters for /gone/llama-base, which is not here"):
        local_folder(str(lora))
    (lora / "adapter_model.safetensors").write_text(POINTER)
    (lora / "adapter_config.json").write_bytes(orjson.dumps(config))
    with pytest.raises(InputError, match="Git LFS pointer"):
        local_folder(str(lora))


def test_augment_refuses_a_broken_model_before_it_reads(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(model)
    (tmp_path / "corpus.jsonl").write_bytes(orjson.dumps({"text": "The bridge was built in 1843. " * 20}))
    words = ["augment", str(tmp_path / "corpus.jsonl"), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main([*words, "--passage-tokens", "64", "--max-new-tokens", "32"]) == 2
    assert "is no whole safetensors file" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_augment_refuses_a_context_too_short_for_its_passages(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus.jsonl").write_bytes(orjson.dumps({"text": "The bridge was built in 1843. " * 20}))
    words = ["augment", str(tmp_path / "corpus.jsonl"), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "reads 256 tokens" in capsys.readouterr().err
