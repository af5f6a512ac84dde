"""Training runs side by side: where an experiment over arms and seeds ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import orjson

from instructpt.artifacts import Product, Run, Stage
from instructpt.errors import InputError
from instructpt.records import Score

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run of an experiment, and what was measured of it."""

    arm: str
    seed: int
    tokens: int
    """The budget."""
    phase: str = ""
    """What was done after pre-training: "tuned", or "" for nothing."""
    model: Stage[Any]
    results: tuple[Stage[Score], ...]


@dataclass(frozen=True, kw_only=True)
class Compare(Stage[Any]):
    """Means over seeds with intervals, differences from the first arm, tokens to reach its score (docs/formats.md)."""

    product: ClassVar[Product] = "folder"
    takes: ClassVar[str] = "scores"
    makes: ClassVar[str] = "comparisons"
    is_summary = True

    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Raises InputError without scipy: better now than after all the training."""
        if find_spec("scipy") is None:
            raise InputError("comparisons need scipy: pip install 'instructpt[eval]'")

    def num_shards(self, run: Run) -> int:
        """One."""
        del run
        return 1

    def build(self, index: int, run: Run, path: Path) -> None:
        """A folder with comparison.json."""
        del index
        from instructpt.evaluation.comparison import Result, compare

        results = []
        for cell in self.cells:
            for stage in cell.results:
                for place in range(run.num_shards(stage)):
                    for score in run.take(stage, place):
                        run.tally.keep()
                        results.append(
                            Result(cell.arm, cell.seed, cell.tokens, cell.phase, score.task, score.metric, score.value)
                        )
        arms = tuple(dict.fromkeys(cell.arm for cell in self.cells))
        found = compare(results, arms=arms)
        run.tally.made = 1
        run.tally.count("cells", len(self.cells))
        path.mkdir(exist_ok=True)
        (path / COMPARISON_FILE).write_bytes(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
