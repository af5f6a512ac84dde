"""How much of the device's peak rate a run uses: model FLOPs utilisation, MFU.

A token costs 6 floating-point operations a weight that multiplies it (2 forward, 4 backward), and in each layer 12 a
unit of hidden width and position of the row for attention (PaLM, arXiv 2204.02311, appendix B). The convention counts
the whole square of the row for attention, though half of it is masked and other documents are not looked at: figures
compare with published ones, and rows of short documents flatter themselves a little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PEAK_FLOPS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A6000": 155e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
}
"""Part of the device's name -> dense bfloat16 operations a second with float32 sums; the makers' data sheets."""


def flops_per_token(model: PreTrainedModel, *, row_tokens: int) -> float:
    """Floating-point operations that training on one token takes, backward pass included."""
    config = model.config
    head = model.get_output_embeddings()
    table = model.get_input_embeddings()
    weights = sum(parameter.numel() for parameter in model.parameters())
    if head.weight is not table.weight:
        weights -= table.weight.numel()  # looked up, not multiplied
    attention_width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return float(6 * weights + 12 * config.num_hidden_layers * attention_width * row_tokens)


def utilisation(model: PreTrainedModel, *, tokens_per_second: float, row_tokens: int) -> float | None:
    """Share of the peak rate of the device that `model` is on; None where the peak is unknown."""
    peak = peak_flops(model.device)
    return tokens_per_second * flops_per_token(model, row_tokens=row_tokens) / peak if peak else None


def peak_flops(device: torch.device) -> float | None:
    """Peak bfloat16 operations a second of `device`; None for a CPU or a device not in the table."""
    if device.type != "cuda":
        return None
    import torch

    return peak_flops_named(torch.cuda.get_device_name(device))


def peak_flops_named(name: str) -> float | None:
    """The table's entry for a device's full name; the longest match counts: an "H100 PCIe" is not an "H100"."""
    matches = [key for key in PEAK_FLOPS if key.lower() in name.lower()]
    return PEAK_FLOPS[max(matches, key=len)] if matches else None
