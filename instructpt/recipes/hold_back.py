"""An exam from a corpus' own pairs, and the corpus without them.

verified groups --> HeldBack --> exam, for `instructpt exam MODEL --on DIR/exam`
       '----------> Remainder -> Template -> texts, to train on
"""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from instructpt.artifacts import read_manifest
from instructpt.artifacts.storage import Folder
from instructpt.errors import RecipeError
from instructpt.evaluation.held_back import MIN_AGREEMENT, HeldBack, Remainder
from instructpt.evaluation.overlap import Stored
from instructpt.recipes.flags import TEXT_LAYOUTS, Language, PairLayoutFlag, Seed
from instructpt.templates.stages import Template


def hold_back(
    artifact: Annotated[str, Positional, arg(metavar="ARTIFACT")],
    /,
    *,
    min_agreement: float = MIN_AGREEMENT,
    per_passage: int = 1,
    control_share: float = 0.1,
    pair_layout: PairLayoutFlag = "beside",
    language: Language = "english",
    seed: Seed = 0,
) -> Template:
    """Hold pairs back for an exam: the exam, and the training texts without them.

    Args:
        artifact: A finished artifact of groups whose pairs a reader has confirmed: instructpt verify --consistency.
        min_agreement: How much the reader's answer must agree with the pair's, from 0 to 1.
        per_passage: Pairs to hold back per passage. At least one pair stays with the passage.
        control_share: Share of the passages that are left out of the texts entirely. Questions on them are the control
            set.
    """
    record = read_manifest(Folder.at(artifact))["record"]
    if record != "Group":
        raise RecipeError(f"{artifact} holds {record or 'no records'}: give an artifact of groups with pairs")
    groups = Stored(name="stored", folder=artifact, kind="Group")
    exam = HeldBack(
        name="exam",
        groups=groups,
        min_agreement=min_agreement,
        per_passage=per_passage,
        control_share=control_share,
        seed=seed,
    )
    left = Remainder(name="remainder", groups=groups, exam=exam)
    return Template(name="texts", groups=left, language=language, layout=TEXT_LAYOUTS[pair_layout], seed=seed)
