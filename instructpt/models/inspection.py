"""What a model folder holds, by its config.json and the headers of its weights: quick, before any long work."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from instructpt.errors import InputError

_INDEX = "model.safetensors.index.json"
_LFS = b"version https://git-lfs"
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx", "seq_length")
_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")
_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")
_UNIT = {"b": 10**9, "m": 10**6}
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "embeddings.weight")


def inspect(folder: Path, *, own_code: bool = False) -> Mapping[str, tuple[int, ...]]:
    """The shape of each tensor in `folder`, if there is every sign that it can be loaded as a causal language model.

    own_code: whether code that comes with the model may be run.
    Raises InputError that names file, tensor and remedy: no configuration or weights, weights in a pickle, a pointer in
    place of a file, a file that is cut off or missing, another kind of model, or ids without a row in the embedding.
    """
    config = read_config(folder)
    _refuse_kind(folder, config, own_code=own_code)
    shapes: dict[str, tuple[int, ...]] = {}
    wanted = _weights(folder)
    for name in sorted(set(wanted.values())):
        shapes |= read_shapes(folder / name)
    for tensor, name in wanted.items():
        if tensor and tensor not in shapes:
            raise InputError(f"{folder / name} lacks the tensor {tensor} that {_INDEX} names: download it again")
    if not shapes or not any(math.prod(shape) for shape in shapes.values()):
        raise InputError(f"{folder} holds weights without a number in them: download them again")
    _refuse_ids_beyond(folder, config, shapes)
    return shapes


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says. Raises InputError if there is none, or it is no JSON object."""
    path = folder / "config.json"
    if not path.exists():
        raise InputError(
            f"no model at {folder}: it has no config.json; give a folder with config.json, safetensors weights and "
            "tokenizer.json"
        )
    data = path.read_bytes()
    _refuse_pointer(path, data)
    try:
        config = orjson.loads(data)
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}): take it from where the model came from") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object: take it from where the model came from")
    return config


def text_config(folder: Path) -> dict[str, Any]:
    """What config.json says of the part that reads and writes text; the whole of it, where there is no other part."""
    config = read_config(folder)
    inner = config.get("text_config")
    return config | inner if isinstance(inner, dict) else config


def context_tokens(folder: Path) -> int | None:
    """The longest text that the model in `folder` reads; None where its config does not say."""
    return _number(folder, _POSITIONS)


def hidden_size(folder: Path) -> int | None:
    """The width of the hidden states; None where its config does not say."""
    return _number(folder, _WIDTHS)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a safetensors file, by its header. Raises InputError for a file that is not whole."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as start:
        _refuse_pointer(path, start.read(len(_LFS)))
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        reason = f"{path.stat().st_size:,} bytes; {error}"
        raise InputError(f"{path} is no whole safetensors file ({reason}): download it again") from error


def num_parameters(folder: Path) -> int | None:
    """How many numbers the weights in a model folder are; None where there are none, or they cannot be read.

    By the headers of its safetensors files, so that nothing is loaded. Where a server runs the model, the weights here
    may be damaged or pointers: whoever loads them says so.
    """
    files = sorted(folder.glob("*.safetensors"))
    try:
        return sum(math.prod(shape) for path in files for shape in read_shapes(path).values()) if files else None
    except InputError:
        return None


def parameters_in_name(name: str) -> int | None:
    """How large a model says it is: 600 million for "Qwen3-0.6B"; None for a name without a size."""
    found = _IN_NAME.search(name)
    return None if found is None else round(float(found.group(1)) * _UNIT[found.group(2).lower()])


def has_chat_template(folder: Path) -> bool:
    """Whether the model in a folder was tuned to answer in conversations."""
    if (folder / "chat_template.jinja").exists():
        return True
    path = folder / "tokenizer_config.json"
    return path.exists() and bool(orjson.loads(path.read_bytes()).get("chat_template"))


