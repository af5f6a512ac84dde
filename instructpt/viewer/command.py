"""The command `instructpt view`: a server for a browser on this machine, until Ctrl-C."""

from __future__ import annotations

import socket
import sys
import webbrowser

import tyro

from instructpt.errors import InputError


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
    from instructpt.viewer.library import Library
    from instructpt.viewer.server import application

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
