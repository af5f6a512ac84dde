"""Annotated task data to groups: rows that ask something about a text become passages with their pairs.

Task sets differ in a hundred small ways. They meet here in one neutral layout, a JSON object a row:

    {"dataset": "wikitables", "context": "| Year | Cup | ...", "question": "who won in 2009?", "answer": "Maynooth",
     "options": [], "rationale": null, "id": ..., "meta": {...}}

Three functions lead from there to groups:

    files --read_records--> TaskRecord --convert--> Shot --group_shots--> Group

                    dataset A                   dataset B
    rows        a1   a2   a3   a4              b1      b2
    contexts    X    X    Y    Z               X       Y         X, Y and Z are texts
                 \\   |    |    |               /       |
    shots       [X: a1 a2 b1]   [Y: a3 b2]   [Z: a4]             all pairs of one text in ONE shot, whatever their set
    sources      A+B             A+B          A
    groups      ( X, Y )                     ( Z )               shots of one source only, so that formats agree

All pairs of a text stay in one shot because a synthesizer writes as many pairs for a text as it was shown (the paper,
section 1). Rows that are no more than a label ("positive") carry no question; they take one of several wordings from
the catalog, drawn per context. A row that cannot be used comes out as a `Reject` with its reason, inside its shot if
that has other pairs: rows in = pairs + rejects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from instructpt import streams
from instructpt.collection.catalog import Catalog
from instructpt.records import Document, Group, Pair, Reject, Shot
from instructpt.seeds import digest, rng


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One row of a task set in the neutral layout."""

    dataset: str
    context: str
    """The text the question is about; "" where the row has none (closed book)."""
    question: str
    """ "" where the wording is the same for all rows of the set: the catalog gives one."""
    answer: str
    """With options: one of them. "" where the text does not answer the question."""
    id: str = ""
    options: tuple[str, ...] = ()
    rationale: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def read_records(path: str | Path) -> Iterator[TaskRecord | Reject]:
    """The rows of a JSON-lines file, plain or packed (.gz, .zst); local or any address that fsspec knows.

    A row that is not JSON or lacks a field comes out as a Reject (`not_json`, `bad_field`). Raises InputError for a
    file that is missing or damaged.
    """
    return map(_parse, streams.lines(str(path)))


def convert(
    records: Iterable[TaskRecord | Reject],
    *,
    catalog: Catalog,
    seed: int,
    budget: int,
    unanswerable_share: float = 0.0,
    max_contexts: int | None = None,
) -> Iterator[Shot | Reject]:
    """Gather the rows of each context into one shot, in the order in which contexts first appear.

    budget: characters of a shot's context, questions, options, answers and rationales together, without markup. A
        context longer than that goes with all its rows (`context_too_long`), else the pairs beyond (`over_budget`).
    unanswerable_share: which part of the rows without an answer is kept, their answer worded by the catalog.
    max_contexts: at most that many contexts of a set, those with the most rows (the paper takes 10,000; section 1).

    Reasons, besides those of `read_records`: no_context, context_too_long, over_max_contexts, over_budget, no_wording,
    wording_without_its_filling, unanswerable, answer_not_in_options, empty_or_repeated_option, duplicate_question.
    """
    contexts: dict[str, list[TaskRecord]] = {}
    for item in records:
        if isinstance(item, Reject):
            yield item
            continue
        record = CONVERTERS.get(item.dataset, _unchanged)(item)
        if record.context.strip():
            contexts.setdefault(record.context.strip(), []).append(record)
        else:
            yield _reject(record, "no_context")
    if max_contexts is not None:
        yield from _keep_fullest(contexts, max_contexts)
    for context, members in contexts.items():
        if len(context) > budget:
            yield from (_reject(record, "context_too_long") for record in members)
            continue
        shot = _shot(context, members, catalog, seed, budget, unanswerable_share)
        if shot.pairs:
            yield shot
        else:
            yield from shot.rejects


def group_shots(shots: Iterable[Shot], *, num_shots: int, seed: int) -> Iterator[Group]:
    """Groups of `num_shots` shots of one source each, in random order; the last of a source may be smaller.

    Shots of one source share their set and thus their formats, as in the paper's tuning sequences (section 1). Every
    shot lands in exactly one group.
    """
    assert num_shots >= 1
    sources: dict[str, list[Shot]] = {}
    for shot in shots:
        sources.setdefault(shot.document.source, []).append(shot)
    groups: list[Group] = []
    for source, members in sources.items():
        rng(seed, "group_shots", source).shuffle(members)
        for start in range(0, len(members), num_shots):
            chain = (replace(shot, follows=i) for i, shot in enumerate(members[start : start + num_shots]))
            groups.append(Group(f"{source}:{start // num_shots}", tuple(chain)))
    rng(seed, "group_order").shuffle(groups)
    yield from groups


