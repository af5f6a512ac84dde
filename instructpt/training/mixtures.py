"""What every model of a recipe is trained on: a table for `instructpt plan`, before the training is paid for.

    model           rows                 tokens there are  tokens taken    share  epochs
    instruct-seed0  instruct-rows              21,400,000    48,600,000   90.0 %    2.27
                      rest-0.2-texts          ~16,300,000   ~37,000,000  ~68.5 %   ~2.27
                      synthesized-texts        ~5,100,000   ~11,600,000  ~21.5 %   ~2.27
                    tasks-rows                    900,000     5,400,000   10.0 %    6.00

Tokens are counted where rows are packed already; what a blend is made of is told by its characters and marked "~".
Models that differ in nothing but their seeds have one entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from instructpt.artifacts import Run, Stage, Table, differences, is_finished, tree
from instructpt.assembly.blending import Blend
from instructpt.training.stages import Source, Train

COLUMNS = ("model", "rows", "tokens there are", "tokens taken", "share", "epochs")
UNKNOWN = "-"


def mixtures(target: Stage[Any], run: Run) -> Table | None:
    """What the models under `target` are trained on; None if it trains none. Makes nothing."""
    alike: dict[tuple[object, ...], list[Train]] = {}
    for stage in tree(target):
        if isinstance(stage, Train):
            budget = (stage.settings.steps, stage.batch_rows, stage.epochs)
            alike.setdefault((stage.mixture, *budget), []).append(stage)
    if not alike:
        return None
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for stages in alike.values():
        first, more = stages[0], len(stages) - 1
        own = list(_rows(first, run, notes))
        label = f"{first.name} (+{more})" if more else first.name
        rows += [(label if place == 0 else "", *row) for place, row in enumerate(own)]
    if any(len(stages) > 1 for stages in alike.values()):
        notes.append("(+n): so many more models with the same rows and budget")
    if any(row[2] == UNKNOWN for row in rows):
        notes.append(f"{UNKNOWN}: not known before the rows are packed; run the recipe, or plan again later")
    return Table("What the models are trained on", COLUMNS, tuple(rows), tuple(notes))


def _rows(stage: Train, run: Run, notes: list[str]) -> Iterator[tuple[str, ...]]:
    """A row for every source of a model, and below it one for every part of a blend."""
    whole = sum(source.share for source in stage.mixture)
    budget = _budget_tokens(stage, run)
    for source in stage.mixture:
        share, there = source.share / whole, _tokens(source, run)
        taken = None if budget is None else budget * share
        epochs = taken / there if taken is not None and there else None
        yield source.rows.name, _count(there), _count(taken), f"{share:.1%}", _epochs(epochs)
        if epochs is not None and epochs > stage.max_epochs:
            notes.append(
                f"{stage.name} would see {source.rows.name} {epochs:.2f} times, more than the {stage.max_epochs:g} "
                "allowed, and will be refused: lower its share or the budget, or raise max_epochs"
            )
        for name, copies, part in _parts(source, run):
            own = there * part / copies if there else None
            seen = taken * part if taken is not None else None
            numbers = _count(own), _count(seen), f"{share * part:.1%}", _epochs(seen / own if seen and own else None)
            yield f"  {name}", *(number if number == UNKNOWN else f"~{number}" for number in numbers)


def _budget_tokens(stage: Train, run: Run) -> float | None:
    """Tokens of the whole run; None where they hang on rows that are not packed yet."""
    if stage.epochs is None:
        return stage.settings.steps * stage.batch_rows * stage.mixture[0].rows.row_tokens
    there = _tokens(stage.mixture[0], run)
    share = stage.mixture[0].share / sum(source.share for source in stage.mixture)
    return None if there is None else stage.epochs * there / share


def _tokens(source: Source, run: Run) -> int | None:
    counts = _counts(source.rows, run)
    return None if counts is None else int(counts["tokens"])


def _parts(source: Source, run: Run) -> Sequence[tuple[str, int, float]]:
    """Name, copies and share of the characters, copies counted, of what a blend is made of; none of anything else."""
    blend = source.rows.texts
    counts = _counts(blend, run) if isinstance(blend, Blend) else None
    if not isinstance(blend, Blend) or counts is None:
        return ()
    characters = {part.texts.name: int(counts.get(f"characters/{part.texts.name}", 0)) for part in blend.parts}
    whole = sum(characters.values())
    return [(part.texts.name, part.copies, characters[part.texts.name] / max(1, whole)) for part in blend.parts]


def _counts(stage: Stage[Any], run: Run) -> dict[str, int] | None:
    """What was counted when the artifact was made; None if it, and no other of its name, is there."""
    if not is_finished(stage, run) or differences(stage, run):
        return None
    counts: dict[str, int] = run.manifest(stage)["tally"]["counts"]
    return counts


def _count(number: float | None) -> str:
    return UNKNOWN if number is None else f"{round(number):,}"


def _epochs(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.2f}"
