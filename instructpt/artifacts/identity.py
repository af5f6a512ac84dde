"""What a stage is: its settings, what it reads from outside, and what its inputs are; never where or how it runs.

And how its artifact stands by that: whether it is complete, and whether it was made with other settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from instructpt.artifacts.stage import Stage
from instructpt.artifacts.storage import damage_named
from instructpt.seeds import digest

if TYPE_CHECKING:
    from instructpt.artifacts.run import Run

Settings = dict[str, Any]
UNUSED = ".unused"
"""A file in the folder of an artifact that a run made and came to nothing with."""


def describe(stage: Stage[Any], run: Run) -> Settings:
    """What a stage is, as JSON: its settings, its inputs by name and fingerprint, what it reads from outside."""

    def plain(value: Any) -> Any:
        if isinstance(value, Stage):
            return {"artifact": value.name, "fingerprint": fingerprint(value, run)}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in sorted(value.items())}
        if dataclasses.is_dataclass(value):
            return settings(value)
        assert value is None or isinstance(value, str | int | float | bool), f"{value!r} cannot be a setting"
        return value

    def settings(value: Any) -> Settings:
        return {
            f.name: plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata.get("later") and getattr(value, f.name) == f.default) and not f.metadata.get("note")
        }

    own = settings(stage)
    del own["name"]
    return {
        "stage": type(stage).__name__,
        "version": stage.version,
        "settings": own,
        "sources": dict(sorted(stage.sources(run).items())),
    }


def fingerprint(stage: Stage[Any], run: Run) -> str:
    """32 hex digits of what a stage is, its inputs included, its name not."""
    if stage not in run.fingerprints:
        description = orjson.dumps(describe(stage, run), option=orjson.OPT_SORT_KEYS)
        run.fingerprints[stage] = digest(description.decode())[:16].hex()
    return run.fingerprints[stage]


def changes(old: Any, new: Any, path: str = "") -> list[str]:
    """The places where two descriptions differ, one line each: "settings.seed: 1 -> 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for key in keys for line in changes(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if old == new:
        return []
    return [f"{path}: {orjson.dumps(old).decode()} -> {orjson.dumps(new).decode()}"]


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
