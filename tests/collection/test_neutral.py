"""What a user relies on when task data become groups: nothing is lost, texts are gathered, wordings vary."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from instructpt.collection.catalog import Catalog, Entry
from instructpt.collection.neutral import CONVERTERS, TaskRecord, convert, group_shots, read_records
from instructpt.errors import InputError
from instructpt.records import Pair, Reject, Shot, from_row, to_row

WORDINGS = ("One?", "Two?", "Three?", "Four?", "Five?")
CATALOG = Catalog(
    {
        "stories": Entry("narrative QA", "reading", "MIT"),
        "moods": Entry("sentiment", "sentiment", "CC BY 4.0", WORDINGS),
        "names": Entry("NER", "NER", "CC0", tuple(f"{w} Types: {{labels}}" for w in WORDINGS)),
        "roles": Entry("roles", "roles", "CC0", tuple(f'{w} "{{question}}"' for w in WORDINGS)),
    },
    unanswerable=("It does not say.",),
)


def row(dataset: str = "stories", context: str = "A fox met a crow.", **fields: Any) -> TaskRecord:
    defaults: dict[str, Any] = {"question": "Who met?", "answer": "a fox", "id": "1"}
    return TaskRecord(dataset=dataset, context=context, **(defaults | fields))


def run(records: Iterable[TaskRecord | Reject], **settings: Any) -> tuple[list[Shot], Counter[str]]:
    """Shots, and how often each reason occurs, inside shots and outside."""
    items = list(convert(records, catalog=CATALOG, seed=1, **({"budget": 1000} | settings)))
    shots = [item for item in items if isinstance(item, Shot)]
    rejects = [item for item in items if isinstance(item, Reject)]
    return shots, Counter(r.reason for r in [*rejects, *(r for shot in shots for r in shot.rejects)])


def test_all_pairs_of_a_text_stand_in_one_shot_whatever_their_set() -> None:
    records = [
        row(question="Who was met?", answer="a crow"),
        row(context="Another text."),
        row("moods", question="", answer="calm", options=("calm", "angry")),
    ]
    shots, reasons = run(records)
    assert [shot.document.text for shot in shots] == ["A fox met a crow.", "Another text."]
    assert [pair.answer for pair in shots[0].pairs] == ["a crow", "calm"]
    assert shots[0].document.source == "moods+stories"
    assert shots[0].document.meta == {"datasets": ["moods", "stories"], "licences": ["CC BY 4.0", "MIT"]}
    assert not reasons


def test_all_four_formats_keep_their_parts() -> None:
    records = [
        row(question="a"),
        row(question="b", options=("a fox", "a crow")),
        row(question="c", rationale="Foxes meet crows."),
        row(question="d", options=("a fox", "a crow"), rationale=" Because. "),
    ]
    [shot], _ = run(records)
    assert shot.pairs == (
        Pair("a", "a fox", (), None, "narrative QA"),
        Pair("b", "a fox", ("a fox", "a crow"), None, "narrative QA"),
        Pair("c", "a fox", (), "Foxes meet crows.", "narrative QA"),
        Pair("d", "a fox", ("a fox", "a crow"), "Because.", "narrative QA"),
    )
    assert from_row(type(shot.document), to_row(shot.document)) == shot.document


def test_rows_that_are_only_a_label_take_varying_wordings_and_the_same_ones_again() -> None:
    records = [row("moods", f"Text {i}.", question="", answer="calm", options=("calm", "angry")) for i in range(60)]
    shots, _ = run(records)
    questions = [shot.pairs[0].question for shot in shots]
    assert set(questions) == set(WORDINGS)
    assert [shot.pairs[0].question for shot in run(records)[0]] == questions


def test_labels_and_questions_are_put_into_their_wording_once_and_as_they_are() -> None:
    [shot], _ = run([row("names", question="", answer="person: fox", options=("person", "{question}"))])
    assert shot.pairs[0].question.endswith("Types: person, {question}")
    assert shot.pairs[0].options == ()
    [shot], _ = run([row("roles", question="Is {labels} a brace?", answer="AIM", options=("AIM", "END"))])
    assert shot.pairs[0].question.endswith('"Is {labels} a brace?"')
    assert shot.pairs[0].options == ("AIM", "END")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([row(context=" ")], "no_context"),
        ([row(context="x" * 1001)], "context_too_long"),
        ([row(answer="x" * 1000)], "over_budget"),
        ([row(question="")], "no_wording"),
        ([row("unheard of", question="")], "no_wording"),
        ([row("names", question="")], "wording_without_its_filling"),
        ([row("roles", question="")], "wording_without_its_filling"),
        ([row(answer="")], "unanswerable"),
        ([row(meta={"unanswerable": True})], "unanswerable"),
        ([row(options=("a crow", "a wolf"))], "answer_not_in_options"),
        ([row(options=("a fox", "a fox"))], "empty_or_repeated_option"),
        ([row(options=("a fox", " "))], "empty_or_repeated_option"),
        ([row(), row(question="WHO  met?")], "duplicate_question"),
        ([row(), row(context="Other."), row(context="Other.", question="And?")], "over_max_contexts"),
    ],
)
def test_each_reason_is_counted(records: list[TaskRecord], reason: str) -> None:
    shots, reasons = run(records, max_contexts=1 if reason == "over_max_contexts" else None)
    assert reasons == {reason: 1}
    assert sum(len(shot.pairs) for shot in shots) == len(records) - 1


def test_the_same_question_with_other_options_is_another_question() -> None:
    [shot], reasons = run([row(options=("a fox", "a crow")), row(options=("a fox", "a wolf"))])
    assert len(shot.pairs) == 2
    assert not reasons


def test_a_share_of_unanswerable_questions_can_be_kept() -> None:
    records = [row(context=f"Text {i}.", answer="", meta={"unanswerable": True}) for i in range(200)]
    shots, reasons = run(records, unanswerable_share=0.25)
    assert 25 <= len(shots) <= 75
    assert reasons == {"unanswerable": 200 - len(shots)}
    assert {shot.pairs[0].answer for shot in shots} == {"It does not say."}


def test_the_fullest_contexts_of_each_set_are_kept() -> None:
    records = [
        row(context="one"),
        row(context="two"),
        row(context="two", question="b"),
        row("moods", "one", answer="x"),
    ]
    shots, reasons = run(records, max_contexts=1)
    assert {(shot.document.text, shot.document.source, len(shot.pairs)) for shot in shots} == {
        ("one", "moods", 1),
        ("two", "stories", 2),
    }
    assert reasons == {"over_max_contexts": 1}


TEXTS = st.sampled_from(["", " ", "a", "b", "A long text."])
ROWS = st.builds(
    TaskRecord,
    dataset=st.sampled_from(["stories", "moods", "names", "roles", "gsm8k_train", "unknown"]),
    context=TEXTS,
    question=TEXTS,
    answer=TEXTS,
    options=st.lists(TEXTS, max_size=3).map(tuple),
    rationale=st.none() | TEXTS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, max_size=12), st.integers(1, 30), st.none() | st.integers(1, 2), st.integers(1, 3))
def test_every_row_comes_out_once(
    records: list[TaskRecord], budget: int, max_contexts: int | None, num_shots: int
) -> None:
    shots, reasons = run(records, budget=budget, max_contexts=max_contexts, unanswerable_share=0.5)
    assert sum(len(shot.pairs) for shot in shots) + sum(reasons.values()) == len(records)
    for shot in shots:
        assert shot.pairs
        for pair in shot.pairs:
            assert pair.question == pair.question.strip() != ""
            assert pair.answer == pair.answer.strip() != ""
            assert not pair.options or pair.answer in pair.options
    groups = list(group_shots(shots, num_shots=num_shots, seed=1))
    assert Counter(shot.document.text for group in groups for shot in group.shots) == Counter(
        shot.document.text for shot in shots
    )


def test_groups_are_of_one_source_full_and_the_same_again() -> None:
    records = [row("moods" if i % 3 else "stories", f"Text {i}.", question=f"{i}?", options=()) for i in range(50)]
    shots, _ = run(records)
    groups = list(group_shots(shots, num_shots=4, seed=1))
    assert groups == list(group_shots(shots, num_shots=4, seed=1))
    assert groups != list(group_shots(shots, num_shots=4, seed=2))
    assert len({group.id for group in groups}) == len(groups)
    for group in groups:
        assert len({shot.document.source for shot in group.shots}) == 1
        assert [shot.follows for shot in group.shots] == list(range(len(group.shots)))
    assert sorted(len(group.shots) for group in groups) == [1, 1] + [4] * 12


@pytest.mark.parametrize("name", sorted(CONVERTERS))
def test_converters_on_three_rows(name: str) -> None:
    path = Path(__file__).parent.parent / "fixtures" / "collection" / f"{name}.jsonl"
    expected = [orjson.loads(line) for line in path.with_suffix(".expected.jsonl").read_bytes().splitlines()]
    found = [CONVERTERS[name](record) for record in read_records(path) if isinstance(record, TaskRecord)]
    assert [{"context": record.context, "question": record.question} for record in found] == expected


def lines() -> bytes:
    good: dict[str, Any] = {
        "dataset": "stories",
        "context": "c",
        "question": "q",
        "answer": "a",
        "meta": {},
        "rationale": None,
    }
    bad: list[Any] = [
        {**good, "answer": 5},
        {**good, "options": "ab"},
        {**good, "rationale": 1},
        {"dataset": "stories"},
        [1],
    ]
    return b"\n".join([orjson.dumps(good), b"{broken", b"", *map(orjson.dumps, bad)]) + b"\n"


def test_broken_rows_are_handed_out_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines())
    first, *rest = read_records(path)
    assert first == TaskRecord("stories", "c", "q", "a")
    assert [item.reason for item in rest if isinstance(item, Reject)] == ["not_json"] + ["bad_field"] * 5
    shots, reasons = run(read_records(path))
    assert len(shots) == 1
    assert reasons == {"not_json": 1, "bad_field": 5}


def test_packed_files_are_read_to_their_end(tmp_path: Path) -> None:
    plain, packed, frames = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz", tmp_path / "a.jsonl.zst"
    plain.write_bytes(lines() * 2)
    packed.write_bytes(gzip.compress(lines() * 2))
    frames.write_bytes(zstandard.compress(lines()) * 2)
    assert list(read_records(packed)) == list(read_records(plain))
    assert list(read_records(frames)) == list(read_records(plain))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file at .*rows\.jsonl"):
        list(read_records(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_file_that_breaks_off_is_no_shorter_file(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(compress(lines() * 100)[:-9])
    with pytest.raises(InputError, match=r"cannot read .*rows\.jsonl"):
        list(read_records(path))
