r"""As much of HTTP/1.1 as the scripted server needs, and nothing slower than that.

    bytes in  -->  Connection  --(method, path, headers, body)-->  a handler
    bytes out <--  Connection.send(status, body)  <----- at once or later ---'

A request has a Content-Length or comes in chunks; a connection stays open for the next one. Requests that a client
sends ahead wait until the one before them is answered. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from instructpt.errors import InputError

MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 26
"""A prompt of several million tokens."""

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}

Handler = Callable[["Connection", str, str, bytes, bytes], None]
"""Takes a connection, a method, a path without query, the raw header lines and a body. Calls `send` now or later."""


class Connection(asyncio.Protocol):
    """One client. `handler` is called for each whole request; the next one waits until `send` or `close`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_answering = False
        self._keeps_open = True
        self.on_lost: Callable[[], None] | None = None
        """Called if the client leaves before it has its answer."""

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self._transport = None
        lost, self.on_lost = self.on_lost, None
        if lost is not None:
            lost()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        if not self._is_answering:
            self._next()

    def send(self, status: int, body: bytes, *, kind: str = "application/json", more: str = "") -> None:
        r"""Answer the request under way. more: further header lines, each with its end `\r\n`."""
        self.begin(status, len(body), body, kind=kind, more=more)
        self.end()

    def begin(self, status: int, length: int, body: bytes, *, kind: str = "application/json", more: str = "") -> None:
        """Say that `length` bytes come, and send the first of them."""
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}"
        if not self._keeps_open:
            head += "Connection: close\r\n"
        self.write(head.encode() + b"\r\n" + body)

    def write(self, data: bytes) -> None:
        """Send bytes as they are; to a client that has left, nothing."""
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """The answer is whole: go on with the next request, or close if the client wants that."""
        self.on_lost = None
        self._is_answering = False
        if not self._keeps_open:
            self.close()
        elif self._buffer:
            self._next()

    def close(self) -> None:
        """Hang up, after what was written."""
        self.on_lost = None
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        """Hand on the first request in the buffer, if it is whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._refuse(431)
            return
        line, _, lines = bytes(self._buffer[:end]).partition(b"\r\n")
        words = line.split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self._refuse(400)
            return
        headers = lines.lower()
        try:
            whole = self._body(headers, end + 4)
        except InputError:
            self._refuse(400)
            return
        if whole is None:
            if len(self._buffer) > MAX_BODY_BYTES:
                self._refuse(413)
            elif b"expect: 100-continue" in headers and len(self._buffer) == end + 4:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body, used = whole
        del self._buffer[:used]
        self._keeps_open = words[2] == b"HTTP/1.1" and b"connection: close" not in headers
        self._is_answering = True
        path = words[1].partition(b"?")[0].decode("latin-1")
        self._handler(self, words[0].decode("latin-1"), path, lines, body)

    def _body(self, headers: bytes, start: int) -> tuple[bytes, int] | None:
        """The body and where it ends in the buffer; None if it is not all there. Raises InputError for nonsense."""
        if b"transfer-encoding: chunked" in headers:
            return self._chunks(start)
        _, name, value = headers.partition(b"content-length:")
        if not name:
            return b"", start
        end = start + _number(value.partition(b"\r\n")[0], base=10)
        return (bytes(self._buffer[start:end]), end) if len(self._buffer) >= end else None

    def _chunks(self, start: int) -> tuple[bytes, int] | None:
        pieces: list[bytes] = []
        while True:
            end = self._buffer.find(b"\r\n", start)
            if end < 0:
                return None
            length = _number(bytes(self._buffer[start:end]).partition(b";")[0], base=16)
            start = end + 2 + length + 2
            if len(self._buffer) < start:
                return None
            if length == 0:
                return b"".join(pieces), start
            pieces.append(bytes(self._buffer[end + 2 : start - 2]))

    def _refuse(self, status: int) -> None:
        self._keeps_open = False
        self._buffer.clear()
        self.send(status, b"")


def _number(digits: bytes, *, base: int) -> int:
    try:
        number = int(digits, base)
    except ValueError as error:
        raise InputError(f"{digits!r} is not a length: give a number") from error
    if number < 0:
        raise InputError(f"{number} is not a length: give 0 or more")
    return number
