"""A causal language model from a folder: the one place that loads one. Thin matrices beside a base (LoRA folders, as
peft writes them) are merged into it once."""

from __future__ import annotations

import warnings
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import orjson

from instructpt.errors import InputError
from instructpt.models import converted, resolve
from instructpt.models.inspection import inspect, read_shapes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def base_of(folder: Path) -> str:
    """The model that the adapters in `folder` were trained on. Raises InputError if they do not say, or are no LoRA."""
    path = folder / CONFIG
    try:
        config = orjson.loads(path.read_bytes())
        kind, base = config["peft_type"], config["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): take it from where the adapters came from") from error
    if kind != "LORA":
        raise InputError(f"{folder} holds adapters of the kind {kind}, only LoRA is read: merge them into their base")
    if not base:
        raise InputError(f"{path} names no base: write the folder or Hub id of the model into base_model_name_or_path")
    return str(base)


def are_alone(folder: Path) -> bool:
    """Whether a folder holds adapters, and no weights that they were merged into."""
    return (folder / CONFIG).exists() and {path.name for path in folder.glob("*.safetensors")} <= {WEIGHTS}


def adapters_folder(model: str) -> Path | None:
    """Where the adapters lie that a name means; None if it means a whole model, or one that is not on this machine."""
    path = Path(resolve(model)).expanduser()
    return path if path.is_dir() and are_alone(path) else None


def merged_folder(folder: Path, base: Path) -> Path:
    """A Hugging Face folder of `base` with the adapters in `folder` merged into it; kept in the user's cache.

    Raises InputError for adapters that are not whole or do not fit the base.
    """
    if not (folder / WEIGHTS).exists():
        raise InputError(f"{folder} has {CONFIG} but no {WEIGHTS}: download it, pickled weights are not opened")
    read_shapes(folder / WEIGHTS)
    sources = [folder / CONFIG, folder / WEIGHTS, *sorted(base.glob("*.safetensors"))]
    return converted(folder.name, sources, lambda target: _merge(folder, base, target))


def _merge(folder: Path, base: Path, target: Path) -> None:
    from peft import PeftModel

    model = load_causal_model(base, dtype="auto")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of peft's calls into transformers
            merged = PeftModel.from_pretrained(model, str(folder), local_files_only=True).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the adapters in {folder} do not fit their base {base} ({reason})") from error
    refuse_nan(merged, folder)
    merged.save_pretrained(target)
    for source in (base, folder):  # the adapters' own tokenizer and template, where there are any
        for path in source.iterdir():
            if path.name.startswith(("tokenizer", "special_tokens", "added_tokens", "chat_template", "synthesizer")):
                copyfile(path, target / path.name)


def load_causal_model(
    folder: Path, *, dtype: torch.dtype | str, attention: str | None = None, own_code: bool = False
) -> PreTrainedModel:
    """The model in a Hugging Face folder, on the CPU. own_code: run code that comes with it.

    Raises InputError for all that `inspect` refuses, for what transformers cannot load, and, with the tensor's name,
    where weights are missing (transformers draws them at random) or hold NaN.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    inspect(folder, own_code=own_code)
    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of missing tensors is our one line
    try:
        model: PreTrainedModel
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=own_code,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to be named below
        )
    except (
        OSError,
        ValueError,
        KeyError,
        ImportError,
        RuntimeError,
        AttributeError,
        TypeError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot load {folder} as a causal language model ({reason}): give another model") from error
    finally:
        logging.set_verbosity(shown)
    if told["mismatched_keys"]:
        name, given, wanted = sorted(told["mismatched_keys"])[0]
        raise InputError(
            f"{folder}: {name} has the shape {list(given)}, config.json asks for {list(wanted)}: take both from one "
            "model"
        )
    if missing := sorted(told["missing_keys"]):
        raise InputError(
            f"the weights in {folder} lack {missing[0]} ({len(missing)} tensors in all): download them again"
        )
    refuse_nan(model, folder)
    return model


def refuse_nan(model: PreTrainedModel, folder: Path) -> None:
    """Raises InputError with the name of the first tensor that holds a number that is none, or is infinite."""
    for name, value in model.named_parameters():
        if not value.isfinite().all():
            num_bad = int((~value.isfinite()).sum())
            raise InputError(
                f"{folder}: {num_bad:,} of {value.numel():,} numbers of {name} are NaN or infinite: take an earlier "
                "checkpoint, or download the weights again"
            )
