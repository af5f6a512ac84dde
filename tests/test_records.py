"""Every stored record survives the way to Parquet and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from toy_stages import SCORE

from instructpt.artifacts.storage import ROWS_PER_CHUNK, read_parquet, write_parquet
from instructpt.records import (
    Document,
    Group,
    Item,
    Match,
    Pair,
    Record,
    Reject,
    Score,
    Shot,
    Step,
    Text,
    Writing,
    from_row,
    schema,
    to_row,
)

DOCUMENT = Document("a", "text \x00 ünï 🙂", "here", {"licence": "CC0", "n": [1, None, {"x": 0.5}]})
PAIRS = (Pair("q", "a"), Pair("q?", "yes", ("yes", "no"), "since", "boolean QA", (0, 4), 0.5, ("yes, it is",)))
WRITINGS = (Writing("facts", 0, "One.\nTwo."), Writing("paraphrase:spoken", 2, "Well, ünï", "Before.", 0.5))
EXAMPLES: dict[type[Record], Record] = {
    Document: DOCUMENT,
    Group: Group("g", (Shot(DOCUMENT, PAIRS, 1, (Reject("<QUE>", "no_end_tag"),), WRITINGS), Shot(DOCUMENT))),
    Text: Text("t", "one two", "here", "task", ((0, 3), (4, 7)), (3,), "apart", "p"),
    Step: Step(1, 4096, 8.25, 3e-4, 1.5, 900.0, None),
    Item: Item("boolq", 3, "1", "yes", "no", {"acc": 0.0, "bits_per_byte": 1.5}, 3),
    Score: SCORE,
    Match: Match("boolq", (3, 9), "passage", 2, 80, "an item", 7, "t", "here", 0, None, ((5, 60), (70, 99)), "a text"),
}


def test_there_is_an_example_of_every_stored_record() -> None:
    assert EXAMPLES.keys() == set(get_args(Record))


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda r: r.__name__)
def test_round_trip(record: type[Record], tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    assert write_parquet(path, [EXAMPLES[record]], record) == 1
    with path.open("rb") as file:
        assert list(read_parquet(file, record)) == [EXAMPLES[record]]


def test_whole_text_and_no_loss_differ() -> None:
    assert Text("t", "x", "s", "raw", spans=None) != Text("t", "x", "s", "raw", spans=())


def test_a_shard_can_be_empty_and_can_be_read_from_any_row(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    assert write_parquet(path, iter([]), Document) == 0
    with path.open("rb") as file:
        assert list(read_parquet(file, Document)) == []
    documents = [Document(str(i), "", "") for i in range(ROWS_PER_CHUNK * 2 + 5)]
    assert write_parquet(path, documents, Document) == len(documents)
    for start in (0, 1, ROWS_PER_CHUNK - 1, ROWS_PER_CHUNK, ROWS_PER_CHUNK * 2 + 4, len(documents)):
        with path.open("rb") as file:
            assert list(read_parquet(file, Document, start=start)) == documents[start:]


def test_schema_of_an_unstored_record() -> None:
    with pytest.raises(KeyError):
        schema(Pair)  # type: ignore[arg-type]


def test_pairs_of_versions_before_are_read() -> None:
    row = to_row(EXAMPLES[Group])
    for shot in row["shots"]:
        del shot["writings"]
        for pair in shot["pairs"]:
            del pair["span"], pair["agreement"], pair["accepted"]
    shots = from_row(Group, row).shots
    assert not any(shot.writings for shot in shots)
    read = [pair for shot in shots for pair in shot.pairs]
    assert read == [replace(pair, span=None, agreement=None, accepted=()) for pair in PAIRS]
