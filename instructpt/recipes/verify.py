"""Pairs that can be trusted: what is left of a corpus once its pairs are checked, and how good the checks are.

any artifact of groups --Stored--> groups --Verify--> checked --Consistency--> consistent --Judged--> judged
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from tyro.conf import Positional, arg

from instructpt.artifacts import Stage, read_manifest
from instructpt.artifacts.storage import Folder
from instructpt.collection.stages import Convert
from instructpt.engines.models import is_local
from instructpt.errors import RecipeError
from instructpt.evaluation.overlap import Stored
from instructpt.records import Group
from instructpt.synthesis.stages import AUTO
from instructpt.verification.checks import VERIFY_CHECKS
from instructpt.verification.consistency import MIN_F1, MIN_SCORE, Consistency, Judged
from instructpt.verification.measured import CheckQuality, Spoil
from instructpt.verification.stages import Verify

SAMPLE_SETS = (
    "copa",
    "evidence_inference",
    "evidence_span",
    "fairytaleqa",
    "gsm8k_train",
    "mnli",
    "quoref",
    "scitldr",
    "strategyqa",
    "wikitablequestions",
)
"""Of the task data that ship: those whose pairs ask about their text, of all formats, with answers that people gave."""


def verify(
    artifact: Annotated[str, Positional, arg(metavar="ARTIFACT")],
    /,
    *,
    checks: tuple[str, ...] | None = None,
    synthesizer: str | None = None,
    consistency: str | None = None,
    min_f1: float = MIN_F1,
    dialect: str = AUTO,
    judge: str | None = None,
    judge_model: str = "",
    rubric: str = "",
    min_score: float = MIN_SCORE,
) -> Stage[Group]:
    """A corpus of groups without the pairs that fail a check.

    Args:
        artifact: A finished artifact of groups, such as runs/mine/groups. It stays as it is.
        checks: What a pair must pass, in order; docs/verification.md lists them. By default all of them, but grounded
            (what should stand in the passage does) only where the synthesizer names its categories.
        synthesizer: Who wrote the pairs, whose synthesizer.json says in which categories answers are taken from the
            passage. By default what the artifact's recipe names, if that is a folder here; "" for nobody.
        consistency: Ask each question again, of this model (a folder, a Hub id, remote:NAME), and leave out the pairs
            whose answer is another one.
        min_f1: How much of the words of two answers must be the same for them to agree.
        dialect: How that model is talked with; auto is what its synthesizer.json says, else tags.
        judge: URL of an OpenAI-compatible endpoint (http://localhost:8000/v1) that scores each pair; its key is read
            from the environment, INSTRUCTPT_JUDGE_KEY.
        judge_model: What that endpoint calls the judge.
        rubric: A file that tells the judge how to score, with {passage}, {question} and {answer}; by default one that
            ships, from 1 to 5.
        min_score: Pairs with a lower score are left out.
    """
    folder = Folder.at(artifact)
    manifest = read_manifest(folder)
    if manifest["record"] != "Group":
        raise RecipeError(
            f"{artifact} holds {manifest['record'] or 'no records'}: give an artifact of groups with pairs"
        )
    writer = _writer(folder) if synthesizer is None else synthesizer or None
    chosen = checks if checks is not None else tuple(c for c in VERIFY_CHECKS if c != "grounded" or writer is not None)
    stored: Stage[Group] = Stored(name="stored", folder=artifact, kind="Group")
    checked = Verify(name="checked", groups=stored, checks=chosen, synthesizer=writer)
    return _asked(
        checked,
        consistency=consistency,
        min_f1=min_f1,
        dialect=dialect,
        judge=judge,
        judge_model=judge_model,
        rubric=rubric,
        min_score=min_score,
    )[-1]


def measure_checks(
    *,
    tasks_data: tuple[str, ...] = ("sample:tasks.jsonl.zst",),
    sets: tuple[str, ...] = SAMPLE_SETS,
    num_pairs: int = 300,
    checks: tuple[str, ...] = VERIFY_CHECKS,
    consistency: str | None = None,
    min_f1: float = MIN_F1,
    dialect: str = AUTO,
    judge: str | None = None,
    judge_model: str = "",
    rubric: str = "",
    min_score: float = MIN_SCORE,
    seed: int = 0,
) -> CheckQuality:
    """Precision and recall of each check, on annotated pairs of which half are spoilt.

    Args:
        tasks_data: Annotated task data, neutral JSON lines.
        sets: Which of its data sets.
        num_pairs: The size of the sample.
        checks: Which checks.
        consistency: A model that answers each question again, as for verify.
        min_f1: As for verify.
        dialect: As for verify.
        judge: As for verify.
        judge_model: As for verify.
        rubric: As for verify.
        min_score: As for verify.
        seed: Of the sample.
    """
    annotated = Convert(name="annotated", files=tasks_data, part="all", sets=sets, shots=1, seed=seed)
    sample = Spoil(name="sample", annotated=annotated, num_pairs=num_pairs, seed=seed)
    models: dict[str, Any] = {
        "min_f1": min_f1,
        "dialect": dialect,
        "judge_model": judge_model,
        "rubric": rubric,
        "min_score": min_score,
    }
    asked = [
        *_asked(sample, consistency=consistency, judge=None, **models)[1:],
        *_asked(sample, consistency=None, judge=judge, **models)[1:],
    ]
    return CheckQuality(name="check-quality", sample=sample, checks=checks, models=tuple(asked))


def _asked(
    groups: Stage[Group],
    *,
    consistency: str | None,
    min_f1: float,
    dialect: str,
    judge: str | None,
    judge_model: str,
    rubric: str,
    min_score: float,
) -> list[Stage[Group]]:
    """The groups, and what is left of them after each of the models that is asked."""
    found = [groups]
    if consistency:
        found.append(Consistency(name="consistent", groups=groups, model=consistency, min_f1=min_f1, dialect=dialect))
    if judge:
        judged = Judged(
            name="judged", groups=found[-1], url=judge, model=judge_model, rubric=rubric, min_score=min_score
        )
        found.append(judged)
    return found


def _writer(folder: Folder) -> str | None:
    """The model that the artifact's recipe names as the one that wrote it, if it is here and says what it writes."""
    from instructpt.engines.models import read_speech
    from instructpt.words import vocabulary

    if not folder.exists("recipe.json"):
        return None
    model = orjson.loads(folder.read("recipe.json"))["settings"].get("model")
    if not isinstance(model, str) or not is_local(model):
        return None
    speech = read_speech(vocabulary.local_folder(model))
    return model if speech and speech.categories else None
