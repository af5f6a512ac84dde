"""Reading task sets of the Hub: paths into rows, rows that hold several questions, and what goes wrong on the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instructpt.collection import catalog, hub
from instructpt.collection.catalog import Entry, Hub
from instructpt.collection.hub_rows import ROW_CONVERTERS
from instructpt.collection.neutral import TaskRecord
from instructpt.errors import InputError
from instructpt.records import Reject

FIXTURES = Path(__file__).parents[1] / "fixtures" / "collection" / "hub"
PLACED = {name: entry for name, entry in catalog.load().entries.items() if entry.hub}


def placed(fields: Mapping[str, Any], *, rows: str | None = None) -> Entry:
    """A set called "toy" on the Hub."""
    return Entry("QA", "QA", "CC0", hub=Hub("someone/toy", "train", fields, rows=rows))


def converted(entry: Entry, *rows: Mapping[str, Any]) -> list[TaskRecord]:
    records = list(hub.records("toy", entry, rows))
    assert all(isinstance(record, TaskRecord) for record in records), records
    return [record for record in records if isinstance(record, TaskRecord)]


PLAIN = {"context": "text", "question": "q", "answer": "answers.text.0"}


@pytest.mark.parametrize("answers", [{"text": ["4", "four"], "start": [0, 0]}, [{"text": "4"}, {"text": "four"}]])
def test_a_path_fits_both_ways_of_storing_a_list_of_objects(answers: object) -> None:
    (record,) = converted(placed(PLAIN), {"text": "2 + 2 = 4", "q": "How many?", "answers": answers})
    assert record == TaskRecord("toy", "2 + 2 = 4", "How many?", "4", id="0")


@pytest.mark.parametrize("answers", [{"text": []}, [], None])
def test_a_row_without_an_answer_stays_a_record(answers: object) -> None:
    (record,) = converted(placed(PLAIN), {"text": "Nothing here.", "q": "Who?", "answers": answers})
    assert record.answer == ""


def test_what_a_set_writes_for_no_answer_is_no_answer_and_no_text() -> None:
    fields = {**PLAIN, "answer": "a", "no_answer": ["CANNOTANSWER"]}
    (record,) = converted(placed(fields), {"text": "Rain fell. CANNOTANSWER", "q": "Who?", "a": "CANNOTANSWER"})
    assert (record.context, record.answer) == ("Rain fell.", "")


def test_several_fields_make_one_context_a_line_each() -> None:
    fields = {"context": ["law", "case"], "question": "q", "answer": "a"}
    (record,) = converted(placed(fields), {"law": "Salt melts ice.", "case": "Mia salts.", "q": "Why?", "a": "Ice"})
    assert record.context == "Salt melts ice.\nMia salts."


@pytest.mark.parametrize(
    ("index", "answer"),
    [(1, "b"), ("1", "b"), ("B", "b"), ("b", "b"), (-1, ""), (None, ""), ("", ""), (7, "7")],
    ids=repr,
)
def test_the_answer_by_its_place(index: object, answer: str) -> None:
    fields = {"context": "c", "question": "q", "options": "o", "answer_index": "i"}
    (record,) = converted(placed(fields), {"c": "Text.", "q": "Which?", "o": ["a", "b", "c"], "i": index})
    assert (record.options, record.answer) == (("a", "b", "c"), answer)


@pytest.mark.parametrize(("label", "answer"), [(True, "yes"), (0, "no"), ("yes", "yes"), (-1, "")])
def test_labels_are_options_and_name_numbers(label: object, answer: str) -> None:
    fields = {"context": "c", "question": "q", "answer": "a", "labels": ["no", "yes"]}
    (record,) = converted(placed(fields), {"c": "Text.", "q": "Is it?", "a": label})
    assert (record.options, record.answer) == (("no", "yes"), answer)


def test_numbers_are_texts_and_stray_blanks_go() -> None:
    fields = {"context": "c", "question": "q", "answer": "a"}
    (record,) = converted(placed(fields), {"c": " Text. ", "q": " How many?", "a": 0.5})
    assert (record.context, record.question, record.answer) == ("Text.", "How many?", "0.5")


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        (PLAIN, {"text": {"a": 1}, "q": "Who?", "answers": {"text": ["x"]}}),
        (PLAIN, {"text": "Text.", "q": ["Who?"], "answers": {"text": ["x"]}}),
        ({**PLAIN, "answer": "a"}, {"text": "Text.", "q": "Who?", "a": True}),
        ({**PLAIN, "answer_index": "i", "options": "o"}, {"text": "Text.", "q": "?", "answers": [], "o": "ab", "i": 0}),
        (
            {**PLAIN, "answer_index": "i", "options": "o"},
            {"text": "Text.", "q": "?", "answers": [], "o": [], "i": "x1"},
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_counted_reject(fields: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    good = {"text": "Text.", "q": "Who?", "answers": {"text": ["x"]}, "a": "x", "o": ["x"], "i": 0}
    first, second = hub.records("toy", placed(fields), [row, good])
    assert isinstance(first, Reject)
    assert first.reason == "bad_field"
    assert isinstance(second, TaskRecord)
    assert second.id == "1"


def test_questions_of_one_row_have_ids_of_their_own() -> None:
    fields = {"context": "c", "questions": "q", "answers": "a"}
    rows = {"c": "Text.", "q": ["Who?", "When?"], "a": ["Ann", "now"]}, {"c": "Text.", "q": ["Why?"], "a": [None]}
    records = converted(placed(fields, rows="conversation"), *rows)
    assert [record.id for record in records] == ["0.0", "0.1", "1"]
    assert [record.answer for record in records] == ["Ann", "now", ""]


def test_a_row_with_more_questions_than_answers_is_a_counted_reject() -> None:
    fields = {"context": "c", "questions": "q", "answers": "a"}
    row = {"c": "Text.", "q": ["Who?", "When?"], "a": ["Ann"]}
    (reject,) = hub.records("toy", placed(fields, rows="conversation"), [row])
    assert isinstance(reject, Reject)
    assert reject.reason == "bad_field"


@pytest.mark.parametrize("name", [name for name, entry in PLACED.items() if entry.hub.rows])
def test_a_row_of_nulls_breaks_nothing(name: str) -> None:
    rows = json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))
    first, *others = hub.records(name, PLACED[name], [dict.fromkeys(rows[0]), *rows])
    assert isinstance(first, Reject) or not (first.context and first.answer)
    assert len(others) >= 3


def test_the_solution_does_not_name_a_letter() -> None:
    make = ROW_CONVERTERS["lettered_options"]
    solution = "30 * 6 = 180\nSo the correct option is (B)."
    (values,) = make(question="How many?", options=["A)36", "B)180"], letter="B", rationale=solution)
    assert (values["options"], values["answer"], values["rationale"]) == (["36", "180"], "180", "30 * 6 = 180")


def test_the_place_of_an_option_or_a_fact_says_nothing() -> None:
    (values,) = ROW_CONVERTERS["answer_and_distractors"](
        context="Text.", question="Which?", answer="pear", distractors=["apple", "Quince", "plum"]
    )
    assert values["options"] == ["apple", "pear", "plum", "Quince"]


def test_a_question_asked_in_a_story_sees_only_what_was_told_before_it() -> None:
    records = converted(
        placed(PLACED["babi"].hub.fields, rows="story_lines"), json.loads((FIXTURES / "babi.json").read_text())[0]
    )
    first, second = records
    assert second.context.startswith(first.context)
    assert first.rationale == "Ines took the lamp. Ines walked to the cellar."
    assert (first.answer, second.answer) == ("cellar", "yard")


def test_the_turns_of_a_report_meet_on_one_context() -> None:
    records = list(hub.records("convfinqa", PLACED["convfinqa"], json.loads((FIXTURES / "convfinqa.json").read_text())))
    assert len({record.context for record in records if isinstance(record, TaskRecord)}) == 1
    assert [r.question for r in records if isinstance(r, TaskRecord)][1:] == ["and in 2007?", "what is the growth?"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (placed({"context": "c", "qestion": "q", "answer": "a"}), "did you mean 'question'"),
        (placed({"context": 3}), "is no path"),
        (placed({"context": "c"}, rows="conversations"), "did you mean 'conversation'"),
        (placed({"context": "c", "questions": "q"}, rows="conversation"), "takes context, questions, answers"),
        (Entry("QA", "QA", "CC0"), r"\[toy.hub\]"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_told(entry: Entry, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(hub.records("toy", entry, [{"c": "Text.", "q": ["Who?"], "a": ["Ann"]}]))


# ---- through the datasets library ----------------------------------------------------------------------------------


def on_disk(folder: Path, name: str, rows: list[dict[str, Any]]) -> Entry:
    """The entry with its set laid out in a folder as the Hub lays out this one: its main branch or the Parquet copy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    entry = PLACED[name]
    assert entry.hub
    config, split = entry.hub.config or "default", entry.hub.split
    inside = f"{config}/{split}/0000.parquet" if entry.hub.revision else f"data/{split}-00000-of-00001.parquet"
    (folder / inside).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / inside)
    if not entry.hub.revision:
        files = f"  data_files:\n  - split: {split}\n    path: data/{split}-*\n"
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n{files}---\n", "utf-8")
    return replace(entry, hub=replace(entry.hub, id=str(folder)))


