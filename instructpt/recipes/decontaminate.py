"""A corpus without the items of tests that models trained on it will be scored by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.errors import RecipeError
from instructpt.evaluation.benchmarks import HUB
from instructpt.evaluation.decontamination import Decontaminate
from instructpt.evaluation.overlap import Overlap
from instructpt.evaluation.stored import is_artifact, stored
from instructpt.recipes.flags import Reading, recipe
from instructpt.words.overlap import CONTAMINATION_GRAM

MATCHES = "matches"
"""The artifact that says what was found where."""


@recipe
def decontaminate(
    files: Annotated[tuple[str, ...], Positional, arg(metavar="FILES...")],
    /,
    *,
    against: tuple[str, ...],
    action: Literal["drop", "mask", "report"] = "drop",
    data: str = HUB,
    fields: tuple[str, ...] = (),
    words: int = CONTAMINATION_GRAM,
    min_share: float = 0.0,
    reading: Reading = Reading(),
) -> Stage[Any]:
    """A corpus without the test items that stand in it, and a list of what was found where.

    Args:
        files: Files, folders, globs or URLs, as for augment; or one finished artifact of documents, groups or texts,
            such as runs/mine/groups.
        against: Test sets: evaluation tasks (boolq), suites (general), files of rows, hf://owner/name:split.
        action: drop leaves out documents, texts, passages and pairs that contain an item; mask replaces the shared
            words by [...]; report changes nothing.
        data: Where the tasks' rows are: a folder with boolq.jsonl and so on, or hub.
        fields: Look only for these fields of a test set's rows, such as question. By default all fields.
        words: This many words in a row are a match. Shorter items of at least 8 words must match as a whole.
        min_share: The share of an item's runs of words that a text must contain; with 0, one run is enough.
    """
    texts: Stage[Any]
    if len(files) == 1 and "*" not in files[0] and not files[0].startswith("hf://") and is_artifact(files[0]):
        texts = stored(files[0], kinds=("Document", "Group", "Text"))
        if reading.limit is not None:
            raise RecipeError(f"--limit is for files, and {files[0]} is an artifact: leave it out")
    else:
        texts = reading.read(files)
    matches = Overlap(name=MATCHES, texts=texts, against=against, data=data, fields=fields, words=words)
    if action == "report":
        return matches
    return Decontaminate(name="decontaminated", texts=texts, matches=matches, action=action, min_share=min_share)
