"""Models that ship with the package, each a Hugging Face folder with a model card (README.md).

They go by names like `shipped:synthesizer`, which any command takes for a model: the same name on every machine.
"""

from __future__ import annotations

from pathlib import Path

from instructpt.errors import InputError

SCHEME = "shipped:"
FOLDER = Path(__file__).parent


def resolve(model: str) -> str:
    """The folder of a shipped model for its name; any other name or path as it is.

    Raises InputError for a name that nothing ships under.
    """
    if not model.startswith(SCHEME):
        return model
    folder = FOLDER / model.removeprefix(SCHEME)
    if not (folder / "config.json").exists():
        names = ", ".join(f"{SCHEME}{path.parent.name}" for path in sorted(FOLDER.glob("*/config.json")))
        raise InputError(f"no model ships under {model}: choose one of {names}, or give a folder or Hub id")
    return str(folder)
