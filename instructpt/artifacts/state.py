"""How an artifact stands: whether it is complete, and whether it was made with other settings."""

from __future__ import annotations

from typing import Any

import orjson

from instructpt.artifacts.identity import changes, describe
from instructpt.artifacts.run import Run
from instructpt.artifacts.stage import Stage
from instructpt.artifacts.storage import damage_named

UNUSED = ".unused"
"""A file in the folder of an artifact that a run made and came to nothing with."""


def is_finished(stage: Stage[Any], run: Run) -> bool:
    """Whether the artifact is complete."""
    return run.folder(stage).exists("manifest.json")


def may_be_replaced(stage: Stage[Any], run: Run) -> bool:
    """Whether other settings make the artifact anew under its name: a summary, or one that nothing came of."""
    return stage.is_summary or run.folder(stage).exists(UNUSED)


def differences(stage: Stage[Any], run: Run) -> list[str]:
    """Where the stage is not what its folder was begun with, one line each; none if nothing is begun."""
    folder = run.folder(stage)
    if not folder.exists("recipe.json"):
        return []
    with damage_named(folder.join("recipe.json"), remove=folder.path):
        begun = orjson.loads(folder.read("recipe.json"))
    return changes(begun, orjson.loads(orjson.dumps(describe(stage, run))))
