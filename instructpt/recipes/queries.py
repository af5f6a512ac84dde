"""Users' questions beside what is written: `augment --queries`.

queries, passages -> matched -> answered by a model -> confirmed by its reader -> checked -> beside the other pairs
"""

from __future__ import annotations

from instructpt.artifacts import Stage
from instructpt.engines.models import AUTO, Prompting
from instructpt.queries.answering import Answer
from instructpt.queries.stages import Checked, Confirmed, Index, Match, ReadQueries, Unanswered
from instructpt.records import Document, Group
from instructpt.synthesis.dialects import open_dialect
from instructpt.verification.checks import MODEL_CHECKS
from instructpt.verification.selection import Attach

QUERY_CHECKS = (*MODEL_CHECKS, "language_mismatch", "grounded", "unsupported_number", "unsupported_name")
"""What an answer passes: people ask for what a passage says, so that it is to be found there."""


def with_queries(
    groups: Stage[Group],
    passages: Stage[Document],
    files: tuple[str, ...],
    *,
    query_field: str,
    model: str,
    prompting: Prompting,
    dialect: str,
    checks: tuple[str, ...] | None,
) -> Attach:
    """Groups with users' questions, each beside the passage that answers it.

    The model answers, and its reader is asked the same: pairs on which both agree are kept. A model that writes answers
    first was not tuned to answer; of such a one the reader answers, and whether the answer stands in the passage has to
    do. prompting: how the model is asked, its reader included; dialect: as a user gave it.
    """
    reader = prompting.reader
    is_answered_by_reader = bool(reader) and open_dialect(prompting.dialect).asks_apart
    queries = ReadQueries(name="queries", files=files, query_field=query_field)
    index = Index(name="queries-index", passages=passages)
    matched = Match(name="queries-matched", queries=queries, index=index)
    found: Stage[Group] = Answer(
        name="queries-answered",
        passages=passages,
        matched=matched,
        model=reader if is_answered_by_reader else model,
        dialect=AUTO if is_answered_by_reader else dialect,
        window_tokens=prompting.window_tokens,
    )
    if reader and not is_answered_by_reader:
        found = Confirmed(name="queries-confirmed", groups=found, model=reader)
    found = Checked(name="queries-checked", groups=found, checks=QUERY_CHECKS if checks is None else checks)
    unanswered = Unanswered(name="queries-unanswered", matched=matched, answered=found)
    return Attach(name="groups", groups=groups, added=found, beside=(unanswered,))
