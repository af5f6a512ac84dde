"""What can be told of a model before it is loaded: how large it is, and whether it was tuned to chat."""

from __future__ import annotations

import math
import re
from pathlib import Path

import orjson

from instructpt.errors import InputError
from instructpt.models.inspection import read_shapes

_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")
_UNIT = {"b": 10**9, "m": 10**6}


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
