"""What a user relies on when test items are kept out of task data: all that the one rule names, and nothing else."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rows import converted, row

from instructpt.corpus.testitems import file_rows, load
from instructpt.errors import InputError
from instructpt.words.ngrams import MIN_WHOLE_WORDS, MIN_WORDS, index
from instructpt.words.overlap import CONTAMINATION_GRAM, grams

ITEM = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
RUN = ITEM.rpartition(" ")[0]


def test_items_lie_anywhere_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    rows = [{"choices": {"text": [ITEM, "short"]}, "answer": 2}, {"question": "Who met whom on the hill?"}]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    items = load({"test": file_rows([str(path)])})
    assert items.texts == {0: ITEM, 1: "Who met whom on the hill?"}
    assert items.index.num_ngrams.tolist() == [2, 1]
    assert [place.field for places in items.places.values() for place in places] == ["choices.text", "question"]


@pytest.mark.parametrize(
    ("fields", "is_left_out"),
    [
        ({"context": f"He said: {RUN}!"}, True),
        ({"context": RUN.removesuffix(" thirteen")}, False),
        ({"question": RUN.upper()}, True),
        ({"answer": RUN}, True),
        ({"rationale": RUN}, True),
        ({"options": ("a fox", RUN)}, True),
        ({"question": "Who met whom, on the hill"}, True),
        ({"context": "Who met whom on the hill?"}, True),
        ({"answer": "Who met whom on the hill?"}, False),
        ({"question": "Tell who met whom on the hill?"}, False),
        ({"question": "short"}, False),
        ({"question": "Say: why did the miller sell the old mill then?"}, True),
        ({"answer": "Why did the miller sell the old mill? For money."}, True),
        ({"answer": "Why did the miller sell the mill?"}, False),
    ],
)
def test_rows_that_share_a_run_or_are_an_item_are_left_out(fields: dict[str, str], is_left_out: bool) -> None:
    items = index([ITEM, "Who met whom on the hill?", "Why did the miller sell the old mill?", "short"])
    other = row(context="Another text.", question="And this?")
    shots, reasons = converted([row(**fields), other], test_items=items)
    assert reasons["contaminated"] == is_left_out
    assert shots[-1].document.text == "Another text."


def test_a_context_that_overlaps_takes_all_its_rows_and_a_row_only_itself() -> None:
    items = index([ITEM])
    assert converted([row(context=ITEM), row(context=ITEM, question="b")], test_items=items)[1] == {"contaminated": 2}
    [shot], reasons = converted([row(question=ITEM), row()], test_items=items)
    assert len(shot.pairs) == 1
    assert reasons == {"contaminated": 1}


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"a": 1}\n{broken')
    with pytest.raises(InputError, match=r"test\.jsonl, row 2 cannot be read \(broken_json\)"):
        load({"test": file_rows([str(path)])})


TEXTS = st.lists(st.sampled_from("abc"), max_size=3 * CONTAMINATION_GRAM).map(" ".join)


@given(st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=8))
def test_found_is_what_comparing_every_run_finds(tests: list[str], texts: list[str]) -> None:
    assert {hit.text for hit in index(tests).search(texts)} == {i for i, text in enumerate(texts) if holds(text, tests)}


def holds(text: str, tests: list[str]) -> bool:
    """The rule, word for word."""
    for item in tests:
        length = len(item.split())
        if length >= MIN_WORDS:
            run = min(length, CONTAMINATION_GRAM)
            if not set(grams(item, run)).isdisjoint(grams(text, run)):
                return True
        elif length >= MIN_WHOLE_WORDS and text.split() == item.split():
            return True
    return False
