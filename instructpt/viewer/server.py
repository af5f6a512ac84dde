"""The viewer's server and its command: three files and a JSON interface, for reading only, until Ctrl-C.

    GET /  /viewer.css  /viewer.js                  the page; everything else it asks for is below
    GET /api/artifacts                              what there is
    GET /api/{artifact}/about | charts              counts, lineage | distributions of a sample, values of filters
    GET /api/{artifact}/records?start=0&count=25    a page of records or packed rows, short
    GET /api/{artifact}/records/{number}?all=1      one of them, whole
    GET /api/{artifact}/records/{number}/way        where it came from
    GET /api/{artifact}/search?text=...&category=...&start=0
                                                    JSON lines, as things are found: {"hits": [...], "searched": n}

A search ends after `MAX_HITS` and says where to go on; when the page has gone away, so does the search.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import tyro
from aiohttp import web
from aiohttp.typedefs import Middleware

from instructpt.assembly.rows import Rows
from instructpt.engines.addresses import is_loopback
from instructpt.errors import InputError, InstructptError
from instructpt.viewer import about, packed, search, shown
from instructpt.viewer.shelf import Library, OpenArtifact, shelf_of

MAX_HITS = 50
"""Of one search; the page asks for more."""
MAX_COUNT = 100
"""Records of one page."""

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with everything: should corpus text ever become markup, nothing of it runs, loads or leaves."""

_PAGE = {
    "/": ("index.html", "text/html"),
    "/viewer.css": ("viewer.css", "text/css"),
    "/viewer.js": ("viewer.js", "text/javascript"),
}
"""Path -> file and its type: by the machine's own table it may be another, and `nosniff` would then stop the page."""
LIBRARY = web.AppKey("library", Library)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(library: Library, *, host: str = "127.0.0.1") -> web.Application:
    """The server's application. host: where it will listen, which says whose requests it answers."""
    app = web.Application(middlewares=[_guard(host)])
    app[LIBRARY] = library
    for path in _PAGE:
        app.router.add_get(path, _page)
    app.router.add_get("/favicon.ico", _no_icon)
    app.router.add_get("/api/{artifact}/search", _search)
    for path, ask in _ANSWERS.items():
        app.router.add_get(path, _answers(ask))
    return app


def is_ours(name: str, *, host: str) -> bool:
    """Whether a Host header names this server, not a domain that somebody pointed at it (DNS rebinding).

    name: without the port, which a tunnel may change. On loopback only loopback's names will do. Elsewhere also
    addresses, which no domain can pose as, and the name that the server was told to listen at.
    """
    if name in ("localhost", host):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or not is_loopback(host)


def _guard(host: str) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            stranger = _stranger(request, host)
            response = _json({"error": stranger}, status=403) if stranger else await handler(request)
        except web.HTTPException as refusal:
            response = _json({"error": f"{request.method} {request.path}: {refusal.reason}"}, status=refusal.status)
        except InstructptError as error:
            response = _json({"error": str(error)}, status=404 if isinstance(error, InputError) else 409)
        if not response.prepared:
            response.headers.update(SECURITY)
        return response

    return guard


def _stranger(request: web.Request, host: str) -> str:
    """Why a request is refused; "" for one of our own page."""
    name = request.host.rpartition(":")[0] if request.host[-1:].isdigit() and ":" in request.host else request.host
    if not is_ours(name, host=host):
        return f"this server is not {name}: open it by the address that it printed"
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path != "/":
        return "this was asked for by another site: open the page itself"
    return ""


async def _page(request: web.Request) -> web.FileResponse:
    name, kind = _PAGE[request.path]
    headers = {"Content-Type": f"{kind}; charset=utf-8"}
    return web.FileResponse(Path(__file__).with_name("static") / name, headers=headers)


async def _no_icon(request: web.Request) -> web.Response:
    del request
    return web.Response(status=204)


def _answers(ask: Callable[[Library, Mapping[str, str]], Any]) -> _Handler:
    """A handler that answers with JSON; `ask` reads files, in a thread of its own."""

    async def handler(request: web.Request) -> web.Response:
        asked = {**request.query, **request.match_info}
        return _json(await asyncio.to_thread(ask, request.app[LIBRARY], asked))

    return handler


def _records(library: Library, asked: Mapping[str, str]) -> Any:
    opened = library.opened(asked["artifact"])
    start, count = _number(asked, "start", 0), min(MAX_COUNT, _number(asked, "count", 25))
    if isinstance(opened.content, Rows):
        numbers = range(min(start, len(opened.content)), min(start + count, len(opened.content)))
        words = packed.vocabulary_of(opened.content, opened.artifact)
        return {"records": packed.previews(opened.content, numbers, words) if numbers else []}
    shelf = shelf_of(opened)
    rows = shelf.rows(start, count)
    return {"records": [{"row": number, **shown.preview(shelf.artifact.kind, row)} for number, row in rows]}


