"""A server in the manner of vLLM that needs no weights, for tests and benchmarks of whatever talks to servers.

    with started_server(model, trouble="status_500=0.1") as server:      a process of its own, on this machine
        HttpEngine(model, endpoints=server.url)

    POST /v1/completions        prompt as token ids or text; echo with logprobs, prompt_logprobs
    POST /v1/chat/completions   the messages one after the other
    GET  /v1/models /health /metrics

A prompt gets the answer of the scripted engine, or one of the lines of a file, and always the same one. The server
counts tokens, knows which beginnings of prompts it has seen, lets requests wait when it is full, refuses what does not
fit its context, and makes trouble on request:

    status_400    depends on the prompt alone: asking again does not help; status_429 and status_500 do not
    hang          no answer ever comes
    slow          the answer trickles in
    garbage       a page that is no JSON
    half_body     the connection breaks off
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from benchmarks.scripted_engine import ScriptedEngine, spoken
from instructpt.engines import Completion, Conversation, Form, Message, Prompt, Sampling
from instructpt.seeds import draws
from instructpt.words import vocabulary

TROUBLES = ("status_429", "status_500", "hang", "slow", "garbage", "half_body")
BLOCK_TOKENS = 16
_MAX_BLOCKS = 1 << 20
_SLOW_PIECES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the server behaves."""

    model: str
    """A folder or Hub model with a tokenizer.json, or a shipped one."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 = any free one."""
    served_model: str | None = None
    owner: str = "vllm"
    """Who it says it is in /v1/models: by that, clients know what it understands."""
    answers: str | None = None
    """A file of JSON strings, one a line, from which each prompt gets one; else the answers of the scripted engine."""
    delay_ms: float = 0.0
    slower_ms: float = 0.0
    """Each answer takes so much longer than the one before it."""
    max_running: int | None = None
    """Requests at once; more of them wait."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together; longer requests are refused."""
    trouble: str = ""
    """Shares of requests that go wrong, such as status_500=0.1,hang=0.01."""
    slow_seconds: float = 5.0
    retry_after_seconds: int = 1
    refused_fields: tuple[str, ...] = ()
    """Fields of requests that get status 400, as from servers that do not know them; "ids" = token ids."""
    key_variable: str | None = None
    """Environment variable with the key that clients must show."""
    log: str | None = None
    """A file that gets each request as a line of JSON."""
    seed: int = 0
    """For the troubles. Several servers with one seed make the same trouble to the same prompt."""
    ends_with_input: bool = False
    """End when standard input ends: with the process that started it, however that ends."""


class RefusalError(web.HTTPException):
    """Raised for an answer: an error in OpenAI's form."""

    def __init__(self, status: int, message: str, field: str | None = None, **headers: str) -> None:
        self.status_code = status
        error = {"message": message, "type": "BadRequestError", "param": field, "code": status}
        super().__init__(text=orjson.dumps({"error": error}).decode(), content_type="application/json", headers=headers)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks."""

    body: dict[str, Any]
    prompt: Prompt
    ids: array[int]

    @property
    def digest(self) -> bytes:
        """What answers and troubles are drawn from."""
        return hashlib.blake2b(self.ids.tobytes(), digest_size=16).digest()

    @property
    def form(self) -> Form | None:
        """The form that is asked for in vLLM's way. It changes no more than which markup is meant."""
        for kind, text in self.body.get("structured_outputs", {}).items():
            return Form(kind, text if isinstance(text, str) else orjson.dumps(text).decode())
        return None


