"""vLLM, started here: servers for a model, one a GPU, that run until they are closed or this process ends.

    with serve("shipped:synthesizer") as servers:
        engine = HttpEngine("shipped:synthesizer", endpoints=servers.urls)

Prompts go to /v1/completions as token ids: no chat template touches them and no begin of text is added.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.request import ProxyHandler, build_opener

import tyro

from instructpt import models
from instructpt.engines.serving import keeper
from instructpt.engines.serving.environment import find_environment
from instructpt.engines.serving.presets import Launch, Settings, find_machine, gpu_groups, launches
from instructpt.errors import EngineError, RecipeError
from instructpt.models.folders import local_folder
from instructpt.models.inspection import num_parameters, text_config

GRACE_SECONDS = 20.0
"""Between SIGTERM and SIGKILL: vLLM takes one or two to end."""
SECONDS_BETWEEN_LINES = 10.0
_AS_CHOSEN, _AT_PORT_8000 = Settings(), Settings(port=8000)
_TAIL_BYTES = 1 << 16
_LAST_WORDS = 300
_MIXING = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What would mix our packages with those of vLLM's interpreter."""

_STAMP = re.compile(r"^(\([^)]*\) )?((DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^]]*\] )?(INFO: +)?")
_FAULT = re.compile(r"(\w*Error|\w*Exception|error): \S")
_ECHO = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|See root cause|resource_tracker"
)
"""Of an error that another of the server's processes had before."""