def _record(library: Library, asked: Mapping[str, str]) -> Any:
    opened, number = library.opened(asked["artifact"]), int(asked["number"])
    if isinstance(opened.content, Rows):
        row = _packed_row(library, opened, opened.content, number)
    else:
        shelf, limit = shelf_of(opened), None if asked.get("all") else shown.MAX_CHARACTERS
        row = shown.whole(shelf.artifact.kind, shelf.row(number), max_characters=limit)
    return {"row": number, "record": opened.record, **row}


def _packed_row(library: Library, opened: OpenArtifact, rows: Rows, number: int) -> dict[str, Any]:
    """A row; of each document in it the text that it was, as artifact and number, if that is still there."""
    if number >= len(rows):
        raise InputError(f"{opened.artifact.name} has no row {number:,}: give a number below {len(rows):,}")
    row = packed.whole(rows, number, packed.vocabulary_of(rows, opened.artifact))
    texts = opened.artifact.settings["texts"]["artifact"]
    shelf = shelf_of(library.opened(texts)) if texts in library.names() else None
    for piece in row["pieces_of"]:
        place = None if shelf is None else shelf.first_of(piece["shard"]) + piece["document"]
        piece["text"] = None if place is None else {"artifact": texts, "row": place}
    return row


_ANSWERS: Mapping[str, Callable[[Library, Mapping[str, str]], Any]] = {
    "/api/artifacts": lambda library, _: {
        "root": library.root.path,
        "first": library.first,
        "names": library.names(),
    },
    "/api/{artifact}/about": lambda library, asked: about.overview(library.opened(asked["artifact"])),
    "/api/{artifact}/charts": lambda library, asked: about.charts(library.opened(asked["artifact"])),
    "/api/{artifact}/records": _records,
    r"/api/{artifact}/records/{number:\d+}": _record,
    r"/api/{artifact}/records/{number:\d+}/way": lambda library, asked: {
        "hops": about.way(library, library.opened(asked["artifact"]), int(asked["number"]))
    },
}
"""Path -> what answers it, from the library and what is asked."""


async def _search(request: web.Request) -> web.StreamResponse:
    """Lines of JSON; the last one says where to go on, or holds an error."""
    library, asked = request.app[LIBRARY], {**request.query, **request.match_info}
    shelf = shelf_of(await asyncio.to_thread(library.opened, asked["artifact"]))
    filters = {name: value for name, value in request.query.items() if name not in ("text", "start")}
    text, start = asked.get("text", ""), _number(asked, "start", 0)
    search.check(filters, shelf)
    response = web.StreamResponse(headers={**SECURITY, "Content-Type": "application/x-ndjson; charset=utf-8"})
    await response.prepare(request)
    found = 0
    steps = search.search(shelf, text, filters, start=start)
    try:
        while found < MAX_HITS and request.transport is not None and not request.transport.is_closing():
            step = await asyncio.to_thread(next, steps, None)
            if step is None:
                await response.write(_line({"hits": [], "searched": len(shelf), "next": None}))
                return response
            searched, every = step
            hits = every[: MAX_HITS - found]
            found += len(hits)
            after = hits[-1][0] + 1 if len(hits) < len(every) else searched
            lines = [
                {"row": number, **shown.preview(shelf.artifact.kind, row), "snippet": search.snippet(row, text)}
                for number, row in hits
            ]
            goes_on = found >= MAX_HITS and after < len(shelf)
            await response.write(_line({"hits": lines, "searched": after, "next": after if goes_on else None}))
    except ConnectionResetError:
        pass  # the page asks for something else by now
    except InstructptError as error:
        await response.write(_line({"error": str(error)}))
    return response


def _number(asked: Mapping[str, str], name: str, default: int) -> int:
    value = asked.get(name, "")
    if value and not (value.isascii() and value.isdigit()):
        raise InputError(f"{name} is {value!r}: give a whole number, 0 or more")
    return int(value or default)


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def view_until_stopped(
    artifact: tyro.conf.Positional[str], /, *, port: int = 8765, host: str = "127.0.0.1", open_browser: bool = False
) -> None:
    """Look at a finished artifact in a browser: records, search, lineage, charts, packed rows.

    Nothing is written, and nothing is fetched from elsewhere.

    Args:
        artifact: folder of a finished artifact, such as runs/mine/texts, or of a run, such as runs/mine.
        port: where to listen; 0 takes a free one.
        host: 127.0.0.1 lets this machine alone in; 0.0.0.0 lets in everybody who can reach it, and there is no key:
            better leave it and reach it by ssh -L 8765:127.0.0.1:8765 machine.
        open_browser: open the page in the default browser.
    """
    from aiohttp import web

    from instructpt.engines.addresses import is_loopback
    from instructpt.viewer.server import application
    from instructpt.viewer.shelf import Library

    library = Library(artifact)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"cannot listen at {host}:{port} ({reason}): give another --port or --host") from error
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 (compared, not listened at)
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}/"
    _say(f"{library.root.join(library.first)}: {url}   (stop: Ctrl-C)")
    if not is_loopback(host):
        _say(f"everybody who can reach {host} can read all artifacts under {library.root.path}")
    if open_browser:
        webbrowser.open(url)
    app = application(library, host=host)
    web.run_app(app, sock=listening, print=None, access_log=None, shutdown_timeout=1.0)
    _say("stopped")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
