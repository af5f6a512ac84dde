"""Real text, task records and benchmark items that ship with the package; DATA.md names their sources and licences.

They go by names like `sample:passages.jsonl.zst`, which any command takes for a file: the same name on every machine.
"""

from __future__ import annotations

from pathlib import Path

from instructpt.errors import InputError

SCHEME = "sample:"
FOLDER = Path(__file__).parent


def resolve(url: str) -> str:
    """The path of a shipped file for its name; any other path or URL as it is.

    Raises InputError for a name that nothing ships under.
    """
    if not url.startswith(SCHEME):
        return url
    path = FOLDER / url.removeprefix(SCHEME)
    if not path.exists():
        names = ", ".join(f"{SCHEME}{p.name}" for p in sorted(FOLDER.glob("*.zst")))
        raise InputError(f"nothing ships under {url}: choose one of {names}")
    return str(path)
