"""A causal language model from a folder: the one place that loads one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from instructpt.errors import InputError
from instructpt.models.inspection import inspect

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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
