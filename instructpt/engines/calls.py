"""Calls: one request to one endpoint, and what it means if no good answer comes.

    200                        the body
    400, 413, 415, 422...      RefusalError       this request is at fault
    401, 403, 404, 3xx         EngineGoneError    the key, the model or the address is at fault
    429                        TooManyError       later, and fewer
    5xx, no connection, a connection that breaks, no answer in time, an answer without end
                               FailureError       again, elsewhere
    (the endpoint went down)   MovedError          again, elsewhere, and not this request's fault

What a server says of a key is left out of the error; whoever shows other messages blots keys out of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.engines.addresses import DEFAULT_KEY_VARIABLE
from instructpt.engines.openai_format import FailureError, read_models, read_refusal
from instructpt.engines.places import Flight, Place
from instructpt.errors import EngineError, EngineGoneError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 4.0
"""An idle connection's: vLLM closes its own after 5 s, and a request sent into that moment fails."""
_MAX_BYTES = 1 << 26
"""Of an answer: more is no answer."""


class MovedError(Exception):
    """The endpoint went down under a request."""


class TooManyError(FailureError):
    """Status 429."""


class LateError(FailureError):
    """No whole answer in the time that was given."""


def open_session() -> ClientSession:
    """Connections without bounds of their own (endpoints have theirs), no cookies, nothing read from ~/.netrc."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=_KEEPALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def get(place: Place, url: str, *, session: ClientSession, seconds: float) -> tuple[int, bytes]:
    """Status and body. Raises FailureError."""
    return (await _call(place, url, session=session, seconds=seconds, body=None))[:2]


async def post(place: Place, path: str, body: Mapping[str, Any], *, session: ClientSession, seconds: float) -> bytes:
    """The body of a good answer; for all others see above. Raises also what the flight is ended by.

    seconds: for the whole answer; LateError after them.
    """
    data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    url = place.address.name + path
    status, answer, headers = await _call(place, url, session=session, seconds=seconds, body=data)
    if status == 200:
        return answer
    refusal = read_refusal(status, answer)
    if status == 429:
        raise TooManyError("too many requests", wait_seconds=_wait_seconds(headers))
    if status in (401, 403):
        raise wrong_key(place, status)
    if status in (404, 405):
        raise await _not_there(place, url, refusal.message, session=session)
    if 300 <= status < 400:
        raise EngineGoneError(
            f"{url} redirects elsewhere (status {status}): give the address it leads to as the endpoint"
        )
    if 400 <= status < 500 and status != 408:
        raise refusal
    raise FailureError(f"status {status}: {refusal.message}", wait_seconds=_wait_seconds(headers))


def wrong_key(place: Place, status: int) -> EngineGoneError:
    """The error for an endpoint that wants another key, or any."""
    address = place.address
    sent = "the credentials it was shown" if address.headers else "requests without a key"
    told = f"set the environment variable {address.key_variable} to its key"
    if address.key_variable == DEFAULT_KEY_VARIABLE:
        told += (
            f"; for an address that is not https, also give the engine option api_key_variable={address.key_variable}"
        )
    return EngineGoneError(f"{address.name} refuses {sent} (status {status}): {told}")


async def _call(
    place: Place, url: str, *, session: ClientSession, seconds: float, body: bytes | None
) -> tuple[int, bytes, Mapping[str, str]]:
    import aiohttp

    flight: Flight | None = None
    headers = dict(place.address.headers)
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        async with asyncio.timeout(seconds) as deadline:
            if body is not None:
                flight = Flight(deadline)
                place.flights.add(flight)
            try:
                async with session.request(
                    "GET" if body is None else "POST",
                    url,
                    data=body,
                    headers=headers,
                    proxy=place.address.proxy,
                    allow_redirects=False,
                ) as response:
                    return response.status, await _read(response), response.headers
            finally:
                if flight is not None:
                    place.flights.discard(flight)
    except aiohttp.ServerTimeoutError as error:
        raise FailureError(f"cannot connect in {_CONNECT_SECONDS:g} s") from error
    except TimeoutError as error:
        if flight is not None and isinstance(flight.ended_by, EngineError):
            raise type(flight.ended_by)(*flight.ended_by.args) from error
        if flight is not None and flight.ended_by == "moved":
            raise MovedError from error
        raise LateError(f"no whole answer in {seconds:.3g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise FailureError(f"cannot connect: {_reason(error)}", is_gone=True) from error
    except (aiohttp.ClientError, OSError) as error:
        raise FailureError(f"the connection broke off: {_reason(error)}") from error


async def _read(response: ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_BYTES:
            raise FailureError(f"an answer of more than {_MAX_BYTES >> 20} MiB")
    return b"".join(chunks)


async def _not_there(place: Place, url: str, message: str, *, session: ClientSession) -> EngineGoneError:
    """Status 404: is it the model or the path that is not there? Its list of models tells."""
    assert place.manners is not None
    model = place.manners.served_model
    try:
        _, data = await get(place, f"{place.address.name}/models", session=session, seconds=_CONNECT_SECONDS)
        names = [name for name, _ in read_models(data)]
    except FailureError:
        names = []
    if names and model not in names:
        shown = ", ".join(names[:5])
        return EngineGoneError(
            f"{place.address.name} serves no {model} but {shown}: give the engine option served_model=NAME"
        )
    return EngineGoneError(
        f"{url} does not exist ({message}): see that the address is right and that the server serves {model} there"
    )


def _wait_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After, in seconds or as a date; a date is compared with the server's own clock, never with ours."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (ValueError, KeyError, TypeError):
        return None


def _reason(error: Exception) -> str:
    """In the operating system's words, without the address."""
    for name in ("_os_error", "certificate_error"):
        error = getattr(error, name, error)
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()
