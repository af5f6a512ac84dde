"""A model, by stage or by name: where it lies and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from instructpt import vocabulary
from instructpt.artifacts import Run, Stage, fingerprint
from instructpt.corpus import files

Model = Stage[Any] | str
"""Something with a model or vocabulary in it: a stage that makes one, a folder, or a Hub id."""


def model_folder(model: Model, run: Run) -> Path:
    """The local folder of a model or vocabulary. Raises InputError if there is none."""
    if isinstance(model, str):
        return vocabulary.local_folder(model)
    folder = run.product(model, "00000")
    return folder / "model" if (folder / "model").exists() else folder


def context_tokens(folder: Path) -> int | None:
    """The longest text that the model in `folder` reads; None where its config does not say."""
    config = folder / "config.json"
    value = orjson.loads(config.read_bytes()).get("max_position_embeddings") if config.exists() else None
    return value if isinstance(value, int) else None


def quiet_loading() -> None:
    """No bar for each model that is loaded: the panel tells what goes on."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def model_sources(model: Model, run: Run) -> Mapping[str, str]:
    """The identity of a model that no stage makes: its files by content, a Hub model by its commit."""
    del run
    if not isinstance(model, str):
        return {}
    folder = vocabulary.local_folder(model, files=["config.json", "tokenizer.json"])
    if not Path(model).expanduser().is_dir():
        return {"model": folder.name}
    kept = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".safetensors", ".model")]
    return {f"model/{path.name}": files.content_digest(files.find(str(path))[0]) for path in kept}


def model_identity(model: Model, run: Run) -> str:
    """What a model is, on every machine."""
    if isinstance(model, str):
        return " ".join(f"{name}={value}" for name, value in sorted(model_sources(model, run).items()))
    return fingerprint(model, run)


def model_name(model: Model) -> str:
    """What a report calls it."""
    return model if isinstance(model, str) else model.name
