"""What each number about pairs is, on groups small enough to count by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.evaluation.assignment import best_assignment
from instructpt.evaluation.bootstrap import Measure, measure, scores
from instructpt.evaluation.drawing import domain, examples, quotas, spread
from instructpt.evaluation.quality import (
    CUT_OFF,
    HEADLINES,
    METRICS,
    Output,
    answer_measures,
    numbers,
    pair_measures,
    reading_measures,
    similarity_to_gold,
    well_formed,
)
from instructpt.records import Document, Pair, Reject, Score, Shot
from instructpt.synthesis import responses

TEXT = "The bridge over the river Cole was built in 1843. Mary Ashworth paid 12,000 pounds for it."


def shot(*pairs: Pair, rejects: tuple[str, ...] = (), text: str = TEXT) -> Shot:
    return Shot(Document("d", text, "s"), pairs, rejects=tuple(Reject("", reason) for reason in rejects))


def values(*outputs: Output | Shot, **settings: object) -> dict[str, Score]:
    """Every score of these outputs by its metric."""
    given = [output if isinstance(output, Output) else Output(output) for output in outputs]
    found = scores(pair_measures(given, **settings), task="t", model_name="m", seed=0)  # type: ignore[arg-type]
    return {score.metric: score for score in found}


def value(metric: str, *outputs: Output | Shot, **settings: object) -> float:
    return values(*outputs, **settings)[metric].value


WHEN = Pair("When was the bridge built?", "1843")
WHO = Pair("Who paid for it?", "Mary Ashworth")


def test_an_output_is_well_formed_if_it_holds_pairs_and_nothing_else_but_a_cut_off_end() -> None:
    assert well_formed(shot(WHEN))
    assert well_formed(shot(WHEN, rejects=(CUT_OFF,)))
    assert not well_formed(shot(rejects=(CUT_OFF,)))
    assert not well_formed(shot(WHEN, rejects=("no_end_tag",)))
    assert not well_formed(shot(WHEN, rejects=(CUT_OFF, "stray_tag")))
    assert responses.CUT_OFF == CUT_OFF


def test_form_is_counted_by_output() -> None:
    outputs = shot(WHEN, WHO), shot(WHEN, rejects=(CUT_OFF,)), shot(rejects=("no_pair",)), shot(WHEN, rejects=("bad",))
    found = values(*outputs)
    assert found["well_formed"].value == 0.5
    assert found["without_reject"].value == 0.25
    assert found["pairs_per_passage"].value == 1.0
    assert found["passages_with_pairs"].value == 0.75
    assert found["well_formed"].count == 4


def test_a_passage_that_the_model_never_saw_is_not_measured() -> None:
    unseen = [shot(rejects=(reason,)) for reason in ("passage_too_long", "prompt_refused", "engine_error")]
    assert values(shot(WHEN), *unseen)["well_formed"] == values(shot(WHEN))["well_formed"]


def test_grounding_looks_for_short_answers_in_the_passage() -> None:
    pairs = (
        WHEN,
        Pair("Where?", "the Cole river"),  # its words, in another order
        Pair("What?", "a viaduct"),
        Pair("Is it old?", "Yes"),
        Pair("Which?", "a viaduct", ("a viaduct", "a bridge")),
        Pair("Why?", "because the people of the valley wanted one"),
        Pair("How?", "by ship", rationale="There was no road."),
    )
    found = values(shot(*pairs))
    assert found["extractive"].value == pytest.approx(3 / 7)
    assert found["grounded"].value == pytest.approx(2 / 3)
    assert found["grounded_by_span"].value == pytest.approx(1 / 3)
    assert found["answer_among_options"].value == 1.0
    assert found["yes_no_answers"].value == pytest.approx(1 / 7)


def test_a_known_category_says_whether_answers_are_taken_from_the_passage() -> None:
    long_span = Pair("What was built?", "bridge over the river Cole was built", category="spans")
    label = Pair("How does it sound?", "cheerful", category="tone")
    assert value("grounded", shot(long_span, label)) == 0.0
    known = {"spans": "span", "tone": "label"}
    found = values(shot(long_span, label), answers_by_category=known)
    assert (found["grounded"].value, found["grounded"].count) == (1.0, 1)


def test_numbers_in_answers_are_looked_up_however_they_are_grouped() -> None:
    assert numbers("12,000 pounds in 1843, 3.5 m.") == ["12000", "1843", "35"]
    pairs = Pair("How much?", "12000 pounds"), Pair("When?", "between 1843 and 1850"), Pair("Who?", "she")
    assert value("numbers_found", shot(*pairs)) == pytest.approx(2 / 3)


def test_duplicates_are_found_within_a_passage_and_across_passages() -> None:
    again = Pair("when was the bridge built", "in 1843")
    found = values(shot(WHEN, again, WHO), shot(WHO, text="Another."))
    assert found["duplicate_questions"].value == pytest.approx(1 / 4)
    assert found["repeated_questions"].value == 1.0
    options = Pair("Which is right?", "a", ("a", "b")), Pair("Which is right?", "c", ("c", "d"))
    assert value("duplicate_questions", shot(*options)) == 0.0


def test_a_question_that_is_a_stretch_of_the_passage_is_copied() -> None:
    pairs = Pair("The bridge over the river", "Cole"), Pair("the river Cole", "x"), WHEN
    assert value("copied_questions", shot(*pairs)) == pytest.approx(1 / 3)
    labelled = Pair("The bridge over the river", "a", ("a", "b"))
    assert value("copied_questions", shot(labelled)) == 0.0


def test_distinct_runs_of_words_are_different_runs_of_all() -> None:
    pairs = Pair("which year", "a b"), Pair("which year", "a b"), Pair("what colour", "a c")
    found = values(shot(*pairs[:1]), shot(*pairs[1:]))
    assert found["distinct_1_questions"].value == pytest.approx(4 / 6)
    assert found["distinct_2_questions"].value == pytest.approx(2 / 3)
    assert "distinct_3_questions" not in found, "no run of three words, so nothing to take a mean of"
    assert found["distinct_1_answers"].value == pytest.approx(3 / 6)


def test_categories_have_shares_and_an_entropy() -> None:
    pairs = [Pair(f"q{i}", "a", category=name) for i, name in enumerate("aabb" + "c" * 4)]
    found = values(shot(*pairs[:3]), shot(*pairs[3:]))
    assert found["category_entropy_bits"].value == pytest.approx(1.5)
    assert [found[f"category/{name}"].value for name in "abc"] == [0.25, 0.25, 0.5]
    assert not [metric for metric in values(shot(WHEN)) if metric.startswith("category")]


def test_formats_add_up_to_one() -> None:
    pairs = (
        WHEN,
        WHO,
        Pair("q", "a", ("a", "b")),
        Pair("q", "a", rationale="r"),
        Pair("q", "a", ("a", "b"), rationale="r"),
    )
    found = {metric: score.value for metric, score in values(shot(*pairs)).items() if metric.startswith("format/")}
    assert found == pytest.approx(
        {"format/free": 0.4, "format/choice": 0.2, "format/free + rationale": 0.2, "format/choice + rationale": 0.2}
    )


def test_likeness_to_gold_pairs_takes_the_best_assignment() -> None:
    assert similarity_to_gold([WHO, WHEN], [WHEN, WHO]) == 1.0
    assert similarity_to_gold([], [WHEN]) == 0.0
    assert similarity_to_gold([WHEN], [WHEN, WHO]) == pytest.approx(0.5)
    assert similarity_to_gold([WHEN, WHEN], [WHEN, Pair("x", "y")]) == pytest.approx(0.5)
    half = Pair("When was it?", "1850")  # shares "when" and "was" of 6 and of 4 words, the article aside
    assert similarity_to_gold([half], [WHEN]) == pytest.approx(2 * 2 / (5 + 4))
    outputs = Output(shot(WHEN), (WHEN,)), Output(shot(), (WHEN, WHO, WHO))
    assert value("similarity_to_gold", *outputs) == pytest.approx(1 / 4)


def test_answers_are_compared_with_gold_ones_and_missing_ones_are_wrong() -> None:
    written = shot(Pair(WHEN.question, "in 1843"), Pair(WHO.question, "the Mary Ashworth!"), rejects=("empty_answer",))
    gold = (WHEN, WHO, Pair("Why?", "for trade"))
    unasked = shot(rejects=("passage_too_long",))
    measures = answer_measures([Output(written, gold), Output(unasked, gold)])
    found = {score.metric: score for score in scores(measures, task="t", model_name="m", seed=0)}
    assert found["response_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["response_exact_match"].value == pytest.approx(1 / 3)
    assert found["answered"].value == pytest.approx(2 / 3)
    assert found["answered"].count == 3


def test_every_metric_says_what_it_is() -> None:
    pair = Pair("When was the bridge built?", "in the year 1843", category="dates")
    choice = Pair("Which one?", "a", ("a", "b"), category="choices")
    written = {*values(Output(shot(pair, choice), (pair,)))}
    written |= {item.metric for item in [*answer_measures([]), *reading_measures([])]}
    named = {metric for metric in written if "/" not in metric}
    judged = {"judged_accurate", "judged_relevant"}
    assert named | judged == {*METRICS}
    assert {*HEADLINES} <= {*METRICS}


def test_pairs_that_a_reader_confirms_are_counted_among_those_that_it_read() -> None:
    read = [shot(WHEN, WHO, rejects=("inconsistent", "duplicate_question")), shot(rejects=("inconsistent",))]
    (confirmed,) = scores(reading_measures([Output(shot) for shot in read]), task="t", model_name="m", seed=0)
    assert (confirmed.metric, confirmed.value, confirmed.count) == ("confirmed", pytest.approx(2 / 4), 4)


def test_sentences_that_a_pair_needs_are_covered() -> None:
    text = "The bridge was built in 1843. Mary Ashworth was its engineer. It is long."
    covered = values(Output(Shot(Document("1", text, "s"), (WHEN, WHEN, WHO))))["sentences_covered"].value
    assert covered == pytest.approx(2 / 3)


# The statistics below them


def test_standard_errors_are_those_of_clustered_means_and_the_same_every_time() -> None:
    coin = measure("coin", [[float(i % 2)] for i in range(400)])
    (score,) = scores([coin], task="t", model_name="m", seed=0)
    assert (score.value, score.count) == (0.5, 400)
    assert score.stderr == pytest.approx(0.5 / math.sqrt(400), rel=0.1)
    fours = measure("fours", [[float(i % 2)] * 4 for i in range(100)])
    (clustered,) = scores([fours], task="t", model_name="m", seed=0)
    assert clustered.stderr == pytest.approx(0.5 / math.sqrt(100), rel=0.1)
    assert scores([coin, fours], task="t", model_name="m", seed=0) == [score, clustered]
    (other,) = scores([coin], task="t", model_name="m", seed=1)
    assert other.stderr != score.stderr
    assert score.stderr == 0.0241551, "pinned: the draws are the same on every machine"


def test_what_cannot_be_estimated_is_none_or_left_out() -> None:
    one, none = Measure("one", (1.0,), (1,)), Measure("none", (0.0, 0.0), (0, 0))
    rare = measure("rare", [[1.0], [], [], []])
    found = scores([one, none, rare], task="t", model_name="m", seed=0)
    assert [(score.metric, score.stderr) for score in found] == [("one", None), ("rare", 0.0)]


@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_the_best_assignment_is_the_best_of_all(num_rows: int, num_columns: int, data: st.DataObject) -> None:
    gains = [[data.draw(st.integers(0, 8)) / 8 for _ in range(num_columns)] for _ in range(num_rows)]
    narrow = min(num_rows, num_columns)
    best = max(
        sum(gains[row][column] for row, column in zip(rows, columns, strict=True))
        for rows in itertools.combinations(range(num_rows), narrow)
        for columns in itertools.permutations(range(num_columns), narrow)
    )
    assert best_assignment(gains) == pytest.approx(best)


def test_nothing_to_assign_gains_nothing() -> None:
    assert best_assignment([]) == best_assignment([[]]) == 0.0


# Exams


def test_quotas_share_a_total_equally_and_small_sets_leave_their_part() -> None:
    sizes = {"b": 100, "a": 100, "tiny": 4}
    assert quotas(sizes, per_set=None, total=64) == {"b": 30, "a": 30, "tiny": 4}
    assert quotas(sizes, per_set=10, total=None) == {"b": 10, "a": 10, "tiny": 4}
    assert quotas(sizes, per_set=None, total=1000) == sizes
    assert quotas({}, per_set=3, total=3) == {}


@given(st.integers(0, 50), st.integers(1, 60))
def test_spread_places_are_different_and_span_all(size: int, number: int) -> None:
    places = spread(size, number=number)
    assert len(places) == len(set(places)) == min(size, number)
    assert all(0 <= place < size for place in places)
    steps = {b - a for a, b in itertools.pairwise(places)}
    assert len(steps) <= 2


@given(st.integers(1, 12), st.integers(0, 15), st.data())
def test_examples_are_others_of_the_set(size: int, number: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, size - 1))
    drawn = examples(place, size=size, number=number, seed=0, name="s")
    assert len(drawn) == len(set(drawn)) == min(number, size - 1)
    assert place not in drawn
    assert all(0 <= other < size for other in drawn)
    assert drawn == examples(place, size=size, number=number, seed=0, name="s")


def test_a_domain_is_what_a_row_or_its_file_says() -> None:
    assert domain(Document("i", "t", "data/legal.jsonl.zst")) == "legal"
    assert domain(Document("i", "t", "data/legal.jsonl.zst", {"domain": "law"})) == "law"