@pytest.fixture
def datasets_installed() -> None:
    pytest.importorskip("datasets")


@pytest.mark.usefixtures("datasets_installed")
@pytest.mark.parametrize("name", PLACED)
def test_the_library_gives_the_same_records_as_the_rows_themselves(name: str, tmp_path: Path) -> None:
    rows = json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))
    entry = on_disk(tmp_path, name, rows)
    assert list(hub.read(name, entry)) == list(hub.records(name, PLACED[name], rows))


@pytest.mark.usefixtures("datasets_installed")
def test_an_unknown_split_is_the_users_to_mend(tmp_path: Path) -> None:
    entry = on_disk(tmp_path, "squad", json.loads((FIXTURES / "squad.json").read_text("utf-8")))
    assert entry.hub
    with pytest.raises(InputError, match=r"squad.*split tran.*check id, config, split"):
        list(hub.read("squad", replace(entry, hub=replace(entry.hub, split="tran"))))


@pytest.mark.usefixtures("datasets_installed")
def test_a_set_that_is_a_script_names_the_branch_that_is_none(tmp_path: Path) -> None:
    (tmp_path / f"{tmp_path.name}.py").write_text("", "utf-8")
    entry = replace(PLACED["squad"], hub=Hub(str(tmp_path), "train", PLAIN))
    with pytest.raises(InputError, match="refs/convert/parquet"):
        list(hub.read("squad", entry))


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "check the connection"),
        (FileNotFoundError("Dataset 'a/b' is a gated dataset on the Hub."), "ask for access on https://huggingface.co"),
        (FileNotFoundError("Dataset 'a/b' doesn't exist on the Hub"), "check id, config, split"),
    ],
)
def test_what_the_hub_refuses_comes_with_advice(
    trouble: Exception, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(*args: object, **options: object) -> None:
        raise trouble

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match=advice) as caught:
        list(hub.read("squad", PLACED["squad"]))
    assert "rajpurkar/squad" in str(caught.value)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'instructpt\[hub\]'"):
        list(hub.read("squad", PLACED["squad"]))
