"""More pairs about what the model that is to be trained does not know: `augment --student`.

groups -> a quiz -> the student answers, closed book -> passages that it fails on -> more pairs -> beside the others
"""

from __future__ import annotations

from collections.abc import Callable

from instructpt.artifacts import Stage
from instructpt.errors import RecipeError
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.student import Quiz, Unknown
from instructpt.models import is_remote
from instructpt.records import Document, Group
from instructpt.verification.selection import Attach

ANSWER_TOKENS = 32
"""The longest that a student may write."""


def with_more(
    groups: Stage[Group],
    passages: Stage[Document],
    student: str,
    *,
    name: str,
    is_confirmed: bool,
    write: Callable[[Stage[Document]], Stage[Group]],
) -> Attach:
    """Groups with more pairs about passages on which a model fails without them.

    is_confirmed: whether a reader has confirmed pairs; only those are asked then. write: pairs for such passages.
    Raises RecipeError for a student that only a server has.
    """
    if is_remote(student):
        raise RecipeError(f"the student is {student}: it is asked on this machine, give a folder or a Hub id")
    quiz = Quiz(name="quiz", groups=groups, is_confirmed=is_confirmed)
    answers = Examine(name="student", exam=quiz, model=student, has_open_book=False, max_new_tokens=ANSWER_TOKENS)
    unknown = Unknown(name="unknown", documents=passages, quiz=quiz, student=answers)
    return Attach(name=name, groups=groups, added=write(unknown))
