"""A row of a task set as a pair, or the reason why it is none.

Rows that are no more than a label ("positive") carry no question; they take one of several wordings from the catalog,
drawn per context, so that a model learns the task and not its wording.
"""

from __future__ import annotations

import re

from instructpt.collection.catalog import Catalog
from instructpt.collection.neutral import TaskRecord
from instructpt.records import Pair
from instructpt.seeds import rng


def pair_of(
    record: TaskRecord, *, catalog: Catalog, seed: int, unanswerable_share: float, unanswerable: str = ""
) -> Pair | str:
    """The record's pair, or the reason why there is none.

    unanswerable_share: which part of the rows without an answer is kept. unanswerable: their answer; "" leaves the
    words to the catalog.
    Reasons: empty_or_repeated_option, wording_without_its_filling, no_wording, unanswerable, answer_not_in_options.
    """
    entry = catalog.entries.get(record.dataset)
    options = tuple(" ".join(option.split()) for option in record.options)
    question, answer = record.question.strip(), record.answer.strip()
    if not all(options) or len(set(options)) < len(options):
        return "empty_or_repeated_option"
    if entry is not None and entry.wordings:
        wording = rng(seed, "wording", record.dataset, record.context.strip()).choice(entry.wordings)
        if ("{labels}" in wording and not options) or ("{question}" in wording and not question):
            return "wording_without_its_filling"
        question = _fill(wording, question=question, labels=", ".join(options))
        options = () if "{labels}" in wording else options
    if not question:
        return "no_wording"
    if record.meta.get("unanswerable") or not answer:
        draw = rng(seed, "unanswerable", record.dataset, record.context.strip(), record.question)
        if options or draw.random() >= unanswerable_share:
            return "unanswerable"
        answer = unanswerable or draw.choice(catalog.unanswerable)
    if options:
        answer = " ".join(answer.split())
        if answer not in options:
            return "answer_not_in_options"
    rationale = (record.rationale or "").strip() or None
    return Pair(question, answer, options, rationale, entry.category if entry else None)


def _fill(wording: str, *, question: str, labels: str) -> str:
    """`wording` with its placeholders filled in one pass, so that braces in a question stay what they are."""
    values = {"question": question, "labels": labels}
    return re.sub(r"\{(question|labels)\}", lambda match: values[match[1]], wording)
