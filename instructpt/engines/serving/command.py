"""The command `instructpt serve`: a server for a model until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from instructpt.engines.serving.presets import Settings
from instructpt.engines.serving.vllm import say_on_stderr, serve

PRESETS = Settings()
_SECONDS_BETWEEN_CHECKS = 1.0


def serve_until_stopped(
    model: tyro.conf.Positional[str],
    /,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    settings: Annotated[Settings, tyro.conf.arg(name="")] = PRESETS,
    environment: str | None = None,
    log_folder: Path | None = None,
    start_seconds: float = 1800.0,
) -> None:
    """Start inference servers for a model, one a GPU, and keep them until Ctrl-C.

    They run vLLM in an environment of its own, which `make vllm` makes.

    Args:
        model: a model folder, a Hub id, or a model that ships, such as shipped:synthesizer.
        port: of the first server; each further GPU's takes the next one.
        host: where to listen; 0.0.0.0 lets other machines in. There is no key: keep it on a network that you trust.
        settings: what may be asked of a server.
        environment: where vLLM is; else INSTRUCTPT_VLLM, .venv-vllm, or the vllm on PATH.
        log_folder: for the servers' logs; else a temporary one.
        start_seconds: how long they may take to load the model.
    """
    try:
        with serve(
            model,
            port=port,
            host=host,
            settings=settings,
            environment=environment,
            log_folder=log_folder,
            start_seconds=start_seconds,
        ) as servers:
            for server in servers.servers:
                say_on_stderr(f"{server.launch.url}  log {server.log}")
            for reason in servers.servers[0].launch.reasons:
                say_on_stderr(f"  {reason}")
            say_on_stderr(how_to_use(model, servers.urls))
            while True:
                time.sleep(_SECONDS_BETWEEN_CHECKS)
                servers.check()
    except KeyboardInterrupt:
        say_on_stderr("vllm: stopped")


def how_to_use(model: str, urls: tuple[str, ...]) -> str:
    """What to type next."""
    return f"use: instructpt augment FILES --out DIR --model {model} --endpoints {' '.join(urls)}   (stop: Ctrl-C)"