class Server:
    """Routes, troubles and counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key = os.environ[settings.key_variable] if settings.key_variable else None
        self._vocabulary = vocabulary.load(settings.model)
        self._engine = ScriptedEngine(settings.model)
        self._name = settings.served_model or settings.model
        texts = [*map(orjson.loads, Path(settings.answers).read_bytes().splitlines())] if settings.answers else []
        self._answers = list(zip(texts, self._vocabulary.encode(texts), strict=True))
        shares = (part.split("=") for part in settings.trouble.split(",") if part)
        self._shares = {name: float(share) for name, share in shares}
        assert set(self._shares) <= {"status_400", *TROUBLES}, settings.trouble
        self._times_asked: Counter[bytes] = Counter()
        self._places = asyncio.Semaphore(settings.max_running or sys.maxsize)
        self._log = Path(settings.log).open("ab", buffering=0) if settings.log else None  # noqa: SIM115
        self._blocks: set[int] = set()
        self._num_under_way = self._num_running = self._num_cached_tokens = 0
        self._outcomes: Counter[str] = Counter()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def application(self) -> web.Application:
        """Its routes."""
        application = web.Application(client_max_size=1 << 26)
        asked, told = ("/v1/completions", "/v1/chat/completions"), {"/health": self._health, "/metrics": self._metrics}
        application.add_routes([web.post(path, self._complete) for path in asked])
        application.add_routes([web.get(path, tell) for path, tell in (told | {"/v1/models": self._models}).items()])
        return application

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    def _check_key(self, request: web.Request) -> None:
        if self._key is not None and request.headers.get("Authorization") != f"Bearer {self._key}":
            raise RefusalError(401, "Unauthorized")

    async def _models(self, request: web.Request) -> web.Response:
        self._check_key(request)
        model = {"id": self._name, "owned_by": self.settings.owner, "max_model_len": self.settings.max_model_len}
        return web.Response(body=orjson.dumps({"data": [model]}), content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        """In the text format of Prometheus, under vLLM's names (docs.vllm.ai, "Production Metrics")."""
        values = {
            "vllm:num_requests_running": self._num_running,
            "vllm:num_requests_waiting": self._num_under_way - self._num_running,
            "vllm:prefix_cache_hits_total": self._num_cached_tokens,
        }
        lines = [f'{name}{{engine="0",model_name="{self._name}"}} {float(value)}' for name, value in values.items()]
        lines += [f'scripted:requests_total{{outcome="{name}"}} {n}' for name, n in sorted(self._outcomes.items())]
        return web.Response(text="\n".join(lines) + "\n")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        question = self._read(request.path, orjson.loads(await request.read()))
        trouble = self._trouble(question.digest)
        self._num_under_way += 1
        try:
            async with self._places:
                self._num_running += 1
                try:
                    return await self._answer(request, question, trouble)
                finally:
                    self._num_running -= 1
        finally:
            self._num_under_way -= 1

    def _read(self, path: str, body: dict[str, Any]) -> Question:
        """Raises RefusalError as vLLM would."""
        if self._log is not None:
            self._log.write(orjson.dumps({"path": path, "body": body}) + b"\n")
        if body.get("model", self._name) != self._name:
            raise RefusalError(404, f"The model `{body['model']}` does not exist.", "model")
        for name in self.settings.refused_fields:
            if name in body or (name == "ids" and isinstance(body.get("prompt"), list)):
                raise RefusalError(400, f"{name} is not supported by this server", name)
        prompt: Prompt
        if "messages" in body:
            prompt = Conversation(tuple(Message(one["role"], one["content"]) for one in body["messages"]))
            ids = self._vocabulary.encode([spoken(prompt)])[0]
        else:
            ids = body["prompt"]
            prompt = ids = self._vocabulary.tokenizer.encode(ids).ids if isinstance(ids, str) else ids
        if not ids:
            raise RefusalError(400, "Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
        limit, max_tokens = self.settings.max_model_len, body["max_tokens"]
        if limit is not None and len(ids) + max_tokens > limit:
            raise RefusalError(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested {max_tokens} output"
                f" tokens and your prompt contains {len(ids)} input tokens.",
                "input_tokens",
            )
        return Question(body, prompt, array("i", ids))

    def _trouble(self, digest: bytes) -> str | None:
        """What goes wrong with this request: drawn from the prompt and how often it was asked."""
        refused = self._shares.get("status_400", 0.0)
        if refused and draws(self.settings.seed, "refused", digest, count=1)[0] / 2**64 < refused:
            return "status_400"
        if not self._shares:
            return None
        drawn = draws(self.settings.seed, "trouble", digest, self._times_asked[digest], count=1)[0] / 2**64
        self._times_asked[digest] += 1
        for name in TROUBLES:
            drawn -= self._shares.get(name, 0.0)
            if drawn < 0:
                return name
        return None

    async def _answer(self, request: web.Request, question: Question, trouble: str | None) -> web.StreamResponse:
        num_cached_tokens = self._cached(question.ids)
        if delay_ms := self.settings.delay_ms + self.settings.slower_ms * self._outcomes.total():
            await asyncio.sleep(delay_ms / 1000)
        self._outcomes[trouble or "answered"] += 1
        if trouble == "hang":
            await asyncio.Event().wait()
        elif trouble == "garbage":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        elif trouble is not None and trouble.startswith("status_"):
            wait = {"Retry-After": str(self.settings.retry_after_seconds)} if trouble == "status_429" else {}
            raise RefusalError(int(trouble.removeprefix("status_")), "trouble was asked for", **wait)
        data = orjson.dumps(await self._response(question, num_cached_tokens=num_cached_tokens))
        if trouble is None:
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        if trouble == "half_body":
            await response.write(data[: len(data) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        size = len(data) // _SLOW_PIECES
        for start in range(0, len(data), size):
            await response.write(data[start : start + size])
            await asyncio.sleep(self.settings.slow_seconds / _SLOW_PIECES)
        return response

    def _cached(self, ids: array[int]) -> int:
        """Tokens at the beginning that were seen before: whole blocks, and never the last token, as in vLLM."""
        if len(self._blocks) > _MAX_BLOCKS:
            self._blocks.clear()
        data, width = ids.tobytes(), ids.itemsize * BLOCK_TOKENS
        name = num_hits = 0
        for start in range(0, len(data) - width + 1, width):
            name = hash((name, data[start : start + width]))
            num_hits += name in self._blocks
            self._blocks.add(name)
        num_tokens = min(num_hits, (len(ids) - 1) // BLOCK_TOKENS) * BLOCK_TOKENS
        self._num_cached_tokens += num_tokens
        return num_tokens

    async def _response(self, question: Question, *, num_cached_tokens: int) -> dict[str, Any]:
        body, ids = question.body, question.ids
        answer = await self._completion(question)
        choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish}
        if "messages" in body:
            choice["message"] = {"role": "assistant", "content": answer.text}
        else:
            choice["text"] = answer.text
        if body.get("echo"):  # the last score is of the token that is written
            choice["logprobs"] = {"token_logprobs": [None, *await self._engine.score(ids[:1], ids[1:]), -1.0]}
        elif body.get("prompt_logprobs") is not None:
            scores = await self._engine.score(ids[:1], ids[1:])
            tables = [{str(token): {"logprob": score}} for token, score in zip(ids[1:], scores, strict=True)]
            choice["prompt_logprobs"] = [None, *tables]
        usage = {"prompt_tokens": len(ids), "completion_tokens": answer.num_tokens}
        return {"choices": [choice], "usage": usage | {"prompt_tokens_details": {"cached_tokens": num_cached_tokens}}}

    async def _completion(self, question: Question) -> Completion:
        max_tokens = question.body["max_tokens"]
        if not self._answers:
            return await self._engine.complete(question.prompt, Sampling(max_tokens, form=question.form))
        text, ids = self._answers[int.from_bytes(question.digest[:8], "little") % len(self._answers)]
        if len(ids) > max_tokens:
            return Completion(self._vocabulary.decode(ids[:max_tokens]), max_tokens, "length")
        return Completion(text, len(ids) + 1, "stop")


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM, Ctrl-C or, if so set, the end of standard input."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if settings.ends_with_input:
        loop.add_reader(sys.stdin.fileno(), ended.set)

    def say(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    await _serve(settings, ended=ended, say=say)


async def _serve(settings: Settings, *, ended: asyncio.Event, say: Callable[[str], None]) -> None:
    server = Server(settings)
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=4096).start()
        say(f"http://{settings.host}:{runner.addresses[0][1]}/v1")
        await ended.wait()
    finally:
        await runner.cleanup()
        server.close()


@dataclass(frozen=True, slots=True)
class ScriptedServer:
    """A scripted server that runs."""

    url: str
    """Ends in /v1."""


@contextmanager
def scripted_server(model: str | Path, **options: Any) -> Iterator[ScriptedServer]:
    """A scripted server in a thread of this process, where it is there at once. options: those of `Settings`."""
    settings = Settings(**{"model": str(model)} | orjson.loads(orjson.dumps(options, default=str)))
    started: Future[tuple[str, Callable[[], object]]] = Future()

    async def run() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def say(url: str) -> None:
            started.set_result((url, lambda: loop.call_soon_threadsafe(ended.set)))

        await _serve(settings, ended=ended, say=say)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=work, name="scripted-server", daemon=True)
    thread.start()
    url, end = started.result()
    try:
        yield ScriptedServer(url)
    finally:
        end()
        thread.join()


@dataclass(frozen=True, slots=True)
class StartedServer(ScriptedServer):
    """One in a process of its own, which can be killed."""

    process: subprocess.Popen[str]


@contextmanager
def started_server(model: str | Path, **options: Any) -> Iterator[StartedServer]:
    """A scripted server in a process of its own, for the duration. options: those of `Settings`."""
    settings = orjson.dumps({"ends_with_input": True} | options, default=str).decode()
    words = [sys.executable, "-m", "benchmarks.scripted_server", str(model), settings]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True)
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                process.wait(timeout=30)
                complaints.seek(0)
                raise AssertionError(f"the scripted server did not start and said: {complaints.read()}")
            yield StartedServer(url, process)
        finally:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # one that was stopped could not end
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdin.close()
            process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve(Settings(model=sys.argv[1], **orjson.loads(sys.argv[2]))))
