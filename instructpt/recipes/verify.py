"""Pairs that can be trusted: what is left of a corpus once its pairs are checked.

any artifact of groups --Stored--> groups --Verify--> checked --Consistency--> consistent --Judged--> judged
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from tyro.conf import Positional, arg

from instructpt.artifacts import Stage
from instructpt.artifacts.storage import Folder
from instructpt.engines.models import AUTO, DESCRIPTION, SHIPPED_READER, read_prompting
from instructpt.errors import RecipeError
from instructpt.evaluation.stored import stored
from instructpt.models.folders import is_local, local_folder
from instructpt.recipes.writer import known_prompting
from instructpt.records import Group
from instructpt.verification.checks import VERIFY_CHECKS
from instructpt.verification.consistency import MIN_F1, MIN_SCORE, Consistency, Judged
from instructpt.verification.stages import Verify


def verify(
    artifact: Annotated[str, Positional, arg(metavar="ARTIFACT")],
    /,
    *,
    checks: tuple[str, ...] | None = None,
    forms: str | None = None,
    synthesizer: str | None = None,
    consistency: tuple[str, ...] | None = None,
    min_f1: float = MIN_F1,
    min_likelihood: float | None = None,
    dialect: str = AUTO,
    judge: str | None = None,
    judge_model: str = "",
    rubric: str = "",
    min_score: float = MIN_SCORE,
) -> Stage[Group]:
    """A corpus of groups without the pairs, and the texts in forms, that fail a check.

    Args:
        artifact: A finished artifact of groups, such as runs/mine/groups. It stays as it is.
        checks: Checks that a pair must pass, in this order; docs/verification.md lists them. By default all of them;
            grounded only if the synthesizer says in which categories answers are spans of the passage.
        forms: The forms whose texts are checked, each by what its form asks for: facts,faq,mine.toml. By default those
            that the artifact's recipe names, or the recipe of what it was made from; "" for none.
        synthesizer: The model that wrote the pairs. Its synthesizer.json says in which categories answers are spans.
            By default the one in the artifact's recipe, if its folder is on this machine; "" for none.
        consistency: Ask each question again and leave out pairs that get another answer, facts and answers in texts
            too. Without a value the reader that ships is asked; or name a model: a folder, a Hub id or remote:NAME.
            Each of several must agree.
        min_f1: Two answers agree if they share this much of their words (F1).
        min_likelihood: How likely a reader must hold each token of an answer, instead of giving one of its own. By
            default what its synthesizer.json says; that of the reader that ships does.
        dialect: How the --consistency model is asked. auto takes what its synthesizer.json says, else tags.
        judge: URL of an OpenAI-compatible server (http://localhost:8000/v1) with a model that scores each pair, or
            several URLs with commas. The key is read from INSTRUCTPT_JUDGE_KEY and sent only over https or to this
            machine.
        judge_model: The judge's name on that server.
        rubric: A file that tells the judge how to score, with {passage}, {question} and {answer}. The default rubric
            goes from 1 to 5.
        min_score: Pairs with a lower score are left out.
    """
    found: Stage[Group] = stored(artifact)
    folder = Folder.at(artifact)
    writer = _writer(folder) if synthesizer is None else synthesizer or None
    chosen = checks if checks is not None else tuple(c for c in VERIFY_CHECKS if c != "grounded" or writer is not None)
    written = _forms(folder) if forms is None else forms
    found = Verify(name="checked", groups=found, checks=chosen, synthesizer=writer, forms=written)
    if consistency is not None:
        for number, model in enumerate(consistency or (SHIPPED_READER,), 1):
            if min_likelihood is not None and not known_prompting(model).unanswerable:
                raise RecipeError(
                    f"--min-likelihood is for readers, and {model} does not say that it is one: leave it out"
                )
            name = "consistent" if number == 1 else f"consistent-{number}"
            found = Consistency(
                name=name,
                groups=found,
                model=model,
                min_f1=min_f1,
                min_likelihood=min_likelihood,
                dialect=dialect,
                forms=written,
            )
    if judge:
        found = Judged(name="judged", groups=found, url=judge, model=judge_model, rubric=rubric, min_score=min_score)
    return found


def _writer(folder: Folder) -> str | None:
    """The model that the artifact's recipe names as the one that wrote it, if it is here and says what it writes."""
    model = _settings(folder).get("model")
    if not isinstance(model, str) or not is_local(model):
        return None
    return model if read_prompting(local_folder(model, files=DESCRIPTION)).answers else None


def _forms(folder: Folder) -> str:
    """The forms that the artifact's recipe names, or else that of what it was made from, beside it; "" for none."""
    settings = _settings(folder)
    if isinstance(named := settings.get("forms"), str):
        return named
    made_from = [value["artifact"] for value in settings.values() if isinstance(value, dict) and "artifact" in value]
    root, _, _ = folder.path.rstrip("/").rpartition("/")
    return next(filter(None, (_forms(Folder.at(f"{root}/{name}")) for name in made_from)), "")


def _settings(folder: Folder) -> dict[str, Any]:
    return dict(orjson.loads(folder.read("recipe.json"))["settings"]) if folder.exists("recipe.json") else {}
