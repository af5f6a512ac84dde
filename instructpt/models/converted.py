"""Models in another form than a Hugging Face folder are converted once and kept in the user's cache.

    ~/.cache/instructpt/models/<name>-<digest>/    config.json, model.safetensors, tokenizer.json ...

The digest names what was converted, so a file that changes is converted again. A folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def cache_folder() -> Path:
    """Where converted models are kept: below XDG_CACHE_HOME, or ~/.cache where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "instructpt" / "models"


def converted(name: str, sources: Iterable[Path], convert: Callable[[Path], None]) -> Path:
    """The folder that `convert` filled from `sources`, now or in an earlier run.

    name: what the folder's name begins with. A source is known by its path, its size and the time of its last change.
    """
    state = hashlib.blake2b(digest_size=8)
    for path in sources:
        entry = path.stat()
        state.update(f"{path.resolve()}\0{entry.st_size}\0{entry.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    folder = cache_folder() / f"{name}-{state.hexdigest()}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"{name} is made ready once, which takes about a minute; kept in {folder.parent}\n")
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        convert(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # not another process, which was sooner
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
