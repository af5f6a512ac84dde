"""One number from many answered items, where the number is no mean over them.

    gold      answer                            gold      answer
    Yes       Yes     weighted_f1: F1 of each   12.5%     It is 0.125 (12 of 96)    number_match: 1
    Yes       No      label, by how often it    Acme      Acme (ORG), Rome (ORG)    entity_f1: 0.67
    No        No      is gold: 0.67             (ORG)

A task file names its number as `metadata.score`: one of `AGGREGATES`, or a value that the harness gives every item
(acc, acc_norm), whose mean it is then. Source: arXiv 2309.09530, whose prompts and metrics the domain tasks are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from instructpt.records import Item

_NUMBER = re.compile(r"[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?%?")
_ENTITY = re.compile(r"(\S+)\s+\((\S+)\)")
_TOLERANCE = 0.01


def accuracy(items: Sequence[Item]) -> float:
    """Share of the items whose answer is the right one. Raises ValueError, as all of these, for no items at all."""
    return _mean([float(item.answer == item.gold) for item in items])


def weighted_f1(items: Sequence[Item]) -> float:
    """F1 of each label, weighted by how many items have it as gold; a label never right or never given counts 0."""
    gold, given = Counter(item.gold for item in items), Counter(item.answer for item in items)
    hits = Counter(item.gold for item in items if item.answer == item.gold)
    weighted = [count * 2 * hits[label] / (count + given[label]) for label, count in gold.items()]
    return math.fsum(weighted) / _count(items)


def headline_f1(items: Sequence[Item]) -> float:
    """The plain mean of `weighted_f1` over the sub-questions, which is nine for the whole of Headline."""
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(item.part, []).append(item)
    return _mean([weighted_f1(members) for members in parts.values()])


def entity_f1(items: Sequence[Item]) -> float:
    """Mean over the items of `entity_overlap`."""
    return _mean([entity_overlap(item.gold, answer=item.answer) for item in items])


def number_match(items: Sequence[Item]) -> float:
    """Share of the items for which `same_number` holds."""
    return _mean([float(same_number(item.gold, answer=item.answer)) for item in items])


AGGREGATES: dict[str, Callable[[Sequence[Item]], float]] = {
    "accuracy": accuracy,
    "entity_f1": entity_f1,
    "headline_f1": headline_f1,
    "micro_f1": accuracy,
    "number_match": number_match,
    "weighted_f1": weighted_f1,
}
"""Name -> its function, all between 0 and 1, higher is better. F1 over all labels together is the accuracy: with one
label and one answer an item, every miss is one false positive and one false negative."""


def entity_overlap(gold: str, *, answer: str) -> float:
    """F1 between two lists of entities written as "Acme Bank (ORG), Rome (LOC)", names and types half a point each.

    A gold entity takes the first of the answer that shares its name or its type, and scores what is shared; an entity
    may be taken twice. Of a name only the last word counts, of repeated entities only one. Lenient, but the paper's:
    its scorer is made for places in a text (nereval), which an answer has not. No entity on either side is 0.
    """
    wanted, found = _entities(gold), _entities(answer)
    halves = 0
    for name, kind in wanted:
        shared = ((name == other) + (kind == other_kind) for other, other_kind in found)
        halves += next(filter(None, shared), 0)
    return halves / (len(wanted) + len(found)) if wanted or found else 0.0


def same_number(gold: str, *, answer: str) -> bool:
    """Whether any number in the first line of the answer is within 0.01 of the first one of the gold answer.

    "1,250.5", "-3e2" and "12%" (that is 0.12) are numbers. Lenient on purpose, as in the paper: a line that holds many
    numbers is right if one of them is.
    """
    wanted = _numbers(gold)
    return bool(wanted) and any(abs(number - wanted[0]) <= _TOLERANCE for number in _numbers(answer))


def entity_f1_result(row: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """For the harness: the `entity_f1` of one row of `adaptllm_ner` and the text that was written for it."""
    return {"entity_f1": entity_overlap(_label(row), answer=results[0])}


def number_match_result(row: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """For the harness: the `number_match` of one row of `adaptllm_convfinqa` and the text that was written for it."""
    return {"number_match": float(same_number(_label(row), answer=results[0]))}


def _label(row: Mapping[str, Any]) -> str:
    label = row["label"]
    return label if isinstance(label, str) else str(label[0])


def _entities(text: str) -> list[tuple[str, str]]:
    return list(dict.fromkeys((name, kind) for name, kind in _ENTITY.findall(text)))


def _numbers(text: str) -> list[float]:
    """The numbers in the first line, a percentage as its hundredth."""
    lines = text.split("\n", 1)
    found = _NUMBER.findall(lines[0])
    return [float(each.rstrip("%").replace(",", "")) / (100 if each.endswith("%") else 1) for each in found]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / _count(values)


def _count(items: Sequence[object]) -> int:
    if not items:
        raise ValueError("a score needs at least one item")
    return len(items)
