"""Model shapes: named sizes of the Mistral architecture, how fast each learns, and how a model of a shape begins.

    shape    hidden  layers  heads   parameters with vocabulary   learning rate
    1m          128       4      4       1.3 M           4,096          0.0036
    3m          192       5      6       3.0 M           4,096          0.0024
    7m          256       6      4       6.9 M           8,192          0.0018
    15m         384       7      6      15.5 M           8,192          0.0012
    30m         512       7      8      30.5 M          16,384          0.0009
    60m         640      10     10      60.0 M          16,384          0.00072
    125m        768      14     12     123.7 M          32,000          0.0006
    500m       1536      16     24     567.8 M          32,000          0.0003   both the paper's
    1.3b       2048      24     32       1.3 B          32,000          0.0002   both the paper's

Models are Hugging Face causal language models and stay so: whatever takes `MistralForCausalLM` takes them. A new shape
is a line in `SHAPES`.

A token costs 6 floating-point operations a weight that multiplies it (2 forward, 4 backward), and in each layer 12 a
unit of hidden width and position of the row for attention (PaLM, arXiv 2204.02311, appendix B). The convention counts
the whole square of the row for attention, though half of it is masked and other documents are not looked at: figures
compare with published ones, and rows of short documents flatter themselves a little.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructpt.errors import RecipeError
from instructpt.models.folders import local_folder
from instructpt.models.loading import load_causal_model
from instructpt.seeds import digest

if TYPE_CHECKING:
    import torch
    from transformers import MistralConfig, PreTrainedModel

RATE_TIMES_WIDTH = 0.46
"""The highest learning rate of a shape times its width. That the best rate of Adam for matrices falls as one over
their width is Yang et al.'s rule (arXiv 2203.03466, table 3); this number is fixed by the paper's 3e-4 at a width of
1,536. It gives 6e-4 at 768, which is what GPT-3's smallest model had (arXiv 2005.14165, table 2.1), and 2.4e-3 at 192,
where 1.5e-3 and 3e-3 were measured to be equally good and 6e-3 worse (docs/log.md)."""

_MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a Mistral model; every head has its own keys and values, as in the paper's models."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    """Width between the two halves of a feed-forward block: about 8/3 of hidden."""
    tied: bool = True
    """One table for reading and writing tokens. Saves most where the vocabulary is a large share of the model."""
    published_rate: float | None = None
    """The highest learning rate in the paper, for its own shapes."""
    vocabulary_size: int = 32_000
    """Ids that suit the size: so many that the table of tokens is no more than half of the model."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.hidden // self.heads % 2:
            raise RecipeError(f"hidden is {self.hidden} with {self.heads} heads: give heads of one even width")

    @property
    def learning_rate(self) -> float:
        """The highest that suits the shape: the published one, else `RATE_TIMES_WIDTH` over its width, two digits."""
        return self.published_rate or float(f"{RATE_TIMES_WIDTH / self.hidden:.2g}")

    def num_parameters(self, vocabulary_size: int | None = None) -> int:
        """Of a model of this shape; None for the shape's own vocabulary."""
        block = 4 * self.hidden**2 + 3 * self.hidden * self.feed_forward + 2 * self.hidden
        tables = (1 if self.tied else 2) * (vocabulary_size or self.vocabulary_size) * self.hidden
        return tables + self.layers * block + self.hidden


SHAPES = {
    "1m": Shape(hidden=128, layers=4, heads=4, feed_forward=352, vocabulary_size=4096),
    "3m": Shape(hidden=192, layers=5, heads=6, feed_forward=512, vocabulary_size=4096),
    "7m": Shape(hidden=256, layers=6, heads=4, feed_forward=704, vocabulary_size=8192),
    "15m": Shape(hidden=384, layers=7, heads=6, feed_forward=1024, vocabulary_size=8192),
    "30m": Shape(hidden=512, layers=7, heads=8, feed_forward=1376, vocabulary_size=16_384),
    "60m": Shape(hidden=640, layers=10, heads=10, feed_forward=1728, vocabulary_size=16_384),
    "125m": Shape(hidden=768, layers=14, heads=12, feed_forward=2048),
    # As in the configuration of the released InstructLM-500M: 16 layers, not the 24 that digests of the paper give.
    "500m": Shape(hidden=1536, layers=16, heads=24, feed_forward=4320, tied=False, published_rate=3e-4),
    "1.3b": Shape(hidden=2048, layers=24, heads=32, feed_forward=5504, tied=False, published_rate=2e-4),
}


def shape_named(name: str) -> Shape:
    """The shape called `name`. Raises RecipeError for an unknown name."""
    if name not in SHAPES:
        raise RecipeError(f"no model shape is called {name!r}: choose one of {', '.join(SHAPES)}")
    return SHAPES[name]


def configuration(
    shape: Shape, *, vocabulary_size: int, bos: int | None, eos: int, max_positions: int
) -> MistralConfig:
    """The Hugging Face configuration of a shape. max_positions: the longest text it is made for, in tokens."""
    from transformers import MistralConfig

    return MistralConfig(
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=shape.tied,
        sliding_window=None,  # the paper's window is as long as its rows, so it never cuts
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=None,
    )


def new_model(
    shape: Shape, *, vocabulary_size: int, bos: int | None, eos: int, max_positions: int, seed: int
) -> PreTrainedModel:
    """A model with random weights in float32 on the CPU: the same bytes on every machine, whatever device comes later.

    Matrices are normal with deviation sqrt(2 / (5 hidden)) (Nguyen and Salazar, arXiv 1910.05895), those that write
    into the residual stream divided by sqrt(2 layers) (GPT-2, section 2.3); norms are ones. Each parameter has a
    random stream of its own, named after it. After 120 steps of 4,096 tokens the 3m shape stands at a loss of 5.90 so;
    at 6.67 with a deviation of 0.02 throughout, the usual one, which is made for wide models.
    """
    import torch
    from transformers import MistralForCausalLM

    config = configuration(shape, vocabulary_size=vocabulary_size, bos=bos, eos=eos, max_positions=max_positions)
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights of its own; they are replaced
        model: PreTrainedModel = MistralForCausalLM(config)
    deviation = (2 / (5 * shape.hidden)) ** 0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                parameter.copy_(_normal(parameter.shape, seed, name))
                parameter.mul_(deviation / (2 * shape.layers) ** 0.5 if writes else deviation)
    return model


def load_model(model: str | Path) -> PreTrainedModel:
    """The model in a folder or on the Hub, in float32 on the CPU, to be trained further.

    Raises InputError as `load_causal_model` does. Code that comes with a model is not run.
    """
    import torch

    return load_causal_model(local_folder(model, files=_MODEL_FILES), dtype=torch.float32)


def _normal(size: torch.Size, seed: int, name: str) -> Any:
    """Standard normal numbers. From numpy: torch's stream may differ with the processor's vector width."""
    import numpy as np
    import torch

    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest(seed, "model", name), "little")))
    return torch.from_numpy(generator.standard_normal(tuple(size), dtype=np.float32))


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
