"""Models that ship with the package, each a Hugging Face folder with a model card (README.md).

They go by names like `shipped:synthesizer`, which any command takes for a model: the same name on every machine.

A model that only runs on a server somewhere goes by `remote:NAME`, NAME being what the server calls it. There are no
files of it to look into, so its identity is its name, and tokens are counted with the vocabulary that ships.
"""

from __future__ import annotations

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
