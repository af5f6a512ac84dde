"""Inside the scripted server: its settings, what it does with a request, and what it tells of itself.

handle --> _read --> _admit --> waits for a place? --> _start --> takes its time? --> _finish --> send
             '- 400, 404...       (max_running)          '- counts cached tokens         '- or its trouble
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import tyro

from instructpt import __version__
from instructpt.engines import Form
from instructpt.engines.scripted import write_pairs
from instructpt.engines.serving.answers import Answer, Answers, Troubles, scores, shares
from instructpt.engines.serving.prefixes import PrefixCache
from instructpt.engines.serving.wire import Connection
from instructpt.words import vocabulary

_DEFAULT_MAX_TOKENS = 16
"""OpenAI's and vLLM's, for requests that do not say."""
_SLOW_PIECES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the scripted server behaves."""

    model: Annotated[str, tyro.conf.Positional]
    """A folder or Hub model with a tokenizer.json, or a shipped one."""
    host: str = "127.0.0.1"
    """Where to listen. Other machines see it only under an address of this one, such as 0.0.0.0."""
    port: int = 8000
    """0 = any free one."""
    served_model: str | None = None
    """The name under which it serves; else the model as given."""
    owner: str = "instructpt"
    """Who it says it is in /v1/models; "vllm" makes clients treat it as one."""
    answers: Path | None = None
    """Lines of JSON strings, from which each prompt gets one; else the answers of the scripted engine."""
    delay_ms: float = 0.0
    """Time that each answer takes."""
    milliseconds_per_token: float = 0.0
    """Time that each token of an answer takes besides."""
    milliseconds_per_prompt_token: float = 0.0
    """Time that each token of a prompt takes besides, unless it is cached."""
    max_running: int | None = None
    """Requests at once; more of them wait."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together; longer requests are refused."""
    cached_blocks: int = 1 << 16
    """Blocks of 16 tokens that the prefix cache remembers: a million tokens."""
    trouble: str = ""
    """Shares of requests that go wrong, such as status_500=0.1,hang=0.01; see `answers.TROUBLES`."""
    slow_seconds: float = 5.0
    """Time over which the answers of the trouble `slow` trickle in."""
    retry_after_seconds: int = 1
    """What status 429 tells a client to wait."""
    refused_fields: tuple[str, ...] = ()
    """Fields of requests that it answers with status 400, as servers do that do not know them; "ids" = token ids."""
    key_variable: str | None = None
    """Environment variable with the key that clients must show."""
    log: Path | None = None
    """A file that gets each request as a line of JSON."""
    seed: int = 0
    """For the troubles. Several servers with one seed make the same trouble to the same prompt."""
    ends_with_input: bool = False
    """End when standard input ends: with the process that started it, however that ends."""


class RefusedError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, message: str, *, kind: str = "BadRequestError", field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = orjson.dumps({"error": {"message": message, "type": kind, "param": field, "code": status}})


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    connection: Connection
    body: dict[str, Any]
    ids: array[int]
    text: Callable[[], str]
    digest: bytes
    max_tokens: int
    is_chat: bool
    trouble: str | None


