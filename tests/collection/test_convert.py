"""What a user relies on when task data become shots: nothing is lost, texts are gathered, wordings vary."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_rows import CATALOG, WORDINGS, converted, row

from instructpt.collection.catalog import Choice
from instructpt.collection.neutral import TaskRecord
from instructpt.collection.stages import group_shots
from instructpt.collection.windows import in_characters
from instructpt.errors import RecipeError
from instructpt.records import Pair, Reject, from_row, to_row
from instructpt.words.ngrams import index


def test_all_pairs_of_a_text_stand_in_one_shot_whatever_their_set() -> None:
    records = [
        row(question="Who was met?", answer="a crow"),
        row(context="Another text."),
        row("moods", " A fox  met\na crow. ", question="", answer="calm", options=("calm", "angry")),
    ]
    shots, reasons = converted(records)
    assert [shot.document.text for shot in shots] == ["A fox met a crow.", "Another text."]
    assert {pair.answer for pair in shots[0].pairs} == {"a crow", "calm"}
    assert shots[0].document.source == "moods+stories"
    meta = dict(shots[0].document.meta)
    of_set = {"a crow": "stories", "calm": "moods"}
    assert meta.pop("pair_datasets") == [of_set[pair.answer] for pair in shots[0].pairs]
    assert meta == {"datasets": ["moods", "stories"], "licences": ["CC BY 4.0", "MIT"]}
    assert not reasons


def test_a_structured_abstract_is_the_plain_one_with_headings() -> None:
    plain = "Bridges rust. We painted ten of them. Eight stayed clean."
    headed = "Background: Bridges rust.\nMethods: We painted ten of them.\nResults: Eight stayed clean."
    [shot], _ = converted([row(context=headed), row("tales", plain, question="And?")])
    assert shot.document.text == plain
    assert len(shot.pairs) == 2
    assert len(converted([row(context="Results: none."), row(context="none.")])[0]) == 2


def test_the_order_of_pairs_is_drawn() -> None:
    def first_sets(seed: int) -> Counter[str]:
        records = [row(dataset, f"Text {i}.", question=dataset) for i in range(40) for dataset in ("stories", "tales")]
        shots, _ = converted(records, seed=seed)
        return Counter(shot.document.meta["pair_datasets"][0] for shot in shots)

    assert min(first_sets(1).values()) >= 10
    assert first_sets(1) == first_sets(1)


def test_all_four_formats_keep_their_parts() -> None:
    records = [
        row(question="a"),
        row(question="b", options=("a fox", "a crow")),
        row(question="c", rationale="Foxes meet crows."),
        row(question="d", options=("a fox", "a crow"), rationale=" Because. "),
    ]
    [shot], _ = converted(records)
    assert sorted(shot.pairs, key=lambda pair: pair.question) == [
        Pair("a", "a fox", (), None, "narrative QA"),
        Pair("b", "a fox", ("a fox", "a crow"), None, "narrative QA"),
        Pair("c", "a fox", (), "Foxes meet crows.", "narrative QA"),
        Pair("d", "a fox", ("a fox", "a crow"), "Because.", "narrative QA"),
    ]
    assert from_row(type(shot.document), to_row(shot.document)) == shot.document


def test_rows_that_are_only_a_label_take_varying_wordings_and_the_same_ones_again() -> None:
    records = [row("moods", f"Text {i}.", question="", answer="calm", options=("calm", "angry")) for i in range(60)]
    shots, _ = converted(records)
    questions = [shot.pairs[0].question for shot in shots]
    assert set(questions) == set(WORDINGS)
    assert [shot.pairs[0].question for shot in converted(records)[0]] == questions


def test_labels_and_questions_are_put_into_their_wording_once_and_as_they_are() -> None:
    [shot], _ = converted([row("names", question="", answer="person: fox", options=("person", "{question}"))])
    assert shot.pairs[0].question.endswith("Types: person, {question}")
    assert shot.pairs[0].options == ()
    [shot], _ = converted([row("roles", question="Is {labels} a brace?", answer="AIM", options=("AIM", "END"))])
    assert shot.pairs[0].question.endswith('"Is {labels} a brace?"')
    assert shot.pairs[0].options == ("AIM", "END")


def test_the_converter_that_the_catalog_names_is_used() -> None:
    [shot], _ = converted([row("sums", context="", question="Ann has 3 apples. How many are left?", answer="3")])
    assert shot.document.text == "Ann has 3 apples."
    assert shot.pairs[0].question == "How many are left?"


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
        ([row("later")], "other_part"),
        ([row("scored")], "benchmark_set"),
        ([row(question="How do two foxes meet?")], "contaminated"),
    ],
)
def test_each_reason_is_counted(records: list[TaskRecord], reason: str) -> None:
    shots, reasons = converted(
        records,
        max_contexts=1 if reason == "over_max_contexts" else None,
        test_items=index(["How do two foxes meet?"]),
    )
    assert reasons == {reason: 1}
    assert sum(len(shot.pairs) for shot in shots) == len(records) - 1


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), {"stories", "tales", "moods", "unheard of"}),
        (Choice(part="unseen"), {"later"}),
        (Choice(part="all", benchmarks=True), {"stories", "tales", "moods", "later", "scored", "unheard of"}),
        (Choice(redistributable=True), {"stories", "moods"}),
        (Choice(sets=("reading", "sentiment")), {"stories", "tales", "moods"}),
        (Choice(sets=("narrative QA",), part="all"), {"stories", "later"}),
    ],
)
def test_sets_are_chosen_by_name_part_and_licence(choice: Choice, expected: set[str]) -> None:
    names = ["stories", "tales", "moods", "later", "scored", "unheard of"]
    records = [row(name, f"Text of {name}.", options=("a fox", "a crow")) for name in names]
    shots, reasons = converted(records, choice=choice)
    assert {shot.document.source for shot in shots} == expected
    assert reasons.total() == len(names) - len(expected)


def test_an_unknown_name_is_refused_before_any_work() -> None:
    with pytest.raises(RecipeError, match="did you mean 'stories'"):
        converted([row()], choice=Choice(sets=("storys",)))


def test_the_same_question_with_other_options_is_another_question() -> None:
    [shot], reasons = converted([row(options=("a fox", "a crow")), row(options=("a fox", "a wolf"))])
    assert len(shot.pairs) == 2
    assert not reasons


def test_a_share_of_unanswerable_questions_can_be_kept() -> None:
    records = [row(context=f"Text {i}.", answer="", meta={"unanswerable": True}) for i in range(200)]
    shots, reasons = converted(records, unanswerable_share=0.25)
    assert 25 <= len(shots) <= 75
    assert reasons == {"unanswerable": 200 - len(shots)}
    assert {shot.pairs[0].answer for shot in shots} == {"It does not say."}
    named, _ = converted(records, unanswerable_share=0.25, unanswerable="No word of it.")
    assert {shot.pairs[0].answer for shot in named} == {"No word of it."}


def test_the_fullest_contexts_of_each_set_are_kept() -> None:
    records = [
        row(context="one"),
        row(context="two"),
        row(context="two", question="b"),
        row("moods", "one", answer="x"),
    ]
    shots, reasons = converted(records, max_contexts=1)
    assert {(shot.document.text, shot.document.source, len(shot.pairs)) for shot in shots} == {
        ("one", "moods", 1),
        ("two", "stories", 2),
    }
    assert reasons == {"over_max_contexts": 1}


def test_pairs_beyond_the_budget_go_and_shorter_ones_still_fit() -> None:
    records = [row(question="a" * size, answer="b") for size in (10, 60, 20, 70)]
    [shot], reasons = converted(records, in_characters(context=20, shot=17 + 33))
    assert sorted(len(pair.question) for pair in shot.pairs) == [10, 20]
    assert shot.document.meta["pair_datasets"] == ["stories"] * 2
    assert reasons == {"over_budget": 2}


TEXTS = st.sampled_from(["", " ", "a", "b", "A long text.", "A long text. And another one.\n\nA third."])
ROWS = st.builds(
    TaskRecord,
    dataset=st.sampled_from([*CATALOG.entries, "unknown"]),
    context=TEXTS,
    question=TEXTS,
    answer=TEXTS,
    options=st.lists(TEXTS, max_size=3).map(tuple),
    rationale=st.none() | TEXTS,
)


@given(
    st.lists(ROWS, max_size=12),
    st.integers(1, 30),
    st.none() | st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from(["seen", "unseen", "all"]),
    st.booleans(),
)
def test_every_row_comes_out_once(
    records: list[TaskRecord], budget: int, max_contexts: int | None, num_shots: int, part: str, benchmarks: bool
) -> None:
    choice = replace(Choice(), part=part, benchmarks=benchmarks)
    limits = in_characters(context=budget, shot=budget + 20)
    shots, reasons = converted(
        [*records, Reject("", "not_json")],
        limits,
        max_contexts=max_contexts,
        unanswerable_share=0.5,
        choice=choice,
        test_items=index(["A long text. And another one."]),
    )
    assert sum(len(shot.pairs) for shot in shots) + sum(reasons.values()) == len(records) + 1
    assert reasons["not_json"] == 1
    for shot, cost in zip(shots, limits.costs(shots), strict=True):
        assert shot.pairs
        assert len(shot.document.text) <= budget
        assert cost <= budget + 20
        assert len(shot.document.meta["pair_datasets"]) == len(shot.pairs)
        for pair in shot.pairs:
            assert pair.question == pair.question.strip() != ""
            assert pair.answer == pair.answer.strip() != ""
            assert not pair.options or pair.answer in pair.options
    groups = list(group_shots(shots, num_shots=num_shots, seed=1))
    assert Counter(shot.document.text for group in groups for shot in group.shots) == Counter(
        shot.document.text for shot in shots
    )
