"""What the shipped sample promises: small, licensed, balanced, in all formats, and apart from what is scored."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

import instructpt
from instructpt.collection.catalog import Choice, load
from instructpt.collection.convert import Conversion, convert
from instructpt.collection.neutral import TaskRecord, read_records
from instructpt.collection.windows import in_characters
from instructpt.records import Group, Reject, Shot
from instructpt.synthesis.tags import Tags

SAMPLE = Path(instructpt.__file__).parent / "sample"
OVERLAP_WORDS = 13


def rows(name: str) -> list[dict[str, Any]]:
    data = zstandard.ZstdDecompressor().decompress((SAMPLE / f"{name}.jsonl.zst").read_bytes())
    return [orjson.loads(line) for line in data.splitlines()]


def shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return zip(*(words[i:] for i in range(OVERLAP_WORDS)), strict=False)


@pytest.fixture(scope="module")
def passages() -> list[dict[str, Any]]:
    return rows("passages")


@pytest.fixture(scope="module")
def held_out() -> list[dict[str, Any]]:
    return rows("held_out")


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 4_000_000


def test_documents_are_whole_and_licensed(passages: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> None:
    for row in passages + held_out:
        assert all(row[field] for field in ("id", "text", "source", "domain", "licence"))
        assert 600 <= len(row["text"]) <= 4000
        assert re.match(r"CC0|CC BY(-SA)?\b|public domain", row["licence"])
    assert len({row["id"] for row in passages + held_out}) == len(passages) + len(held_out)


def test_domains_are_about_equal(passages: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> None:
    for documents in (passages, held_out):
        characters = Counter[str]()
        for row in documents:
            characters[row["domain"]] += len(row["text"])
        assert set(characters) == {"biomedical", "finance", "general", "legal"}
        assert max(characters.values()) < 2 * min(characters.values())


def test_held_out_documents_come_from_elsewhere(passages: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> None:
    seen = {row["id"].rpartition("#")[0] for row in passages}
    assert not seen & {row["id"].rpartition("#")[0] for row in held_out}


def test_nothing_to_train_on_shares_thirteen_words_with_what_is_scored(
    passages: list[dict[str, Any]], held_out: list[dict[str, Any]]
) -> None:
    scored = {words for row in held_out for words in shingles(row["text"])}
    for path in (SAMPLE / "eval").iterdir():
        for row in rows(f"eval/{path.name.partition('.')[0]}"):
            for text in re.findall(r'"((?:[^"\\]|\\.)*)"', orjson.dumps(row).decode()):
                scored.update(shingles(text))
    assert len(scored) > 50_000
    for row in passages:
        assert scored.isdisjoint(shingles(row["text"])), row["id"]
    for row in rows("tasks"):
        assert scored.isdisjoint(shingles(row["context"])), row["id"]
        assert scored.isdisjoint(shingles(row["question"])), row["id"]


def test_the_exams_passages_have_questions_that_stand_in_nothing_to_train_on() -> None:
    passages, questions = rows("exam_passages"), rows("exam_questions")
    names = {row["id"] for row in passages}
    assert len(names) == len(passages) >= 30
    assert all(row["title"] and row["source"] and row["licence"] == "CC BY-SA 4.0" for row in passages)
    assert {row["passage_id"] for row in questions} == names
    assert all(row["question"] and row["answers"] for row in questions)
    scored = {words for row in passages for words in shingles(row["text"])}
    for row in [*rows("passages"), *rows("held_out")]:
        assert scored.isdisjoint(shingles(row["text"])), row["id"]
    for row in rows("tasks"):
        assert scored.isdisjoint(shingles(row["context"])), row["id"]


@pytest.fixture(scope="module")
def converted() -> list[Shot | Reject]:
    how = Conversion(
        catalog=load(),
        limits=in_characters(context=4000, shot=6000),
        choice=Choice(part="all", benchmarks=True),
        seed=1,
    )
    return list(convert(read_records(SAMPLE / "tasks.jsonl.zst"), how))


def test_the_tasks_convert_in_all_four_formats_with_few_rejects(converted: list[Shot | Reject]) -> None:
    records = [record for record in read_records(SAMPLE / "tasks.jsonl.zst") if isinstance(record, TaskRecord)]
    assert {record.dataset for record in records} <= set(load().entries)
    shots = [item for item in converted if isinstance(item, Shot)]
    reasons = Counter(item.reason for item in converted if isinstance(item, Reject))
    reasons.update(reject.reason for shot in shots for reject in shot.rejects)
    assert sum(len(shot.pairs) for shot in shots) + reasons.total() == len(records)
    # What names nothing (of one entity type) is kept only where it is asked for.
    assert reasons.total() - reasons["unanswerable"] < 0.01 * len(records)
    assert reasons["unanswerable"] < 0.02 * len(records)
    formats = Counter((bool(pair.options), bool(pair.rationale)) for shot in shots for pair in shot.pairs)
    assert len(formats) == 4
    assert min(formats.values()) > 400
    assert sum(len(shot.pairs) > 1 for shot in shots) > 700
    assert all(len(shot.document.text) <= 1500 for shot in shots)


def test_every_shot_can_be_written_in_tags_and_read_again(converted: list[Shot | Reject]) -> None:
    dialect = Tags()
    for shot in (item for item in converted if isinstance(item, Shot)):
        written = dialect.write(Group("g", (shot,)))
        assert written.spans is not None
        [(start, stop)] = written.spans
        pairs, rejects = dialect.parse(written.text[start:stop])
        assert list(pairs) == [replace(pair, category=None) for pair in shot.pairs], shot.document.text
        assert not rejects
