"""Many prompts to one endpoint, each asked once: what it said is kept in a file, a line a reply, as it comes.

A run that was killed asks only for the rest; failed requests are not in the file and are asked again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from instructpt.artifacts.storage import refusals_named
from instructpt.errors import EngineError
from instructpt.records import Reject
from instructpt.seeds import digest
from instructpt.verification.judge.endpoint import Endpoint


def ask_all(
    prompts: Sequence[str],
    *,
    kind: str,
    endpoint: Endpoint,
    replies: Path,
    max_in_flight: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> list[str | Reject]:
    """The reply to each prompt, in order; a Reject with a reason where there is none. Equal prompts are asked once.

    kind: of question; part of a reply's key. replies: the file that keeps them. max_in_flight: requests at a time.
    on_progress: called after each reply with the number of replies so far. Raises InputError if the endpoint refuses
    the key or does not know the model, EngineError if it answers nothing.
    """
    stopped = threading.Event()
    keys = [digest(kind, endpoint.model, prompt).hex() for prompt in prompts]
    found: dict[str, str | Reject] = {}
    with _Replies(replies) as known, ThreadPoolExecutor(max_in_flight, thread_name_prefix="judge") as threads:
        futures = {
            key: threads.submit(_ask, prompt, key=key, endpoint=endpoint, known=known, stopped=stopped)
            for key, prompt in dict(zip(keys, prompts, strict=True)).items()
        }
        try:
            for key, future in futures.items():
                found[key] = future.result()
                if on_progress is not None:
                    on_progress(len(found))
        except BaseException:
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    failed = [reply for reply in found.values() if isinstance(reply, Reject)]
    if found and len(failed) == len(found):
        raise EngineError(
            f"the judge answered none of {len(failed)} requests: see that it works, then run again"
            f" (the last: {failed[-1].reason}, {failed[-1].text})"
        )
    return [found[key] for key in keys]


def _ask(prompt: str, *, key: str, endpoint: Endpoint, known: _Replies, stopped: threading.Event) -> str | Reject:
    reply = known.get(key)
    if reply is None:
        answer = endpoint.ask(prompt, stopped=stopped)
        if isinstance(answer, Reject):
            return answer
        known.put(key, reply := answer)
    return reply


class _Replies:
    """Replies by key in a file of JSON lines, on disk before they are used; half a line, left by a kill, is skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with refusals_named(path):
            self._known = dict(_read_lines(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            if self._file.tell():
                self._file.write(b"\n")  # whatever stands there last is a line of its own

    def __enter__(self) -> _Replies:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> str | None:
        """The reply under `key`, if it is known."""
        return self._known.get(key)

    def put(self, key: str, reply: str) -> None:
        """Keep a reply; returns once it would survive a power cut. Raises StorageError if the disk refuses it."""
        with self._lock, refusals_named(self._path):
            self._file.write(orjson.dumps([key, reply]) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._known[key] = reply


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            key, reply = orjson.loads(line)
        except ValueError:  # half a line
            continue
        yield key, reply
