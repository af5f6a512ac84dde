"""GGUF files, the form of llama.cpp: one file with weights, most of them in a few bits, and the tokenizer.

    header      "GGUF", version, counts
    fields      general.architecture = "llama", tokenizer.ggml.tokens = [...], ...
    tensors     name, shape, type, place of each
    data

transformers unpacks them; what it would get wrong or not say is checked here first, on the header.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from instructpt.errors import InputError
from instructpt.models.converted import converted

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_STRING_BYTES = 1 << 24

_DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
_AS_GPT_2 = ("default", "gpt-2", "mpt", "olmo", "phi-2", "jais", "granite-docling")
"""Values of `tokenizer.ggml.pre`, which says where a text is cut before its bytes are merged. Those that transformers
knows stand in its own table; it takes every other name for GPT-2's, which gives SmolLM2 "2026" as one token of four."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself."""

    fields: Mapping[str, Any]
    """Numbers and strings by name; of an array its length."""
    tensors: Mapping[str, tuple[int, tuple[int, ...], int]]
    """Name -> type, shape, place in the data."""
    num_bytes: int
    """Before the data."""


def gguf_folder(path: Path, *, sha256: str | None = None) -> Path:
    """A Hugging Face folder with the model of a GGUF file: its weights in 16 bits, configuration, tokenizer, template.

    Converted on the first call, which for 135 million parameters takes about a minute; the folder is kept in the
    user's cache (`converted.cache_folder`), and later calls return it at once. Weights of a few bits are unpacked to
    float16, bfloat16 and float32 weights stay what they are. Nothing is fetched.

    sha256: what the file must have, if it is known; looked at before it is converted.
    Raises InputError, by name, for a file with another checksum, that is no GGUF, cut off, one part of several or an
    adapter; for an architecture, a way of packing or a way of cutting text that cannot be read.
    """
    path = path.expanduser()
    if not path.is_file():
        raise InputError(f"no file at {path}: give a .gguf file or a model folder")
    return converted(path.stem, [path], lambda folder: _convert(path, folder, sha256=sha256))


def read_header(path: Path) -> Header:
    """Raises InputError if the file is no GGUF, or ends before its header does."""
    with path.open("rb") as file:
        start = file.read(4)
        if start != _MAGIC:
            raise InputError(f"{path} is no GGUF file (it begins with {start!r}): download it again")
        try:
            version = _number(file, "I")
            if not 2 <= version <= 3:
                raise InputError(f"{path} is GGUF of version {version}, 2 and 3 are read: convert it with llama.cpp")
            num_tensors, num_fields = _number(file, "Q"), _number(file, "Q")
            fields = {_string(file): _value(file, _number(file, "I")) for _ in range(num_fields)}
            tensors = {}
            for _ in range(num_tensors):
                name, num_dimensions = _string(file), _number(file, "I")
                shape = tuple(_number(file, "Q") for _ in range(num_dimensions))
                tensors[name] = (_number(file, "I"), shape, _number(file, "Q"))
        except (struct.error, KeyError, UnicodeDecodeError, OverflowError, MemoryError) as error:
            raise InputError(f"{path} is cut off or damaged in its header: download it again") from error
        alignment = int(fields.get("general.alignment", 32)) or 32
        return Header(fields, tensors, -(-file.tell() // alignment) * alignment)


def _convert(path: Path, folder: Path, *, sha256: str | None) -> None:
    if sha256 is not None and (found := _sha256(path)) != sha256:
        raise InputError(
            f"{path} has the SHA-256 {found}, not {sha256}: it is damaged or another file, install it again"
        )
    header = read_header(path)
    _refuse(path, header)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    dtype = {"F32": torch.float32, "BF16": torch.bfloat16}.get(_main_type(header), torch.float16)
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        _cut_as_told(path, header, tokenizer.backend_tokenizer)
        tokenizer.save_pretrained(folder)
        _drop_strangers(folder, num_tokens=header.fields["tokenizer.ggml.tokens"])
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


def _refuse(path: Path, header: Header) -> None:
    """Raises InputError for what is known from the header not to give a model."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    kind, num_parts = header.fields.get("general.type", "model"), header.fields.get("split.count", 1)
    architecture = str(header.fields.get("general.architecture"))
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
    end = header.num_bytes
    for name, (type_, shape, place) in header.tensors.items():
        if type_ not in {known.value for known in GGMLQuantizationType}:
            raise InputError(f"{path}: tensor {name} is packed in the unknown way {type_}: give a file in Q8_0 or Q4_K")
        num_weights, num_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(type_)]
        end = max(end, header.num_bytes + place + math.prod(shape) // num_weights * num_bytes)
    if path.stat().st_size < end:
        raise InputError(f"{path} is cut off: it has {path.stat().st_size:,} bytes of {end:,}; download it again")


def _cut_as_told(path: Path, header: Header, tokenizer: Tokenizer) -> None:
    """Have the tokenizer cut texts as `tokenizer.ggml.pre` says. Raises InputError for a way that is not known."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    way = header.fields.get("tokenizer.ggml.pre", "default")
    if header.fields.get("tokenizer.ggml.model") != "gpt2" or way in (*_AS_GPT_2, *GGUF_PRE_TOKENIZER_SPLITS):
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


def _main_type(header: Header) -> str:
    from gguf.constants import GGMLQuantizationType

    weights: Counter[int] = Counter()
    for type_, shape, _ in header.tensors.values():
        weights[type_] += math.prod(shape)
    return str(GGMLQuantizationType(weights.most_common(1)[0][0]).name) if weights else "F32"


def _value(file: IO[bytes], type_: int) -> Any:
    if type_ == _STRING:
        return _string(file)
    if type_ != _ARRAY:
        return _number(file, _NUMBERS[type_])
    element, length = _number(file, "I"), _number(file, "Q")
    if element in _NUMBERS:
        file.seek(length * struct.calcsize("<" + _NUMBERS[element]), 1)
    else:
        for _ in range(length):
            _value(file, element)
    return length


def _string(file: IO[bytes]) -> str:
    length = _number(file, "Q")
    if length > _MAX_STRING_BYTES:
        raise OverflowError
    data = file.read(length)
    if len(data) < length:
        raise struct.error
    return data.decode("utf-8", "replace")


def _number(file: IO[bytes], form: str) -> Any:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]
