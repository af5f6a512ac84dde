"""Recipes: functions that return a tree of stages. Their keyword arguments become the command's flags.

A recipe of your own is a function in any file: `instructpt run path/to/my.py:recipe --flag value`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructpt.errors import InputError, RecipeError

if TYPE_CHECKING:
    from instructpt.artifacts import Stage

Recipe = Callable[..., "Stage[Any]"]

RECIPES = {
    "augment": "instructpt.recipes.augment:augment",
    "compare": "instructpt.recipes.compare:compare",
    "decontaminate": "instructpt.recipes.decontaminate:decontaminate",
    "demo": "instructpt.recipes.demo:demo",
    "domain": "instructpt.recipes.domain:domain",
    "evaluate": "instructpt.recipes.evaluate:evaluate",
    "exam": "instructpt.recipes.exam:exam",
    "general": "instructpt.recipes.general:general",
    "hold-back": "instructpt.recipes.exam:hold_back",
    "instruct": "instructpt.recipes.instruct:instruct",
    "quality": "instructpt.recipes.quality:quality",
    "reader": "instructpt.recipes.reader:reader",
    "synthesizer": "instructpt.recipes.synthesizer:synthesizer",
    "verify": "instructpt.recipes.verify:verify",
}


def open_recipe(name: str) -> Recipe:
    """The recipe called `name`, or that of `file.py:function`.

    Raises RecipeError for an unknown name, InputError for a file or function that is not there.
    """
    if name in RECIPES:
        module, _, attribute = RECIPES[name].partition(":")
        recipe: Recipe = getattr(import_module(module), attribute)
        return recipe
    path, _, attribute = name.rpartition(":")
    if not path.endswith(".py"):
        raise RecipeError(
            f"no recipe is called {name!r}: give one of {', '.join(RECIPES)}, or path/to/file.py:function"
        )
    if not Path(path).is_file():
        raise InputError(f"no file {path}: give the path of a Python file that defines {attribute}")
    spec = spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = module_from_spec(spec)
    sys.modules[spec.name] = loaded  # worker processes and dataclasses look the module up by its name
    sys.path.insert(0, str(Path(path).resolve().parent))
    spec.loader.exec_module(loaded)
    if not callable(getattr(loaded, attribute, None)):
        raise InputError(f"{path} defines no function {attribute!r}: name one that returns a stage")
    own: Recipe = getattr(loaded, attribute)
    return own