def _number(folder: Path, names: tuple[str, ...]) -> int | None:
    if not (folder / "config.json").exists():
        return None
    config = text_config(folder)
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), None)


def _refuse_pointer(path: Path, data: bytes) -> None:
    if data.startswith(_LFS):
        raise InputError(f"{path} is a Git LFS pointer, not the file itself: run git lfs pull in its repository")


def _refuse_kind(folder: Path, config: Mapping[str, Any], *, own_code: bool) -> None:
    """Raises InputError for what transformers would run code for, or make a language model of that was none."""
    kind, names = config.get("model_type"), config.get("architectures") or []
    if own_code and config.get("auto_map"):
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if kind not in CONFIG_MAPPING_NAMES:
        if config.get("auto_map"):
            raise InputError(
                f"{folder} comes with code of its own ({kind}), which is not run: serve it elsewhere and ask it with "
                "--engine http, or give a model that transformers knows"
            )
        raise InputError(f"{folder / 'config.json'} is of model_type {kind!r}, which transformers does not know")
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if known is None or config.get("is_encoder_decoder"):
        raise InputError(f"{folder} holds {', '.join(names) or kind}, no causal language model: give another model")
    others = [name for name in names if not name.endswith(("ForCausalLM", "LMHeadModel")) and name != known]
    if names and len(others) == len(names):
        raise InputError(
            f"{folder} holds {', '.join(names)} by its config.json, no causal language model ({known}): give another"
        )


def _weights(folder: Path) -> Mapping[str, str]:
    """Tensor -> file, as far as it is told which; "" stands for all. Raises InputError where there are no weights."""
    index = folder / _INDEX
    if index.exists():
        data = index.read_bytes()
        _refuse_pointer(index, data)
        try:
            places: dict[str, str] = orjson.loads(data)["weight_map"]
            names = sorted(set(places.values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{index} cannot be read ({error}): download it again") from error
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of {len(names)} files of weights, {missing[0]} first: download them"
            )
        return places
    if (folder / "model.safetensors").exists():
        return {"": "model.safetensors"}
    pickles = sorted(path.name for path in folder.glob("*.bin") if path.name != "training_args.bin")
    if pickles:
        raise InputError(
            f"{folder} has its weights in a pickle ({pickles[0]}), which may run code and is not opened; where you "
            "trust it, convert it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), and copy "
            "tokenizer.json"
        )
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    if parts:
        raise InputError(f"{folder} holds {parts[0]} without {_INDEX}: download that file as well")
    raise InputError(f"{folder} holds no .safetensors weights: download model.safetensors as well")


def _refuse_ids_beyond(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError where an id of the tokenizer has no row in the embedding."""
    name = next((name for name in shapes if name.endswith(_EMBEDDINGS) and "position" not in name), None)
    if name is None:
        return
    num_rows, size = shapes[name][0], config.get("vocab_size")
    if isinstance(size, int) and size != num_rows:
        raise InputError(
            f"{folder}: {name} has {num_rows:,} rows, vocab_size in config.json is {size:,}: take both from one model"
        )
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.exists():
        return
    data = tokenizer.read_bytes()
    _refuse_pointer(tokenizer, data)
    try:
        described = orjson.loads(data)
        tokens = described["model"]["vocab"]
        pairs = tokens.items() if isinstance(tokens, dict) else ((token, i) for i, (token, _) in enumerate(tokens))
        last, spelled = max((i, token) for token, i in pairs)
        for token in described["added_tokens"]:
            if token["id"] > last:
                last, spelled = token["id"], token["content"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{tokenizer} cannot be read ({error}): download it again") from error
    if last >= num_rows:
        raise InputError(
            f"{folder}: the token {spelled!r} has id {last:,}, but {name} has {num_rows:,} rows: give the tokenizer "
            f"that the model was trained with, or call resize_token_embeddings({last + 1}) and train it"
        )
