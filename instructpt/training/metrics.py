"""`metrics.jsonl`: a line for every optimizer step, in order, each step once, whatever was killed and resumed.

A run that resumes at step s first cuts the file back to its first s lines and then goes on; so the file of a resumed
run differs from an undisturbed one's only in the timings.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from instructpt.artifacts.storage import Folder, refusals_named
from instructpt.errors import ArtifactError
from instructpt.records import Step, from_row, to_row

NAME = "metrics.jsonl"


class Appender:
    """The file in a folder, open for the steps to come; without a folder, for a process that writes none."""

    def __init__(self, folder: Path | None) -> None:
        self._path, self._file = folder and folder / NAME, None
        if self._path is not None:
            with refusals_named(self._path):
                self._file = self._path.open("ab")

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, step: Step) -> None:
        """Add a line; it outlives this process from here on."""
        if self._file is not None:
            with refusals_named(self._path):
                self._file.write(_line(step))
                self._file.flush()

    def flush_to_disk(self) -> None:
        """Let the lines outlive the machine: a checkpoint must never be ahead of them."""
        if self._file is not None:
            with refusals_named(self._path):
                os.fsync(self._file.fileno())


def read(folder: Path) -> list[Step]:
    """The steps noted so far; a last line that a kill cut short is left out."""
    path = folder / NAME
    if not path.exists():
        return []
    whole = [text for text in path.read_bytes().splitlines(keepends=True) if text.endswith(b"\n")]
    return [from_row(Step, orjson.loads(text)) for text in whole]


def cut(folder: Path, *, num_steps: int) -> list[Step]:
    """Keep the first `num_steps` steps of the file and give them. Raises ArtifactError if it holds fewer."""
    steps: Sequence[Step] = read(folder)
    if [step.step for step in steps[:num_steps]] != list(range(1, num_steps + 1)):
        raise ArtifactError(
            f"{folder / NAME} does not hold steps 1 to {num_steps} of the checkpoint to resume from: "
            "put the file back or remove the folder and train again"
        )
    Folder.at(str(folder)).write(NAME, b"".join(_line(step) for step in steps[:num_steps]))
    return list(steps[:num_steps])


def _line(step: Step) -> bytes:
    return orjson.dumps(to_row(step)) + b"\n"
