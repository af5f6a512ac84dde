"""GGUF files, the form of llama.cpp: one file with weights, most of them in a few bits, and the tokenizer.

transformers unpacks them; what it would get wrong or not say is checked here first, on what the file says of itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.errors import InputError
from instructpt.models import converted

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import Tokenizer

SUFFIX = ".gguf"

_DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
_AS_GPT_2 = ("default", "gpt-2", "mpt", "olmo", "phi-2", "jais", "granite-docling")
"""Values of `tokenizer.ggml.pre`, which says where a text is cut before its bytes are merged. Those that transformers
knows stand in its own table; it takes every other name for GPT-2's, which gives SmolLM2 "2026" as one token of four."""


def gguf_folder(path: Path, *, sha256: str | None = None) -> Path:
    """A Hugging Face folder with the model of a GGUF file: its weights in 16 bits, configuration, tokenizer, template.

    Converted on the first call, which for 135 million parameters takes about a minute; the folder is kept in the
    user's cache (`models.cache_folder`), and later calls return it at once. Weights of a few bits are unpacked to
    float16, bfloat16 and float32 weights stay what they are. Nothing is fetched.

    sha256: what the file must have, if it is known; looked at before it is converted.
    Raises InputError, by name, for a file with another checksum, that is no GGUF, cut off, one part of several or an
    adapter; for an architecture, a way of packing or a way of cutting text that cannot be read.
    """
    path = path.expanduser()
    if not path.is_file():
        raise InputError(f"no file at {path}: give a .gguf file or a model folder")
    return converted(path.stem, [path], lambda folder: _convert(path, folder, sha256=sha256))


def read_gguf(path: Path) -> GGUFReader:
    """What a GGUF file says of itself, its weights unread. Raises InputError if it is no whole one."""
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, LookupError, OverflowError, MemoryError) as error:
        raise InputError(
            f"{path} is no whole GGUF file, or packed in an unknown way ({error}): download it again, or give one in "
            "Q8_0 or Q4_K"
        ) from error


def said(file: GGUFReader, name: str, default: Any = None) -> Any:
    """The field of this name: a number, a text or a list of them."""
    field = file.get_field(name)
    return default if field is None else field.contents()


def _convert(path: Path, folder: Path, *, sha256: str | None) -> None:
    if sha256 is not None and (found := _sha256(path)) != sha256:
        raise InputError(
            f"{path} has the SHA-256 {found}, not {sha256}: it is damaged or another file, install it again"
        )
    file = read_gguf(path)
    _refuse(path, file)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    weights: Counter[str] = Counter()
    for tensor in file.tensors:
        weights[tensor.tensor_type.name] += tensor.n_elements
    dtype = {"F32": torch.float32, "BF16": torch.bfloat16}.get(max(weights, key=weights.__getitem__), torch.float16)
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        _cut_as_told(path, file, tokenizer.backend_tokenizer)
        tokenizer.save_pretrained(folder)
        _drop_strangers(folder, num_tokens=len(said(file, "tokenizer.ggml.tokens")))
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(folder)
    except InputError:
        raise
    except Exception as error:  # a file of strangers: what it makes of transformers' parsers is not to be foreseen
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be converted ({type(error).__name__}: {reason}): give another file") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse(path: Path, file: GGUFReader) -> None:
    """Raises InputError for what is known from its fields not to give a model."""
    kind, num_parts = said(file, "general.type", "model"), said(file, "split.count", 1)
    architecture = str(said(file, "general.architecture"))
    if kind != "model":
        raise InputError(f"{path} holds no model but {kind}: give the .gguf file of the model itself")
    if num_parts > 1:
        raise InputError(f"{path} is one of {num_parts} parts: join them with llama-gguf-split --merge")
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES as KNOWN

    if architecture.replace("moe", "_moe") not in KNOWN and architecture not in (*KNOWN, "gpt-oss", "minimax-m2"):
        raise InputError(
            f"{path} is of the architecture {architecture}, which transformers does not read from GGUF: give the "
            "model's folder with safetensors"
        )
    if not file.tensors:
        raise InputError(f"{path} holds no weights: download it again")


def _cut_as_told(path: Path, file: GGUFReader, tokenizer: Tokenizer) -> None:
    """Have the tokenizer cut texts as `tokenizer.ggml.pre` says. Raises InputError for a way that is not known."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    way = said(file, "tokenizer.ggml.pre", "default")
    if said(file, "tokenizer.ggml.model") != "gpt2" or way in (*_AS_GPT_2, *GGUF_PRE_TOKENIZER_SPLITS):
        return
    if way not in _DIGITS_APART:
        raise InputError(
            f"{path} cuts text in the way {way}, which is not known here: give the model's folder with tokenizer.json"
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _drop_strangers(folder: Path, *, num_tokens: int) -> None:
    """Take out tokens that the file does not list: transformers adds GPT-2's "<|endoftext|>", beyond the embedding."""
    path, config = folder / "tokenizer.json", folder / "tokenizer_config.json"
    description = orjson.loads(path.read_bytes())
    strangers = {token["content"] for token in description["added_tokens"] if token["id"] >= num_tokens}
    if strangers:
        kept = [token for token in description["added_tokens"] if token["content"] not in strangers]
        path.write_bytes(orjson.dumps({**description, "added_tokens": kept}))
        named = orjson.loads(config.read_bytes())
        config.write_bytes(
            orjson.dumps(
                {key: value for key, value in named.items() if not (isinstance(value, str) and value in strangers)}
            )
        )
