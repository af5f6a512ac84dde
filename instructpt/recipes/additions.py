"""What `augment` puts beside the pairs: answers to users' questions, and more about what a student does not know.

queries, passages -> matched -> answered by a model -> confirmed by its reader -> checked -------> beside the others
groups -> a quiz -> a student answers, closed book -> passages that it fails on -> more pairs ---> beside the others
"""

from __future__ import annotations

from dataclasses import replace

from instructpt.artifacts import Stage
from instructpt.engines.models import AUTO
from instructpt.errors import RecipeError
from instructpt.evaluation.questioning import Examine
from instructpt.evaluation.student import Quiz, Unknown
from instructpt.models import is_remote
from instructpt.queries.answering import Answer
from instructpt.queries.stages import Checked, Confirmed, Embed, Index, Match, ReadQueries, Spread, Unanswered
from instructpt.recipes.writer import Writer
from instructpt.records import Document, Group
from instructpt.synthesis.dialects import open_dialect
from instructpt.verification.checks import MODEL_CHECKS
from instructpt.verification.stages import Attach

QUERY_CHECKS = (*MODEL_CHECKS, "language_mismatch", "grounded", "unsupported_number", "unsupported_name")
"""What an answer passes: people ask for what a passage says, so that it is to be found there."""
MORE_TIMES, MORE_TEMPERATURE = 2, 0.7
"""So many times the usual pairs are asked for where a student fails, and not the likeliest words, which are there."""
STUDENT_TOKENS = 32
"""The longest that a student may write."""


def with_more(groups: Stage[Group], passages: Stage[Document], student: str, *, name: str, writer: Writer) -> Attach:
    """Groups with more pairs about passages on which a model fails without them; asked are pairs that a reader
    confirmed, where there is one.

    Raises RecipeError for a student that only a server has.
    """
    if is_remote(student):
        raise RecipeError(f"the student is {student}: it is asked on this machine, give a folder or a Hub id")
    quiz = Quiz(name="quiz", groups=groups, is_confirmed=bool(writer.prompting.reader))
    answers = Examine(name="student", exam=quiz, model=student, has_open_book=False, max_new_tokens=STUDENT_TOKENS)
    unknown = Unknown(name="unknown", documents=passages, quiz=quiz, student=answers)
    again = replace(
        writer,
        prompting=replace(writer.prompting, pairs=MORE_TIMES * writer.prompting.pairs),
        temperature=MORE_TEMPERATURE,
        seed=writer.seed + 1,
    )
    return Attach(name=name, groups=groups, added=again.groups("more", unknown))


def with_queries(
    groups: Stage[Group],
    passages: Stage[Document],
    files: tuple[str, ...],
    *,
    query_field: str,
    num_templates: int = 0,
    embeddings: str = "",
    writer: Writer,
) -> Attach:
    """Groups with users' questions, each beside the passage that answers it.

    The model answers, and its reader is asked the same: pairs on which both agree are kept. A model that writes answers
    first was not tuned to answer; of such a one the reader answers, and whether the answer stands in the passage has to
    do.

    num_templates: other passages to which each question is put as a template. embeddings: an encoder by which passages
    are found, beside words.
    """
    reader = writer.prompting.reader
    is_answered_by_reader = bool(reader) and open_dialect(writer.prompting.dialect).asks_apart
    queries = ReadQueries(name="queries", files=files, query_field=query_field)
    index = Index(name="queries-index", passages=passages)
    vectors = Embed(name="queries-embeddings", passages=passages, model=embeddings) if embeddings else None
    first = Match(name="queries-matched", queries=queries, index=index, embeddings=vectors)
    matched: Stage[Document] = first
    if num_templates:
        matched = Spread(name="queries-spread", matched=first, passages=passages, most=num_templates)
    found: Stage[Group] = Answer(
        name="queries-answered",
        passages=passages,
        matched=matched,
        model=reader if is_answered_by_reader else writer.model,
        dialect=AUTO if is_answered_by_reader else writer.dialect,
        window_tokens=writer.prompting.window_tokens,
    )
    if reader and not is_answered_by_reader:
        found = Confirmed(name="queries-confirmed", groups=found, model=reader)
    found = Checked(
        name="queries-checked", groups=found, checks=QUERY_CHECKS if writer.checks is None else writer.checks
    )
    unanswered = Unanswered(name="queries-unanswered", matched=matched, answered=found)
    return Attach(name="groups", groups=groups, added=found, beside=(unanswered,))
