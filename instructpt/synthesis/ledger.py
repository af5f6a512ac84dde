"""The ledger: completions of the shard that is being worked on, on disk before anybody uses them.

    ask --> get(key) --found--------------------------------> completion
              `--not found--> engine --> put(key, ...) -----> completion
                                           |
         tasks wait here                   queue --> one writer thread: all that waits goes into one transaction
         until theirs is on disk   <-- wake them all <-- fsync

A run that is killed and started again reads what it had paid for and asks only for the rest. The file is SQLite in WAL
mode: appended to, whole after a kill at any moment. It belongs on a local disk (WAL does not work on network file
systems) and to one process at a time; delete its folder once the shard is sealed.
"""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, cast

from instructpt.engines import Completion, Conversation, Prompt, Sampling
from instructpt.errors import StorageError
from instructpt.seeds import digest

_MAX_BATCH = 1024
"""Completions in one transaction: bounds the memory of a commit; 256 in flight never reach it."""
_VERSION = 1
"""Of the table, in the file's `user_version`; raise it when the table changes."""


def key(prompt: Prompt, *, model_identity: str, sampling: Sampling, scored: Sequence[int] = ()) -> bytes:
    """32 bytes that name a question to a model: equal where model, prompt and sampling (with its form) are, on every
    machine. Never to change: they name what lies in the folders of runs that are to go on.

    scored: ids whose likelihood is asked for, and no answer."""
    if scored:
        assert not isinstance(prompt, Conversation), "the likelihood of ids after a conversation is not asked for"
        return digest("likelihood", model_identity, *(struct.pack(f"<{len(i)}i", *i).hex() for i in (prompt, scored)))
    drawn = f"Sampling(max_new_tokens={sampling.max_new_tokens}, temperature={sampling.temperature!r}, "
    drawn += f"seed={sampling.seed})"
    form = (sampling.form.kind, sampling.form.text) if sampling.form else ()
    if isinstance(prompt, Conversation):
        turns = [part for message in prompt.messages for part in (message.role, message.content)]
        return digest("conversation", model_identity, drawn, len(turns), *turns, *form)
    return digest("completion", model_identity, drawn, struct.pack(f"<{len(prompt)}i", *prompt).hex(), *form)


@dataclass(frozen=True, slots=True)
class _Put:
    row: tuple[bytes, bytes, int, str]
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class Ledger:
    """Completions by key, in the file `path`. Use as a context manager, or call `close`."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises StorageError if it is damaged, not a ledger, or cannot be written."""
        self.path = path
        self._failure: StorageError | None = None
        self._queue: SimpleQueue[_Put | None] = SimpleQueue()
        with _clear_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(path)
            try:
                _prepare(self._writer, path=path)
                self._reader = _connect(path)
            except BaseException:
                self._writer.close()
                raise
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count(self) -> int:
        """Completions on disk."""
        with _clear_errors(self.path):
            (count,) = self._reader.execute("SELECT count(*) FROM completions").fetchone()
        return int(count)

    def get(self, key: bytes) -> Completion | None:
        """The completion under `key`, or None. Raises StorageError if the file cannot be read."""
        with _clear_errors(self.path):
            row = self._reader.execute(
                "SELECT text, num_tokens, finish FROM completions WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, num_tokens, finish = row
        return Completion(text.decode("utf-8", "surrogatepass"), num_tokens, cast(Literal["stop", "length"], finish))

    async def put(self, key: bytes, completion: Completion) -> None:
        """Store a completion; returns once it would survive a power cut. The first one under a key stays.

        Raises StorageError if the disk is full or refuses.
        """
        if self._failure is not None:
            raise self._failure
        assert self._thread.is_alive(), "put into a closed ledger"
        loop = asyncio.get_running_loop()
        text = completion.text.encode("utf-8", "surrogatepass")
        written: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Put((key, text, completion.num_tokens, completion.finish), loop, written))
        await written

    def close(self) -> None:
        """Write what is queued and close the file. Calling it twice is fine."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._reader.close()
            self._writer.close()

    def _write(self) -> None:
        open_for_more = True
        while open_for_more:
            item = self._queue.get()
            batch: list[_Put] = []
            with suppress(Empty):
                while item is not None:
                    batch.append(item)
                    if len(batch) == _MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
            open_for_more = item is not None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Put]) -> None:
        try:
            with _clear_errors(self.path), self._writer:
                self._writer.executemany(
                    "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?)", [put.row for put in batch]
                )
        except StorageError as error:
            self._failure = error
        for loop in {id(put.loop): put.loop for put in batch}.values():
            written = [put.written for put in batch if put.loop is loop]
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, written, self._failure)


def _settle(futures: Sequence[asyncio.Future[None]], failure: StorageError | None) -> None:
    for future in futures:
        if future.done():  # cancelled by whoever waited
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite serializes calls on a connection by itself (threadsafety 3); ours are used by one thread each anyway.
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    try:
        # WAL: readers never wait for the writer. FULL, not NORMAL: an answer cost accelerator time, and with one commit
        # for all that waits an fsync costs little (46,000 puts a second with 256 in flight, two cores, a local disk).
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, *, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (num_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version != _VERSION and (version or num_tables):
        raise StorageError(f"{path} is not a ledger of version {_VERSION}: move it away, its completions are lost")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # a kill between table and version must not leave one without the other
        connection.execute(
            "CREATE TABLE IF NOT EXISTS completions"
            " (key BLOB PRIMARY KEY, text BLOB NOT NULL, num_tokens INTEGER NOT NULL, finish TEXT NOT NULL)"
        )
        connection.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """What SQLite and the disk say, as one line that says what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        cause = " ".join(str(error).split())
        if isinstance(error, OSError) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            advice = "make room on that disk, or choose another folder, and run again"
        elif isinstance(error, sqlite3.OperationalError):
            advice = "check that the disk is local and writable and that no other run uses it, and run again"
        else:
            advice = "it is damaged; delete it and run again, what it held is asked for anew"
        raise StorageError(f"the ledger {path}: {cause}: {advice}") from error
