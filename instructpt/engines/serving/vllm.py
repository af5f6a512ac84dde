"""vLLM, started here: servers for a model, one a GPU, that run until they are closed or this process ends.

    environment.py   where vLLM lives
    presets.py       how it is started for this model on this machine
    keeper.py        the process that ends a server with us
    here             start them, wait until they are healthy, tell what was wrong if they are not

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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from instructpt import models
from instructpt.engines.serving import keeper
from instructpt.engines.serving.environment import find_environment
from instructpt.engines.serving.presets import Launch, Settings, find_machine, launches, num_servers, read_config
from instructpt.errors import EngineError, RecipeError
from instructpt.models.folders import local_folder

GRACE_SECONDS = 20.0
"""Between SIGTERM and SIGKILL: vLLM takes one or two to end."""
SECONDS_BETWEEN_LINES = 10.0
_TAIL_BYTES = 1 << 16
_LAST_WORDS = 300

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


class Servers:
    """Servers that run. Close them, or leave them as a context."""

    def __init__(self, servers: Sequence[Server], *, temporary_logs: Path | None) -> None:
        self.servers = tuple(servers)
        self._temporary_logs = temporary_logs

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
        if self._temporary_logs is not None and were_well:
            shutil.rmtree(self._temporary_logs, ignore_errors=True)

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def say_on_stderr(line: str) -> None:
    """One line for people; a panel that is on the terminal moves out of its way."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def serve(
    model: str,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    settings: Settings | None = None,
    environment: str | None = None,
    log_folder: Path | None = None,
    start_seconds: float = 1800.0,
    say: Callable[[str], None] = say_on_stderr,
) -> Servers:
    """Start vLLM for a model and wait until it answers.

    model: a folder, a shipped model or a Hub id. port: of the first server, the next ones take the ports after it;
    None = any free ones. environment: see `environment.find_environment`. log_folder: for a log a server; None = a
    temporary folder. start_seconds: how long they may take to become healthy; large models take minutes.

    Raises InputError if there is no vLLM or no model, RecipeError for settings that cannot be, EngineError if a server
    ends or is not healthy in time, with what it said.
    """
    if models.is_remote(model):
        raise RecipeError(f"{model} is a name for what another server has: give a model folder or a Hub id to serve")
    settings = settings or Settings()
    found = find_environment(environment)
    folder, machine = local_folder(model).absolute(), find_machine()
    planned = launches(
        folder,
        names=tuple(dict.fromkeys((model, folder.name))),
        config=read_config(folder),
        environment=found,
        machine=machine,
        settings=settings,
        host=host,
        ports=_ports(port, num_servers(found.build, machine, settings), host=host),
    )
    say(f"vllm: starting {_servers(len(planned))} of {model} ({found.package} {found.version}, {found.python.parent})")
    temporary = None if log_folder is not None else Path(tempfile.mkdtemp(prefix="instructpt-vllm-"))
    logs = log_folder or temporary
    assert logs is not None
    logs.mkdir(parents=True, exist_ok=True)
    started: list[Server] = []
    with ExitStack() as stack:
        stack.callback(lambda: Servers(started, temporary_logs=temporary).close())
        for launch in planned:
            log = logs / f"vllm-{launch.port}.log"
            log.touch()
            command = [str(found.python), *launch.words]
            environ = _environ() | dict(launch.environ)
            process = keeper.start(command, environ=environ, log=log, grace_seconds=GRACE_SECONDS)
            started.append(Server(launch, log, process))
        servers = Servers(started, temporary_logs=temporary)
        _wait(servers, seconds=start_seconds, say=say)
        stack.pop_all()
    return servers


def fault(log: Path) -> str:
    """What a server that ended was killed by, as far as its log tells, on one line."""
    lines = [line for line in map(_plain, _tail(log)) if line]
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place]
        if _FAULT.search(line) and not _ECHO.search(line):
            if "validation error" in line and place + 1 < len(lines):  # pydantic's: the fault is on the next line
                line = lines[place + 1].removeprefix("Value error, ").partition(" [type=")[0]
            return line[:_LAST_WORDS]
    return "its last words: " + (" / ".join(lines[-3:])[-_LAST_WORDS:] or "none")


def _wait(servers: Servers, *, seconds: float, say: Callable[[str], None]) -> None:
    """Until all are healthy, with a line now and then on what they do."""
    started = last_line = time.monotonic()
    missing = list(servers.servers)
    while missing:
        servers.check()
        missing = [server for server in missing if not _is_healthy(server.launch)]
        now = time.monotonic()
        if missing and now - started > seconds:
            log = missing[0].log
            raise EngineError(
                f"the vLLM server on port {missing[0].launch.port} is not healthy after {seconds:g} s: {fault(log)};"
                f" its whole log is {log}; give it longer, or see what it waits for"
            )
        if missing and now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            words = next((line for line in map(_plain, reversed(_tail(missing[0].log))) if line), "nothing yet")
            say(f"vllm: {now - started:.0f} s, {len(missing)} to come: {words[:120]}")
        if missing:
            time.sleep(0.5)
    servers.check()  # it was this server that answered, not another one on its port
    say(f"vllm: healthy after {time.monotonic() - started:.0f} s at {', '.join(servers.urls)}")


def _is_healthy(launch: Launch) -> bool:
    opener = build_opener(ProxyHandler({}))  # a server of ours is never behind a proxy
    try:
        with opener.open(launch.url.removesuffix("/v1") + "/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def _ports(first: int | None, count: int, *, host: str) -> list[int]:
    """Ports that are free, from `first` on. Raises RecipeError if one is taken, or the host is none of this machine."""
    ports = [0] * count if first is None else list(range(first, first + count))
    with ExitStack() as stack:
        taken = []
        for port in ports:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, port))
            except OSError as error:
                raise RecipeError(f"cannot listen on {host} port {port} ({error.strerror}): give another") from error
            taken.append(int(listening.getsockname()[1]))
        return taken


def _environ() -> dict[str, str]:
    """This process's, without what would mix its packages with those of vLLM's interpreter."""
    mixing = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in mixing}


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").split("\n")


def _plain(line: str) -> str:
    """A line of the log without who wrote it when."""
    return _STAMP.sub("", line.rpartition("\r")[2].strip()).strip()


def _servers(count: int) -> str:
    return "a server" if count == 1 else f"{count} servers"
