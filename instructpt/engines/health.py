"""Health: a background task for each endpoint that gets to know it and asks, again and again, how it is.

    GET /v1/models     what it is (vLLM, SGLang, llama.cpp, another) and under which name it serves the model
    GET /health        every few seconds, more often while it is down; /v1/models where there is none
    GET /metrics       vLLM: requests that run and wait, tokens that its prefix cache held

Nothing here needs an answer to be right: a probe that fails is counted, and `places` draws the conclusions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.engines.calls import get, wrong_key
from instructpt.engines.endpoints import Endpoints
from instructpt.engines.openai_format import OWNERS, FailureError, Kind, Manners, read_models
from instructpt.engines.places import Place
from instructpt.errors import EngineGoneError

if TYPE_CHECKING:
    from aiohttp import ClientSession

_log = logging.getLogger(__name__)

_DOWN_SECONDS = 1.0
"""Between probes of an endpoint that is not up."""
_ROOM_IN_SERVER = 1.25
"""Requests to send for each one that runs: so many wait in the server that a place freed is taken at once."""

_HITS = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
"""Of old servers too. Tokens, not requests (docs.vllm.ai, "Production Metrics")."""
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"


@dataclass(frozen=True, slots=True)
class Expected:
    """What an endpoint is expected to serve."""

    model: str
    served_model: str | None
    """The name under which it must serve it; None: found out."""
    structured: str
    """"auto", a kind of server, or "off": how forms are spelled."""


async def watch(
    place: Place, *, endpoints: Endpoints, session: ClientSession, wanted: Expected, seconds: float
) -> None:
    """Probe `place` until it is taken out. seconds: between probes, and the longest that one may take."""
    while place.state != "out":
        before = place.state
        try:
            if place.manners is None:
                await _introduce(place, session=session, wanted=wanted, seconds=seconds)
            else:
                await _probe_health(place, session=session, seconds=seconds)
                place.probe_well()
            if place.manners is not None and place.manners.kind == "vllm":
                await _sample(place, session=session, seconds=seconds)
        except FailureError as error:
            place.probe_badly(str(error), is_gone=error.is_gone)
        except EngineGoneError as error:
            endpoints.take_out(place, error)
            return
        endpoints.check()
        if place.state != before or place.failed_probes == 1:
            endpoints.wake_all()
        await _rest(place, seconds if place.state == "up" else min(seconds, _DOWN_SECONDS))


async def _rest(place: Place, seconds: float) -> None:
    """Until it is time for the next look, or there is reason for one."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await place.suspicion.wait()
        place.suspicion.clear()


async def _introduce(place: Place, *, session: ClientSession, wanted: Expected, seconds: float) -> None:
    url = f"{place.address.name}/models"
    status, body = await get(place, url, session=session, seconds=seconds)
    kind: Kind = "openai"
    if status in (401, 403):
        raise wrong_key(place, status)
    if status in (404, 405) and wanted.served_model:
        served_model = wanted.served_model  # a server without the list; its answers will show whether it has the model
    elif status != 200:
        raise FailureError(f"status {status} for {url}: is this an OpenAI-compatible server?")
    else:
        models = read_models(body)
        kind = OWNERS.get(models[0][1], "openai") if models else "openai"
        served_model = choose_model([name for name, _ in models], wanted=wanted, place=place)
    spelled: Any = kind if wanted.structured == "auto" else wanted.structured
    manners = Manners(kind, served_model, None if spelled == "off" else spelled)
    place.takes = await _places_at_once(place, kind, session=session, seconds=seconds)
    place.introduce(manners)


def choose_model(names: Sequence[str], *, wanted: Expected, place: Place) -> str:
    """The name under which an endpoint serves the model. Raises EngineGoneError if that cannot be told."""
    shown = ", ".join(sorted(names)[:5]) or "nothing"
    if wanted.served_model is not None:
        if wanted.served_model in names:
            return wanted.served_model
        raise EngineGoneError(
            f"{place.address.name} serves no {wanted.served_model} but {shown}: give the engine option"
            " served_model=NAME, or another endpoint"
        )
    for name in (wanted.model, PurePath(wanted.model).name):
        if name in names:
            return name
    if len(names) == 1:
        _log.warning("%s serves %s, which is taken to be %s", place.address.name, names[0], wanted.model)
        return names[0]
    raise EngineGoneError(
        f"{place.address.name} serves {shown}, and which of them is {wanted.model} cannot be told: give the engine"
        " option served_model=NAME"
    )


async def _places_at_once(place: Place, kind: Kind, *, session: ClientSession, seconds: float) -> int | None:
    """How many requests it works on at once, where a server says so."""
    paths = {"llamacpp": ("/props", "total_slots"), "sglang": ("/get_server_info", "max_running_requests")}
    if kind not in paths:
        return None
    path, name = paths[kind]
    status, body = await get(place, place.address.root + path, session=session, seconds=seconds)
    try:
        value = orjson.loads(body)[name] if status == 200 else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return int(value * _ROOM_IN_SERVER) + 1 if isinstance(value, int) else None


async def _probe_health(place: Place, *, session: ClientSession, seconds: float) -> None:
    status, _ = await get(place, f"{place.address.root}/health", session=session, seconds=seconds)
    if status in (401, 403, 404, 405):
        status, _ = await get(place, f"{place.address.name}/models", session=session, seconds=seconds)
        status = 200 if status in (404, 405) else status
    if status not in (200, 204, 429):
        raise FailureError(f"status {status} for a health check")


async def _sample(place: Place, *, session: ClientSession, seconds: float) -> None:
    """Read the counters. A server that lets requests wait shows how many it takes; one that has room may take more."""
    status, body = await get(place, f"{place.address.root}/metrics", session=session, seconds=seconds)
    if status != 200:
        return
    values = read_metrics(body.decode("utf-8", "replace"), (*_HITS, _RUNNING, _WAITING))
    counter = next((values[name] for name in _HITS if name in values), None)
    if counter is not None:
        place.hits.read(counter)
    running = int(values.get(_RUNNING, 0))
    if values.get(_WAITING, 0) > 0 and running > 0:
        place.takes = int(running * _ROOM_IN_SERVER) + 1
    elif place.takes is not None and running * _ROOM_IN_SERVER >= place.takes:
        place.takes = int(place.takes * _ROOM_IN_SERVER) + 1


def read_metrics(text: str, names: Sequence[str]) -> dict[str, float]:
    """Values by name from Prometheus' text format, summed over labels (a server of several engines has one each)."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in names:
            try:
                values[name] = values.get(name, 0.0) + float(line.rpartition("}")[2].split()[-1])
            except (ValueError, IndexError):
                continue
    return values
