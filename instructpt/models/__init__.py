"""Models that ship with the package, each a Hugging Face folder with a model card (README.md).

They go by names like `shipped:synthesizer`, which any command takes for a model: the same name on every machine.

A model that only runs on a server somewhere goes by `remote:NAME`, NAME being what the server calls it. There are no
files of it to look into, so its identity is its name, and tokens are counted with the vocabulary that ships.

Models in another form than a Hugging Face folder are converted once and kept in the user's cache:

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

from instructpt.errors import InputError

SCHEME = "shipped:"
REMOTE_SCHEME = "remote:"
FOLDER = Path(__file__).parent


def resolve(model: str) -> str:
    """The folder of a shipped model for its name; any other name or path as it is.

    Raises InputError for a name that nothing ships under.
    """
    if not model.startswith(SCHEME):
        return model
    folder = FOLDER / model.removeprefix(SCHEME)
    if not (folder / "synthesizer.json").exists():
        names = ", ".join(f"{SCHEME}{path.parent.name}" for path in sorted(FOLDER.glob("*/synthesizer.json")))
        raise InputError(f"no model ships under {model}: choose one of {names}, or give a folder or Hub id")
    return str(folder)


def is_remote(model: str) -> bool:
    """Whether a model is only known by the name that a server has for it."""
    return model.startswith(REMOTE_SCHEME)


def remote_name(model: str) -> str:
    """What a server calls the model `remote:NAME`. Raises InputError if there is no name."""
    assert is_remote(model), f"{model} is not remote"
    name = model.removeprefix(REMOTE_SCHEME).strip()
    if not name:
        raise InputError(f"{model!r} names no model: write {REMOTE_SCHEME}NAME, with the name that the server lists")
    return name


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
