"""Models to be measured: a folder that cannot be loaded is the user's mistake, and told as such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructpt.errors import InputError


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """For the line that loads the model in `folder`, whatever loads it.

    Raises InputError if there are no config and safetensors weights, or if transformers cannot make a causal language
    model of them. Weights in pickles are not opened.
    """
    if not (folder / "config.json").exists() or not any(folder.glob("*.safetensors")):
        raise InputError(f"no model at {folder}: give a folder with config.json, safetensors weights, tokenizer.json")
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot load {folder} as a causal language model ({reason}): give another model") from error