class Server:
    """Routes, the queue and the counters; one event loop runs all of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._vocabulary = vocabulary.load(settings.model)
        self._name = settings.served_model or settings.model
        self._answers = Answers(self._vocabulary, file=settings.answers)
        self._troubles = Troubles(shares(settings.trouble), seed=settings.seed)
        self._prefixes = PrefixCache(max_blocks=settings.cached_blocks)
        self._key = os.environ.get(settings.key_variable, "").encode() if settings.key_variable else None
        self._created = int(time.time())
        self._loop = asyncio.get_running_loop()
        self._log = settings.log.open("ab", buffering=0) if settings.log else None
        self._waiting: OrderedDict[Connection, _Request] = OrderedDict()
        self._num_running = 0
        self._counts: Counter[str] = Counter()

    def handle(self, connection: Connection, method: str, path: str, headers: bytes, body: bytes) -> None:
        """Answer one request, now or later."""
        try:
            if self._key is not None and path.startswith("/v1") and not _shows(headers, self._key):
                raise RefusedError(401, "Unauthorized", kind="AuthenticationError")
            if path in ("/v1/completions", "/v1/chat/completions"):
                if method != "POST":
                    raise RefusedError(405, "Method Not Allowed")
                self._admit(self._read(connection, path, body))
            else:
                self._tell(connection, path)
        except RefusedError as error:
            self._counts[f"status_{error.status}"] += 1
            connection.send(error.status, error.body)

    def _tell(self, connection: Connection, path: str) -> None:
        if path == "/health":
            connection.send(200, b"")
        elif path == "/v1/models":
            model = {
                "id": self._name,
                "object": "model",
                "created": self._created,
                "owned_by": self.settings.owner,
                "root": self.settings.model,
                "max_model_len": self.settings.max_model_len,
            }
            connection.send(200, orjson.dumps({"object": "list", "data": [model]}))
        elif path == "/version":
            connection.send(200, orjson.dumps({"version": __version__}))
        elif path == "/metrics":
            connection.send(200, self._metrics().encode(), kind="text/plain; version=0.0.4; charset=utf-8")
        else:
            raise RefusedError(404, "Not Found", kind="NotFoundError")

    def _metrics(self) -> str:
        """In the text format of Prometheus, under vLLM's names (docs.vllm.ai, "Production Metrics")."""
        label = f'{{engine="0",model_name="{self._name}"}}'
        gauges = {
            "vllm:num_requests_running": self._num_running,
            "vllm:num_requests_waiting": len(self._waiting),
        }
        counters = {
            "vllm:prefix_cache_queries_total": self._prefixes.num_queried_tokens,
            "vllm:prefix_cache_hits_total": self._prefixes.num_hit_tokens,
            "vllm:prompt_tokens_total": self._counts["prompt_tokens"],
            "vllm:generation_tokens_total": self._counts["generation_tokens"],
        }
        lines = [f"# TYPE {name} gauge\n{name}{label} {float(value)}" for name, value in gauges.items()]
        lines += [f"# TYPE {name} counter\n{name}{label} {float(value)}" for name, value in counters.items()]
        lines += [
            f'instructpt:requests_total{{outcome="{name}"}} {float(value)}'
            for name, value in sorted(self._counts.items())
            if not name.endswith("_tokens")
        ]
        return "\n".join(lines) + "\n"

    def _read(self, connection: Connection, path: str, data: bytes) -> _Request:
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise RefusedError(400, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "the body is not an object")
        if self._log is not None:
            self._log.write(orjson.dumps({"path": path, "body": body}) + b"\n")
        self._check(body)
        is_chat = path == "/v1/chat/completions"
        max_tokens = _max_tokens(body, is_chat=is_chat)
        ids, text = self._conversation(body) if is_chat else self._prompt(body)
        limit = self.settings.max_model_len
        if limit is not None and len(ids) + max_tokens > limit:
            raise RefusedError(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested {max_tokens} output"
                f" tokens and your prompt contains {len(ids)} input tokens. Please reduce the length of the prompt.",
                field="input_tokens",
            )
        digest = hashlib.blake2b(ids.tobytes(), digest_size=16).digest()
        return _Request(connection, body, ids, text, digest, max_tokens, is_chat, self._troubles.draw(digest))

    def _check(self, body: dict[str, Any]) -> None:
        if body.get("model", self._name) != self._name:
            raise RefusedError(404, f"The model `{body['model']}` does not exist.", kind="NotFoundError", field="model")
        for name in self.settings.refused_fields:
            if name in body or (name == "ids" and isinstance(body.get("prompt"), list)):
                raise RefusedError(400, f"{name} is not supported by this server", field=name)
        for name, only in (("stream", False), ("n", 1), ("best_of", 1)):
            if (body.get(name) or only) is not only:
                raise RefusedError(400, f"{name}={body[name]} is not supported by the scripted server", field=name)

    def _prompt(self, body: dict[str, Any]) -> tuple[array[int], Callable[[], str]]:
        prompt = body.get("prompt")
        if isinstance(prompt, str) and prompt:
            adds = body.get("add_special_tokens", True) is not False
            ids = array("i", self._vocabulary.tokenizer.encode(prompt, add_special_tokens=adds).ids)
            return ids, lambda: prompt
        try:
            ids = array("i", prompt or ())
        except (TypeError, OverflowError) as error:
            raise RefusedError(400, f"prompt is neither text nor token ids ({error})", field="prompt") from error
        if not ids:
            raise RefusedError(400, "Either prompt or prompt_embeds must be provided and non-empty.", field="prompt")
        if min(ids) < 0 or max(ids) >= self._vocabulary.size:
            raise RefusedError(400, f"Token id {max(ids)} is out of vocabulary", field="prompt")
        return ids, lambda: self._vocabulary.decode(ids)

    def _conversation(self, body: dict[str, Any]) -> tuple[array[int], Callable[[], str]]:
        try:
            text = "".join(f"{message['role']}\n{message['content']}\n" for message in body["messages"])
        except (KeyError, TypeError) as error:
            raise RefusedError(400, f"messages must have roles and contents ({error!r})", field="messages") from error
        return array("i", self._vocabulary.encode([text])[0]), lambda: text

    def _admit(self, request: _Request) -> None:
        """Start it, or let it wait for a place. A client that leaves gives its place away."""
        if self.settings.max_running is not None and self._num_running >= self.settings.max_running:
            self._waiting[request.connection] = request
            request.connection.on_lost = lambda: self._leave_queue(request)
        else:
            self._start(request)

    def _start(self, request: _Request) -> None:
        request.connection.on_lost = None
        settings = self.settings
        num_cached = self._prefixes.add(request.ids)
        max_tokens = max(request.max_tokens, 1)
        answer = self._answers.answer(
            request.digest, lambda: write_pairs(request.text(), form=_form(request.body)), max_tokens=max_tokens
        )
        if request.trouble == "empty":
            answer = Answer("", [self._vocabulary.eos], "stop")
        self._counts["prompt_tokens"] += len(request.ids)
        milliseconds = settings.delay_ms + settings.milliseconds_per_token * len(answer.ids)
        milliseconds += settings.milliseconds_per_prompt_token * (len(request.ids) - num_cached)
        if milliseconds <= 0 and request.trouble != "hang":
            self._finish(request, answer, num_cached)
            return
        self._num_running += 1
        if request.trouble == "hang":
            self._counts["hang"] += 1
            request.connection.on_lost = self._release
            return
        timer = self._loop.call_later(milliseconds / 1000, self._finish_and_release, request, answer, num_cached)
        request.connection.on_lost = lambda: self._abandon(timer)

    def _leave_queue(self, request: _Request) -> None:
        del self._waiting[request.connection]

    def _abandon(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._release()

    def _finish_and_release(self, request: _Request, answer: Answer, num_cached: int) -> None:
        request.connection.on_lost = None
        self._finish(request, answer, num_cached)
        self._release()

    def _release(self) -> None:
        self._num_running -= 1
        while self._waiting and self._num_running < (self.settings.max_running or 0):
            self._start(self._waiting.popitem(last=False)[1])

    def _finish(self, request: _Request, answer: Answer, num_cached: int) -> None:
        connection, trouble = request.connection, request.trouble
        self._counts[trouble or "answered"] += 1
        if trouble is not None and trouble.startswith("status_"):
            status = int(trouble.removeprefix("status_"))
            more = f"Retry-After: {self.settings.retry_after_seconds}\r\n" if status == 429 else ""
            connection.send(status, RefusedError(status, "trouble was asked for", kind="Trouble").body, more=more)
            return
        if trouble == "garbage":
            connection.send(200, b"<html><body>Bad gateway</body></html>", kind="text/html")
            return
        self._counts["generation_tokens"] += len(answer.ids)
        data = orjson.dumps(self._response(request, answer, num_cached))
        if trouble == "half_body":
            connection.begin(200, len(data), data[: len(data) // 2])
            connection.close()
        elif trouble == "slow":
            connection.begin(200, len(data), b"")
            self._trickle(connection, data)
        else:
            connection.send(200, data)

    def _trickle(self, connection: Connection, data: bytes) -> None:
        size = max(1, len(data) // _SLOW_PIECES)
        connection.write(data[:size])
        if not connection.is_open:
            return
        if data[size:]:
            self._loop.call_later(self.settings.slow_seconds / _SLOW_PIECES, self._trickle, connection, data[size:])
        else:
            connection.end()

    def _response(self, request: _Request, answer: Answer, num_cached: int) -> dict[str, Any]:
        body = request.body
        choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish, "stop_reason": None, "logprobs": None}
        if request.is_chat:
            choice["message"] = {"role": "assistant", "content": answer.text}
        else:
            choice["text"] = answer.text
            self._add_scores(choice, request, answer)
        if body.get("return_token_ids"):
            choice["token_ids"] = answer.ids
            choice["prompt_token_ids"] = request.ids.tolist()
        return {
            "id": f"{'chatcmpl' if request.is_chat else 'cmpl'}-{self._counts['answered']}",
            "object": "chat.completion" if request.is_chat else "text_completion",
            "created": self._created,
            "model": self._name,
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(request.ids),
                "completion_tokens": len(answer.ids),
                "total_tokens": len(request.ids) + len(answer.ids),
                "prompt_tokens_details": {"cached_tokens": num_cached},
            },
        }

    def _add_scores(self, choice: dict[str, Any], request: _Request, answer: Answer) -> None:
        """The two spellings of log-probabilities of a prompt: vLLM's `prompt_logprobs`, OpenAI's `echo`."""
        body, before = request.body, request.ids.tolist()
        if body.get("prompt_logprobs") is not None:
            tables = [{str(token): {"logprob": value}} for token, value in zip(before, scores(before), strict=True)]
            choice["prompt_logprobs"] = [None, *tables[1:]]
        if body.get("echo"):
            choice["text"] = request.text() + choice["text"] * (request.max_tokens > 0)
        if body.get("logprobs") is not None:
            after = answer.ids[: request.max_tokens]
            values: list[float | None] = [*scores(before + after)]
            values[0] = None
            shown = before + after if body.get("echo") else after
            tokens = [f"token_id:{token}" for token in shown]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": values[len(values) - len(shown) :]}


def _max_tokens(body: dict[str, Any], *, is_chat: bool) -> int:
    value = body.get("max_completion_tokens") if is_chat else None
    value = body.get("max_tokens") if value is None else value
    if value is None:
        return _DEFAULT_MAX_TOKENS
    if not isinstance(value, int) or value < 0:
        raise RefusedError(400, f"max_tokens must be at least 1, got {value}.", field="max_tokens")
    return value


def _form(body: dict[str, Any]) -> Form | None:
    """The form that is asked for in vLLM's way. It changes no more than which markup is meant."""
    match body.get("structured_outputs"):
        case {"regex": str(pattern)}:
            return Form("regex", pattern)
        case {"grammar": str(grammar)}:
            return Form("grammar", grammar)
        case {"json": schema}:
            return Form("json", schema if isinstance(schema, str) else orjson.dumps(schema).decode())
    return None


def _shows(headers: bytes, key: bytes) -> bool:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"authorization":
            return value.strip() == b"Bearer " + key
    return False
