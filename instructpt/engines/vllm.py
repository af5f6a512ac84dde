"""The vLLM engine: starts vLLM for its model, speaks to it through the HTTP engine, and ends it when it is closed.

    instructpt augment FILES --engine vllm        serving.vllm starts a server a GPU --> engines.http speaks to them

One command and no server to look after; the model is loaded anew for each stage that asks it. For many commands, or
many machines, start servers with `instructpt serve` and name them with --endpoints.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

from instructpt.engines.http import HttpEngine, Question, T
from instructpt.engines.serving.presets import Settings
from instructpt.engines.serving.vllm import serve
from instructpt.errors import EngineError, EngineGoneError

_QUEUED = 1.25
"""Requests to send for each one that a server works on, so that a place freed is taken at once."""
_GONE_SECONDS = 15.0
"""The servers are on this machine and nobody restarts them: what does not answer that long is dead."""


class VllmEngine(HttpEngine):
    """The contract is `engines.Engine`. Constructing it starts the servers, which takes from half a minute on.

    timeout_seconds: as of `HttpEngine`. settings: those of `presets.Settings`.

    Raises what `vllm.serve` does.
    """

    needs_weights = True

    def __init__(self, model: str, *, timeout_seconds: float | None = None, **settings: Any) -> None:
        for name, kind in (("cores", str), ("log_folder", Path)):  # an option such as cores=0 comes as a number
            if settings.get(name) is not None:
                settings[name] = kind(settings[name])
        self._servers = serve(model, Settings(**settings))
        super().__init__(
            model,
            endpoints=self._servers.urls,
            served_model=model,
            timeout_seconds=timeout_seconds,
            max_in_flight_per_endpoint=math.ceil(_QUEUED * self._servers.servers[0].launch.requests),
            gone_seconds=_GONE_SECONDS,
        )

    async def close(self) -> None:
        """See `Engine.close`. The servers have ended when this returns."""
        await super().close()
        await asyncio.to_thread(self._servers.close)

    async def _ask(self, question: Question[T]) -> T:
        """If all servers ended, the error says what they ended of."""
        try:
            return await super()._ask(question)
        except EngineGoneError as error:
            try:
                self._servers.check()
            except EngineError as ended:
                message = f"{ended}; run the same command again, which goes on from here"
                raise EngineGoneError(message) from error
            raise
