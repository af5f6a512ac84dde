"""The scripted server: an OpenAI-compatible server of canned answers. For dry runs, tests and benchmarks; it ships.

    python -m instructpt.engines.serving.scripted shipped:synthesizer --port 8000
    listening on http://127.0.0.1:8000/v1

It needs the model's vocabulary and no weights, and has vLLM's manners without its work: it counts tokens, keeps a
prefix cache in name, lets requests wait when it is full, refuses what does not fit its context, tells all that under
/metrics, and makes trouble on request. With it a cluster, its network and a whole run are tried before a single
accelerator is rented. It answers several thousand requests a second on one core with `--answers`.

    POST /v1/completions        prompt as token ids or text; echo, logprobs, prompt_logprobs, return_token_ids
    POST /v1/chat/completions   the messages one after the other; no chat template
    GET  /v1/models /health /version /metrics

A prompt gets the answer that `engines.scripted` gives it. The options are those of `canned.Settings`. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from instructpt.engines.serving.canned import Server, Settings
from instructpt.engines.serving.wire import Connection
from instructpt.errors import EngineError, InstructptError


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C (or the end of standard input, if so set)."""
    loop = asyncio.get_running_loop()
    server = Server(settings)
    listening = await loop.create_server(lambda: Connection(server.handle), settings.host, settings.port, backlog=4096)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if settings.ends_with_input:
        loop.add_reader(sys.stdin.fileno(), ended.set)
    port = listening.sockets[0].getsockname()[1]
    sys.stdout.write(f"listening on http://{settings.host}:{port}/v1\n")
    sys.stdout.flush()
    await ended.wait()
    listening.close()


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A scripted server that runs as a process of its own."""

    url: str
    """Ends in /v1."""
    process: subprocess.Popen[str]


@contextmanager
def started_server(model: str | Path, **options: Any) -> Iterator[StartedServer]:
    """A scripted server for the duration. options: those of `canned.Settings`; the port is a free one unless given.

    Raises EngineError if it does not start, with what it said.
    """
    defaults = {field.name: field.default for field in fields(Settings)}
    words = [sys.executable, "-m", "instructpt.engines.serving.scripted", str(model), "--ends-with-input"]
    for name, value in ({"port": 0} | options).items():
        assert name in defaults, f"the scripted server has no option {name}"
        if value is not None and value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(  # noqa: S603 (this interpreter, this package)
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                process.wait(timeout=30)
                complaints.seek(0)
                said = complaints.read().strip().splitlines()[-1:] or ["nothing"]
                raise EngineError(f"the scripted server did not start and said: {said[0]}")
            yield StartedServer(line.split()[-1], process)
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


def main() -> int:
    """The command; its exit status."""
    try:
        asyncio.run(serve(tyro.cli(Settings, prog="instructpt.engines.serving.scripted")))
    except (InstructptError, OSError) as error:
        sys.stderr.write(f"instructpt: {error}\n")
        return getattr(error, "exit_status", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