def story_and_question(record: TaskRecord) -> TaskRecord:
    """A word problem, cut before its last sentence: the story is the context, the question is asked about it.

    A problem of a single sentence, or one that does not end in a question, stays as it is (and has no context).
    """
    *story, question = _SENTENCE_END.split(record.question.strip())
    if not story or not question.endswith("?"):
        return record
    return replace(record, context=record.question.strip()[: -len(question)].strip(), question=question)


CONVERTERS: dict[str, Callable[[TaskRecord], TaskRecord]] = {"gsm8k_train": story_and_question}
"""Data set -> what is done to its rows first, for the few sets whose fields are not enough as they are."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TEXTS = ("dataset", "context", "question", "answer")


def _parse(line: bytes) -> TaskRecord | Reject:
    excerpt = line[:200].decode("utf-8", "replace").strip()
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Reject(excerpt, "not_json")
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in _TEXTS):
        return Reject(excerpt, "bad_field")
    options, rationale, meta = row.get("options") or [], row.get("rationale"), row.get("meta") or {}
    strings = isinstance(options, list) and all(isinstance(option, str) for option in options)
    if not strings or not isinstance(rationale, str | None) or not isinstance(meta, dict):
        return Reject(excerpt, "bad_field")
    return TaskRecord(
        **{name: row[name] for name in _TEXTS},
        id=str(row.get("id", "")),
        options=tuple(options),
        rationale=rationale,
        meta=meta,
    )


def _unchanged(record: TaskRecord) -> TaskRecord:
    return record


def _reject(record: TaskRecord, reason: str) -> Reject:
    return Reject(f"{record.dataset}/{record.id}: {record.question}"[:200], reason)


def _keep_fullest(contexts: dict[str, list[TaskRecord]], limit: int) -> Iterator[Reject]:
    """Take the rows of each set beyond its `limit` fullest contexts out; among equals, earlier ones stay."""
    rows: dict[str, dict[str, int]] = {}
    for context, members in contexts.items():
        for record in members:
            counts = rows.setdefault(record.dataset, {})
            counts[context] = counts.get(context, 0) + 1
    for dataset, counts in rows.items():
        for context in sorted(counts, key=lambda context: -counts[context])[limit:]:
            dropped = [record for record in contexts[context] if record.dataset == dataset]
            yield from (_reject(record, "over_max_contexts") for record in dropped)
            contexts[context] = [record for record in contexts[context] if record.dataset != dataset]
    for context in [context for context, members in contexts.items() if not members]:
        del contexts[context]


def _shot(
    context: str,
    records: Sequence[TaskRecord],
    catalog: Catalog,
    seed: int,
    budget: int,
    unanswerable_share: float,
) -> Shot:
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    datasets: dict[str, str] = {}
    asked: set[tuple[str, tuple[str, ...]]] = set()
    left = budget - len(context)
    for record in records:
        pair = _pair(record, catalog, seed, unanswerable_share)
        if isinstance(pair, str):
            rejects.append(_reject(record, pair))
            continue
        key = (" ".join(pair.question.casefold().split()), tuple(sorted(pair.options)))
        size = sum(map(len, (pair.question, *pair.options, pair.rationale or "", pair.answer)))
        if key in asked:
            rejects.append(_reject(record, "duplicate_question"))
        elif size > left:
            rejects.append(_reject(record, "over_budget"))
        else:
            pairs.append(pair)
            asked.add(key)
            left -= size
            entry = catalog.entries.get(record.dataset)
            licence = record.meta.get("licence") or (entry.licence if entry else None)
            datasets.setdefault(record.dataset, str(licence or "unknown"))
    names = sorted(datasets)
    meta = {"datasets": names, "licences": [datasets[name] for name in names]}
    document = Document(digest(context).hex()[:16], context, "+".join(names), meta)
    return Shot(document, tuple(pairs), rejects=tuple(rejects))


def _pair(record: TaskRecord, catalog: Catalog, seed: int, unanswerable_share: float) -> Pair | str:
    """The record's pair, or the reason why there is none."""
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
        answer = draw.choice(catalog.unanswerable)
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