@dataclass(frozen=True, slots=True)
class Server:
    """One vLLM server."""

    launch: Launch
    log: Path
    process: subprocess.Popen[bytes]
    """The keeper; it ends with the server."""

    def check(self) -> None:
        """Raise EngineError if it has ended, with what it said last."""
        status = self.process.poll()
        if status is not None:
            raise EngineError(
                f"the vLLM server on port {self.launch.port} ended (status {status}): {fault(self.log)};"
                f" its whole log is {self.log}"
            )

    def is_healthy(self) -> bool:
        """Whether it answers."""
        opener = build_opener(ProxyHandler({}))  # a server of ours is never behind a proxy
        try:
            with opener.open(self.launch.url.removesuffix("/v1") + "/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@dataclass(slots=True)
class Servers(AbstractContextManager["Servers"]):
    """Servers that run. Close them, or leave them as a context."""

    temporary_logs: Path | None
    servers: list[Server] = field(default_factory=list)

    @property
    def urls(self) -> tuple[str, ...]:
        """Their endpoints, ending in /v1."""
        return tuple(server.launch.url for server in self.servers)

    def check(self) -> None:
        """Raise EngineError if one of them has ended."""
        for server in self.servers:
            server.check()

    def close(self) -> None:
        """End them and wait for it. Logs in a temporary folder go too, unless a server had ended before."""
        were_well = all(server.process.poll() is None for server in self.servers)
        for server in self.servers:
            assert server.process.stdin is not None
            server.process.stdin.close()
        for server in self.servers:
            try:
                server.process.wait(timeout=GRACE_SECONDS + 10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        if self.temporary_logs is not None and were_well:
            shutil.rmtree(self.temporary_logs, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.close()


def say_on_stderr(line: str) -> None:
    """One line for people; a panel that is on the terminal moves out of its way."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def serve(model: str, settings: Settings = _AS_CHOSEN, *, say: Callable[[str], None] = say_on_stderr) -> Servers:
    """Start vLLM for a model (a folder, a shipped model or a Hub id) and wait until it answers.

    Raises InputError if there is no vLLM or no model, RecipeError for settings that cannot be, EngineError if a server
    ends or is not healthy in time, with what it said.
    """
    if models.is_remote(model):
        raise RecipeError(f"{model} is a name for what another server has: give a model folder or a Hub id to serve")
    found, folder, machine = find_environment(settings.environment), local_folder(model).absolute(), find_machine()
    planned = launches(
        folder,
        names=tuple(dict.fromkeys((model, folder.name))),
        config=text_config(folder),
        num_parameters=num_parameters(folder),
        environment=found,
        machine=machine,
        settings=settings,
        ports=_ports(settings.port, len(gpu_groups(found.build, machine, settings)), host=settings.host),
    )
    count = "a server" if len(planned) == 1 else f"{len(planned)} servers"
    say(f"vllm: starting {count} of {model} ({found.package} {found.version}, {found.python.parent})")
    logs = settings.log_folder or Path(tempfile.mkdtemp(prefix="instructpt-vllm-"))
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(None if settings.log_folder else logs))
        for launch in planned:
            log = logs / f"vllm-{launch.port}.log"
            servers.servers.append(Server(launch, log, _started([str(found.python), *launch.words], launch, log)))
        _wait(servers, seconds=settings.start_seconds, say=say)
        stack.pop_all()
    return servers


def serve_until_stopped(
    model: tyro.conf.Positional[str], /, *, settings: Annotated[Settings, tyro.conf.arg(name="")] = _AT_PORT_8000
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
                time.sleep(1.0)
                servers.check()
    except KeyboardInterrupt:
        say_on_stderr("vllm: stopped")


def fault(log: Path) -> str:
    """What a server that ended was killed by, as far as its log tells, on one line."""
    lines = _last_lines(log)
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place]
        if _FAULT.search(line) and not _ECHO.search(line):
            if "validation error" in line and place + 1 < len(lines):  # pydantic's: the fault is on the next line
                line = lines[place + 1].removeprefix("Value error, ").partition(" [type=")[0]
            return line[:_LAST_WORDS]
    return "its last words: " + (" / ".join(lines[-3:])[-_LAST_WORDS:] or "none")


def _started(command: list[str], launch: Launch, log: Path) -> subprocess.Popen[bytes]:
    """A keeper with `command` under it, whose output goes to `log`. Close its standard input to end both."""
    log.touch()
    words = [sys.executable, "-I", str(Path(keeper.__file__).resolve()), str(log), str(GRACE_SECONDS), *command]
    environ = {name: value for name, value in os.environ.items() if name not in _MIXING} | dict(launch.environ)
    return subprocess.Popen(  # noqa: S603 (this interpreter, a file of ours)
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ, start_new_session=True
    )


def _wait(servers: Servers, *, seconds: float, say: Callable[[str], None]) -> None:
    """Until all are healthy, with a line now and then on what they do."""
    started = last_line = time.monotonic()
    while missing := [server for server in servers.servers if not server.is_healthy()]:
        servers.check()
        now, log = time.monotonic(), missing[0].log
        if now - started > seconds:
            raise EngineError(
                f"the vLLM server on port {missing[0].launch.port} is not healthy after {seconds:g} s: {fault(log)};"
                f" its whole log is {log}; give it longer, or see what it waits for"
            )
        if now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            words = (_last_lines(log) or ["nothing yet"])[-1]
            say(f"vllm: {now - started:.0f} s, {len(missing)} to come: {words[:120]}")
        time.sleep(0.5)
    servers.check()  # it was these servers that answered, not others on their ports
    say(f"vllm: healthy after {time.monotonic() - started:.0f} s at {', '.join(servers.urls)}")


def _ports(first: int | None, count: int, *, host: str) -> list[int]:
    """Ports that are free, from `first` on. Raises RecipeError if one is taken, or the host is none of this machine."""
    taken = []
    with ExitStack() as stack:
        for port in [0] * count if first is None else range(first, first + count):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, port))
            except OSError as error:
                raise RecipeError(f"cannot listen on {host} port {port} ({error.strerror}): give another") from error
            taken.append(int(listening.getsockname()[1]))
    return taken


def _last_lines(log: Path) -> list[str]:
    """Of a server's log, without who wrote them when."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return [words for line in lines if (words := _STAMP.sub("", line.rpartition("\r")[2].strip()).strip())]
