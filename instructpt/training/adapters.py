"""LoRA: a model whose own weights stay as they are while thin matrices beside them learn (arXiv 2106.09685).

    x ----> W (frozen) ----------------------(+)----> y          merged:  W' = W + alpha / rank * B A
     `----> A [rank, in] -> B [out, rank] --- ^

`wrap` puts the layers of `peft` into the model where its linear layers were; the model's class and its `base_model`
stay, so that the one training loop goes on as with any model. What is trained, and all that a checkpoint holds, are the
A and B; `merge` adds them to the weights and gives the model back in its plain shape, which every engine takes.

A checkpoint's `adapter_config.json` and `adapter_model.safetensors` are those of `peft`: `PeftModel.from_pretrained`
puts them on the same base model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save_file

from instructpt.errors import InputError
from instructpt.models.loading import CONFIG, WEIGHTS
from instructpt.seeds import digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from instructpt.training.settings import Lora

_ADAPTER = "default"
"""The adapter's name in the model; peft leaves it out of the names in a file."""
_OTHER_SUMS = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")
"""Settings of `peft` with which an adapter is not alpha / rank * B A."""


def wrap(model: PreTrainedModel, lora: Lora, *, seed: int) -> None:
    """Put adapters beside every linear layer of `model` but the output, and let nothing but them be trained.

    A begins uniform in +-1/sqrt(in), B as zeros: before the first step the model is what it was. Each A has a random
    stream of its own, named after it, so that they are the same bytes on every machine. Raises InputError
    where it finds no layer that it knows, or for more `last_layers` than there are.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        exclude_modules=_frozen_layers(model, lora.last_layers),
        task_type="CAUSAL_LM",
        base_model_name_or_path=model.name_or_path or None,
    )
    with torch.random.fork_rng(devices=[]):  # peft draws weights of its own; they are replaced
        try:
            inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{model.config.model_type} cannot take LoRA ({reason}): tune it without, or take another base model"
            ) from error
    with torch.no_grad():
        for name, parameter in adapters(model).items():
            if ".lora_B." in name:
                parameter.zero_()
            else:
                assert ".lora_A." in name, name
                parameter.copy_(_uniform(parameter.shape, seed, name) / parameter.shape[1] ** 0.5)


def _frozen_layers(model: PreTrainedModel, last_layers: int | None) -> str | None:
    """A pattern of the names in all layers before the last so many; None if there are none."""
    if last_layers is None:
        return None
    stacks = {name: len(module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    name = max(stacks, key=stacks.__getitem__, default="")
    num_layers = stacks.get(name, 0)
    if last_layers > num_layers:
        raise InputError(f"the last {last_layers} layers are to have adapters, the model has {num_layers}: give fewer")
    frozen = "|".join(map(str, range(num_layers - last_layers)))
    return rf"{re.escape(name)}\.({frozen})\..*" if frozen else None


def is_wrapped(model: PreTrainedModel) -> bool:
    """Whether `model` has adapters that are not merged yet."""
    return hasattr(model, "peft_config")


def adapters(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """What a wrapped model trains, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def merge(model: PreTrainedModel) -> None:
    """Add what the adapters learned to the weights beside them and take the adapters out, in place."""
    from peft.tuners.lora import LoraLayer

    layers: list[tuple[str, Any]] = [(name, m) for name, m in model.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in layers:
        layer.merge()
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write the adapters of `model`, not its own weights, to `folder` as peft does."""
    model.peft_config[_ADAPTER].save_pretrained(folder)
    tensors = {_file_name(name): value.detach().cpu().contiguous() for name, value in adapters(model).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def write_adapters(learned: Path, folder: Path, *, base: str, dtype: torch.dtype, below: Path | None = None) -> int:
    """Write the adapters that `save` wrote to `learned` once more, to be passed on; how many numbers they hold.

    base: what whoever loads them is to call the model that they belong to. below: adapters of that base on top of which
    `learned` was trained; both come out as one. Raises InputError if the two belong to other layers, or `below` is more
    than plain LoRA.
    """
    config, tensors = orjson.loads((learned / CONFIG).read_bytes()), load_file(learned / WEIGHTS)
    if below is not None:
        config, tensors = _stacked(config, tensors, below)
    config |= {"base_model_name_or_path": base}
    (folder / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    tensors = {name: value.to(dtype) for name, value in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return sum(value.numel() for value in tensors.values())


def _stacked(
    config: dict[str, Any], tensors: dict[str, torch.Tensor], below: Path
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Two adapters of one layer as one of both ranks: B A + B' A' = [B B'] [A; A']."""
    lower, lower_tensors = orjson.loads((below / CONFIG).read_bytes()), load_file(below / WEIGHTS)
    if others := [name for name in _OTHER_SUMS if lower.get(name)]:
        raise InputError(f"the adapters in {below} have {', '.join(others)}: leave --adapters-only out")
    if lower_tensors.keys() != tensors.keys():
        raise InputError(
            f"the adapters in {below} belong to other layers than the new ones: give the same --lora-layers"
        )
    rank = lower["r"] + config["r"]
    scale = config["lora_alpha"] / config["r"]
    lower_scale = lower["lora_alpha"] / lower["r"]
    joined = {}
    for name, upper in tensors.items():
        under = lower_tensors[name].to(upper.dtype)
        if ".lora_A." in name:
            joined[name] = torch.cat([under, upper])
        else:
            joined[name] = torch.cat([under * (lower_scale / scale), upper], dim=1)
    return config | {"r": rank, "lora_alpha": scale * rank}, joined


def load(model: PreTrainedModel, folder: Path) -> None:
    """Put the adapters that `save` wrote into a wrapped `model`, bit for bit."""
    tensors = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in adapters(model).items():
            parameter.copy_(tensors[_file_name(name)])


def _file_name(name: str) -> str:
    return "base_model.model." + name.replace(f".{_ADAPTER}.", ".")


def _uniform(size: torch.Size, seed: int, name: str) -> torch.Tensor:
    """Numbers from -1 to 1. From numpy: torch's stream may differ with the processor's vector width."""
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest(seed, "adapter", name), "little")))
    return torch.from_numpy(generator.random(tuple(size), dtype=np.float32) * 2 - 1)
