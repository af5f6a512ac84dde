"""Every set that the catalog places on the Hub: three rows in its own layout become what its entry promises.

A new entry with a table `hub` needs one file, tests/fixtures/collection/hub/<set>.json; this test then runs over it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from instructpt.collection import catalog, hub
from instructpt.collection.catalog import Entry
from instructpt.collection.converters import CONVERTERS
from instructpt.collection.neutral import TaskRecord
from instructpt.errors import InputError
from instructpt.words.overlap import is_span, words

FIXTURES = Path(__file__).parents[1] / "fixtures" / "collection" / "hub"
PAPER = Path(catalog.__file__).parent / "paper.toml"
ENTRIES = {name: entry for name, entry in catalog.load().entries.items() if entry.hub}
LITERALS = ("labels", "no_answer")


def rows_of(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))
    return rows


def records_of(name: str, entry: Entry) -> list[TaskRecord]:
    records = list(hub.records(name, entry, rows_of(name)))
    assert all(isinstance(record, TaskRecord) for record in records), records
    converter = CONVERTERS[entry.converter] if entry.converter else lambda record: record
    return [converter(record) for record in records if isinstance(record, TaskRecord)]


def paths_of(entry: Entry) -> list[str]:
    assert entry.hub
    fields = [value for field, value in entry.hub.fields.items() if field not in LITERALS]
    return [path for value in fields for path in (value if isinstance(value, list) else [value])]


def without(value: Any, steps: list[str]) -> None:
    """Take the field at a path away, in every item of the lists on the way."""
    if isinstance(value, list):
        for item in value:
            without(item, steps)
    elif value is not None and len(steps) == 1:
        del value[steps[0]]
    elif value is not None:
        without(value[steps[0]], steps[1:])


@pytest.mark.parametrize("name", ENTRIES)
def test_three_rows_become_records(name: str) -> None:
    entry = ENTRIES[name]
    records = records_of(name, entry)
    assert len(rows_of(name)) >= 3
    assert len(records) >= 3
    assert len({record.id for record in records}) == len(records)
    for record in records:
        assert record.dataset == name
        assert bool(record.question) or bool(entry.wordings), "a row without a question needs wordings"
    assert any(record.context and record.answer for record in records)


@pytest.mark.parametrize("name", ENTRIES)
def test_answers_are_what_the_entry_says(name: str) -> None:
    entry = ENTRIES[name]
    for record in records_of(name, entry):
        if record.options and record.answer:
            assert record.answer in record.options
        if entry.answers == "label":
            assert record.options
        if entry.answers == "span" and record.answer and record.context:
            assert is_span(record.answer, words(record.context)), record


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "rationale" in entry.hub.fields])
def test_a_mapped_rationale_arrives(name: str) -> None:
    assert any(record.rationale for record in records_of(name, ENTRIES[name]))


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, entry in ENTRIES.items() for path in paths_of(entry)]
)
def test_a_field_that_is_gone_is_named(name: str, path: str) -> None:
    entry = ENTRIES[name]
    assert entry.hub
    rows = copy.deepcopy(rows_of(name))
    for row in rows:
        without(row, [step for step in path.split(".") if not step.isdigit()])
    with pytest.raises(InputError) as caught:
        list(hub.records(name, entry, rows))
    message = str(caught.value)
    assert repr(path) in message
    assert name in message
    assert entry.hub.id in message
    assert "\n" not in message


def test_the_paper_s_sets_alone_have_all_four_formats_of_a_pair() -> None:
    formats = {
        (bool(record.options), bool(record.rationale))
        for name, entry in catalog.load(str(PAPER)).entries.items()
        for record in records_of(name, entry)
        if record.context and record.answer
    }
    assert formats == {(False, False), (True, False), (False, True), (True, True)}
