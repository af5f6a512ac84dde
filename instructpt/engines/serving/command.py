"""The command `instructpt serve`: a server for a model until Ctrl-C."""

from __future__ import annotations

import time
from typing import Annotated

import tyro

from instructpt.engines.serving.presets import Settings
from instructpt.engines.serving.vllm import say_on_stderr, serve

_SETTINGS = Settings(port=8000)
_SECONDS_BETWEEN_CHECKS = 1.0


def serve_until_stopped(
    model: tyro.conf.Positional[str], /, *, settings: Annotated[Settings, tyro.conf.arg(name="")] = _SETTINGS
) -> None:
    """Start inference servers for a model, one a GPU, and keep them until Ctrl-C.

    They run vLLM in an environment of its own, which `make vllm` makes.

    Args:
        model: a model folder, a Hub id, or a model that ships, such as shipped:synthesizer.
        settings: what may be asked of a server.
    """
    try:
        with serve(model, settings) as servers:
            for server in servers.servers:
                say_on_stderr(f"{server.launch.url}  log {server.log}")
            for reason in servers.servers[0].launch.reasons:
                say_on_stderr(f"  {reason}")
            where = f"--model {model} --endpoints {' '.join(servers.urls)}"
            say_on_stderr(f"use: instructpt augment FILES --out DIR {where}   (stop: Ctrl-C)")
            while True:
                time.sleep(_SECONDS_BETWEEN_CHECKS)
                servers.check()
    except KeyboardInterrupt:
        say_on_stderr("vllm: stopped")
