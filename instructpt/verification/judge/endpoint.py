"""A chat endpoint that speaks the protocol of OpenAI's API, as most servers of models do: one question, one reply.

The key comes from the environment alone (`INSTRUCTPT_JUDGE_KEY`) and goes into one header, never into a file, a message
or another host: redirects are refused, since they would carry it along.
"""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from instructpt.errors import InputError
from instructpt.records import Reject

KEY_VARIABLE = "INSTRUCTPT_JUDGE_KEY"
MAX_REPLY_TOKENS = 1_024
"""Room for a model that thinks aloud before it answers."""
MAX_BACK_OFF_SECONDS = 60.0
_CUT = 300
"""Characters of a server's complaint that are passed on."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a judge answers."""

    url: str
    """Up to and without /chat/completions: http://localhost:8000/v1."""
    model: str
    """What the server calls it."""
    timeout_seconds: float = 120.0
    num_attempts: int = 6
    back_off_seconds: float = 1.0
    """Before the second attempt; doubled before each further one. What the server asks for (Retry-After) is added."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"the judge's address is {self.url!r}: give one such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise InputError(f"the judge's address holds a password: put the key into {KEY_VARIABLE}")
        if not self.model:
            raise InputError("the judge's model is not named: give the name that the server knows it by")

    def ask(self, prompt: str, *, stopped: threading.Event) -> str | Reject:
        """The reply to a prompt, greedy. A Reject (`http_400`, `http_500`, `timeout`...) where there was none.

        429, 5xx, timeouts and broken connections are tried `num_attempts` times, with growing pauses, until `stopped`.
        Raises InputError for a key, an address or a model that the server does not know (401, 403, 404), and for a
        redirect.
        """
        failure = Reject("", "no_attempt")
        for attempt in range(self.num_attempts):
            if attempt and stopped.wait(min(MAX_BACK_OFF_SECONDS, self.back_off_seconds * 2 ** (attempt - 1))):
                break
            try:
                return _read(self._post(prompt))
            except urllib.error.HTTPError as error:
                failure, pause = self._refusal(error)
                if pause is None:
                    return failure
                if attempt + 1 < self.num_attempts:
                    stopped.wait(min(MAX_BACK_OFF_SECONDS, pause))
            except TimeoutError:
                failure = Reject(f"no answer in {self.timeout_seconds:g} seconds", "timeout")
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                timed_out = isinstance(getattr(error, "reason", None), TimeoutError)
                failure = Reject(self._told(str(error)), "timeout" if timed_out else "no_connection")
        return failure

    def _post(self, prompt: str) -> bytes:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": MAX_REPLY_TOKENS,
        }
        headers = {"Content-Type": "application/json"}
        if key := _key():
            headers["Authorization"] = f"Bearer {key}"
        address = f"{self.url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"
        request = urllib.request.Request(address, orjson.dumps(body), headers)  # noqa: S310  (http or https, see above)
        with _OPENER.open(request, timeout=self.timeout_seconds) as response:
            data: bytes = response.read()
        return data

    def _refusal(self, error: urllib.error.HTTPError) -> tuple[Reject, float | None]:
        """What a status means: a reject, and how many seconds the server asks to wait (None: do not try again)."""
        with error:
            complaint = self._told(error.read(4 * _CUT).decode("utf-8", "replace"))
            wait = error.headers.get("Retry-After", "") if error.headers else ""
        if error.code in (401, 403):
            raise InputError(f"the judge at {self.url} refuses the key ({error.code}): set {KEY_VARIABLE}") from None
        if error.code == 404 or 300 <= error.code < 400:
            raise InputError(
                f"the judge at {self.url} has no model {self.model!r} there ({error.code}): check address and name"
            ) from None
        again = error.code in (408, 429) or error.code >= 500
        pause = float(wait) if wait.isdigit() else 0.0
        return Reject(complaint, f"http_{error.code}"), pause if again else None

    def _told(self, text: str) -> str:
        """A server's words on one line, without the key should they repeat it."""
        key = _key()
        line = " ".join(text.split())
        return (line.replace(key, "***") if key else line)[:_CUT]


def _key() -> str:
    return os.environ.get(KEY_VARIABLE, "").strip()


def _read(data: bytes) -> str | Reject:
    try:
        row: Any = orjson.loads(data)
        content = row["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return Reject(data[:_CUT].decode("utf-8", "replace"), "no_chat_completion")
    return content if isinstance(content, str) else Reject("", "empty_reply")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Raise the status as an error instead of following."""


_OPENER = urllib.request.build_opener(_NoRedirects)
