"""The error tree.

    InstructptError
    +-- UserError (also a ValueError; exit status 2): something the user can mend before running again
    |   +-- RecipeError      settings that contradict themselves or each other
    |   +-- InputError       a file, field, model or data set that is missing, unreadable or not what was said
    |   +-- ArtifactError    a folder that holds something else than what is to be built into it
    |   +-- NothingMadeError     a stage after which nothing is left
    +-- RunError (exit status 1): the run itself failed; running again resumes it
        +-- EngineError      a model or server gave no usable answer
        |   +-- PromptRefusedError    to this prompt, and never will
        |   +-- EngineGoneError       to any prompt, any more
        +-- TrainingError    a loss that is not finite or explodes
        +-- StorageError     a disk that is full or refuses writes
        +-- BudgetError      the hours or the money that the run was given are used up

A message is one line: what was given, what was expected, what to do next.
"""

from __future__ import annotations

import importlib
from typing import Any


class InstructptError(Exception):
    """The root of every error this package raises on purpose."""

    exit_status = 1


class UserError(InstructptError, ValueError):
    """Something the user can mend before running again."""

    exit_status = 2


class RecipeError(UserError):
    """Settings that contradict themselves or each other."""


class InputError(UserError):
    """A file, field, model or data set that is missing, unreadable or not what was said."""


class ArtifactError(UserError):
    """A folder that holds something else than what is to be built into it."""


class NothingMadeError(UserError):
    """A stage after which nothing is left, with the counts by reason."""


class RunError(InstructptError):
    """The run itself failed; running the same command again resumes it."""


class EngineError(RunError):
    """A model or server gave no usable answer."""


class PromptRefusedError(EngineError):
    """This prompt is refused, and would be again: too long for the context, say."""


class EngineGoneError(EngineError):
    """The engine as a whole, not one prompt: no endpoint answers any more."""


class TrainingError(RunError):
    """A loss that is not finite or explodes."""


class StorageError(RunError):
    """A disk that is full or refuses writes."""


class BudgetError(RunError):
    """The hours or the money that the run was given are used up; what was paid for is kept."""


def require(package: str, *, of: str, extra: str) -> Any:
    """A package that not everybody needs, imported. of: what needs it. Raises InputError that names the extra."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"{of} needs the package {package}: pip install 'instructpt[{extra}]'") from error
