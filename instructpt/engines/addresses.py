"""Addresses of endpoints: as people write them, as they are called, and with what credentials.

gpu1:8000                                  ->  http://gpu1:8000/v1
https://user:word@host/api/v1/completions  ->  https://host/api/v1, and credentials that are never shown
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from instructpt.errors import RecipeError

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"

_SUFFIXES = ("/chat/completions", "/completions", "/models", "/")
_VERSION = re.compile(r"/v\d")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is."""

    name: str
    """Its URL up to /v1, without credentials: what people see and what is called."""
    root: str
    """The same without /v1, where servers have their /health."""
    headers: dict[str, str] = field(repr=False)
    """With credentials, if there are any."""
    secrets: tuple[str, ...] = field(repr=False)
    """What no message may hold."""
    key_variable: str
    """The environment variable where a key for it is looked for."""
    proxy: str | None = field(repr=False)

    @property
    def host(self) -> str:
        """A name or a number."""
        return urlsplit(self.name).hostname or ""

    def blot(self, text: str) -> str:
        """`text`, which an endpoint may have made, without its secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def read_addresses(endpoints: Sequence[str] | str, *, key_variable: str | None) -> list[Address]:
    """The addresses in a list, or in a text with commas.

    key_variable: the environment variable whose key all endpoints are shown; None = `DEFAULT_KEY_VARIABLE`, shown to
    https endpoints alone, so that a key that happens to be set is not sent over a network that anybody can read.
    Raises RecipeError for what is no http or https address, is there twice, or if there is none.
    """
    texts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    addresses = [_read(text.strip(), key_variable) for text in texts if text.strip()]
    if not addresses:
        raise RecipeError("no endpoint is given: name at least one server, such as http://gpu1:8000/v1")
    names = [address.name for address in addresses]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"the endpoint {name} is given {names.count(name)} times: name each server once")
    return addresses


def _read(text: str, key_variable: str | None) -> Address:
    if "://" not in text:
        text = f"http://{text}"
    shown = re.sub(r"//[^/]*@", "//", text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise RecipeError(f"the endpoint {shown} is no address: give one such as http://gpu1:8000/v1") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise RecipeError(f"the endpoint {shown} is no address: give one such as http://gpu1:8000/v1")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    path = parts.path
    while suffix := next((suffix for suffix in _SUFFIXES if path.endswith(suffix)), None):
        path = path.removesuffix(suffix)
    if not _VERSION.search(path):
        path += "/v1"
    headers, secrets = _credentials(parts, key_variable)
    variable = key_variable or DEFAULT_KEY_VARIABLE
    return Address(origin + path, origin + path.removesuffix("/v1"), headers, secrets, variable, _proxy(parts))


def _credentials(parts: SplitResult, key_variable: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    if parts.username is not None or parts.password is not None:
        user, word = unquote(parts.username or ""), unquote(parts.password or "")
        token = base64.b64encode(f"{user}:{word}".encode()).decode()
        return {"Authorization": f"Basic {token}"}, tuple(secret for secret in (word, token) if secret)
    key = os.environ.get(key_variable or DEFAULT_KEY_VARIABLE, "").strip()
    if key and (key_variable is not None or parts.scheme == "https"):
        return {"Authorization": f"Bearer {key}"}, (key,)
    return {}, ()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, so that what is sent there crosses no network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _proxy(parts: SplitResult) -> str | None:
    """The proxy that the environment names for this address (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)."""
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)
