"""Arms side by side: every run and score an artifact, differences paired, mistakes told before any work."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import corpus_rows, write_corpus
from experiments import compared, run, stages_of
from rich.console import Console

from instructpt.artifacts import tree
from instructpt.assembly.stages import Pack
from instructpt.errors import InputError, NothingMadeError, RecipeError
from instructpt.evaluation.comparison import verdict
from instructpt.evaluation.held_back import HeldBack, Remainder
from instructpt.evaluation.naming import Named
from instructpt.evaluation.questioning import Examine
from instructpt.executors.make import make
from instructpt.recipes.arms import DOMAIN_ARMS, check_arms
from instructpt.report import render
from instructpt.report.artifacts import load_one
from instructpt.report.comparison import print_comparison, read
from instructpt.synthesis.stages import Synthesize
from instructpt.training.mixtures import mixtures
from instructpt.training.stages import Train


def test_arms_of_a_small_corpus_get_equal_tokens(corpus: str, small_model: str) -> None:
    stage = compared(
        corpus,
        recipe="domain",
        base=small_model,
        arms=("raw", "mixed", "instruct", "instruct_apart"),
        seeds=1,
        pretraining_tokens=None,
        row_tokens=None,
        batch_tokens=None,
        max_epochs=None,
    )
    assert len({cell.tokens for cell in stage.cells}) == 1
    trained = [cell.model for cell in stage.cells if cell.arm != "before"]
    assert len({model.settings for model in trained}) == 1
    assert {source.rows.name for model in trained for source in model.mixture} == {
        "raw-rows",
        "mixed-rows",
        "tasks-rows",
        "instruct-rows",
        "instruct_apart-rows",
        "replay-rows",
    }


def test_texts_of_a_passage_lie_as_many_steps_apart_as_is_said(corpus: str, small_model: str) -> None:
    arms = ("raw", "instruct", "instruct_apart", "variants_5")
    stage = compared(corpus, recipe="domain", base=small_model, arms=arms, seeds=1, steps_apart=3)
    apart = {rows.name: rows.rows_apart for rows in stages_of(stage, Pack)}
    far = 3 * stage.cells[0].model.batch_rows
    wanted = {"raw-rows": 1, "instruct-rows": 1, "instruct_apart-rows": far, "variants_5-rows": far, "replay-rows": 1}
    assert apart == wanted, "of what has one text a passage nothing changes"
    with pytest.raises(RecipeError, match="steps_apart is -1"):
        compared(corpus, arms=("instruct_apart",), steps_apart=-1)


def test_cells_are_artifacts_that_are_made_once(corpus: str, tmp_path: Path) -> None:
    assert make(compared(corpus, arms=("raw",)), run(tmp_path)) > 0
    assert read(load_one(str(tmp_path / "comparison"))).arms == ("raw",)
    stage = compared(corpus, budget_shares=(0.5, 1.0))
    runs = [f"{arm}-seed{seed}" for arm in ("raw", "mined") for seed in (0, 1)]
    assert {item.name for item in stages_of(stage, Train)} == {*runs, *(f"{name}-0.5" for name in runs)}
    assert make(stage, run(tmp_path)) < len(tree(stage)) - 4, "what the first run made is not made again"
    assert make(stage, run(tmp_path)) == 0
    found = read(load_one(str(tmp_path / "comparison")))
    assert (found.arms, found.seeds) == (("raw", "mined"), (0, 1))
    whole = next(m for m in found.measures if m.task == "held_out" and m.tokens == 1024)
    assert whole.arms["raw"].count == whole.differences["mined"].count == 2
    assert whole.arms["raw"].half is not None
    assert {reach.arm for reach in found.reaches} == {"raw", "mined"}
    page, said = render(str(tmp_path), title="Compare"), io.StringIO()
    print_comparison(str(tmp_path / "comparison"), console=Console(file=said, width=160))
    for shown in (page, said.getvalue()):
        assert verdict("bits_per_byte", whole.differences["mined"]) in shown
        assert "Mean over 2 seeds" in shown
    assert "What the arms are made of" in page
    assert page.count("<polyline") == 4, "held-out text by budget, and one training curve an arm, not one a run"


def test_every_arm_sits_the_exam(corpus: str, tmp_path: Path) -> None:
    seen = "Which of the two bridges that stand there is the longer one?"
    rows = [*corpus_rows(60), {"id": "told", "text": f"{seen} It is the first, as all who came to see both agreed."}]
    asked = [{"passage_id": f"doc-{i}", "question": f"How long is bridge {i}?", "answers": ["212"]} for i in range(60)]
    asked.append({"passage_id": "told", "question": seen, "answers": ["the first"]})
    files, questions = (
        str(write_corpus(tmp_path / name, found)) for name, found in (("my.jsonl", rows), ("asked.jsonl", asked))
    )
    stage = compared(files, arms=("raw",), seeds=1, questions=(questions,), held_out_share=0.5)
    make(stage, run(tmp_path / "out"))
    measures = read(load_one(str(tmp_path / "out" / "comparison"))).measures
    tasks = {measure.task for measure in measures}
    assert tasks >= {"closed_book", "open_book", "closed_book/control", "held_out"}
    assert ("average", "of 2 tasks") not in {(m.task, m.metric) for m in measures}, "an exam is no benchmark"
    (scores,) = [stage for stage in tree(stage) if stage.name == "raw-seed0-exam"]
    counts = {
        score.metric: score.count
        for score in run(tmp_path / "out").records(scores, 0)
        if score.task in ("closed_book", "closed_book/control") and score.metric.startswith("f1/")
    }
    assert counts.get("f1/overlapping", 0) <= 1
    tally = run(tmp_path / "out").manifest(scores.overlaps[0])["tally"]["counts"]
    assert tally["rows/exam"] == 61


def test_what_models_are_trained_on_is_told_by_source(corpus: str, tmp_path: Path) -> None:
    stage = compared(corpus, arms=("raw", "mined"), pretraining_tokens=4096, max_epochs=0.1)
    before = mixtures(stage, run(tmp_path))
    assert before is not None
    assert [row[:2] for row in before.rows] == [
        ("raw-seed0 (+1)", "raw-rows"),
        ("mined-seed0 (+1)", "mined-rows"),
        ("", "tasks-rows"),
    ]
    assert [row[3:5] for row in before.rows] == [("4,096", "100.0%"), ("3,686", "90.0%"), ("410", "10.0%")]
    assert {row[2] for row in before.rows} == {row[5] for row in before.rows} == {"-"}

    for item in stages_of(stage, Pack):
        make(item, run(tmp_path))
    there = {item.name: run(tmp_path).manifest(item)["tally"]["counts"]["tokens"] for item in stages_of(stage, Pack)}
    after = mixtures(stage, run(tmp_path))
    assert after is not None
    rows = {row[1].strip(): row for row in after.rows}
    assert rows["raw-rows"][2:] == (f"{there['raw-rows']:,}", "4,096", "100.0%", f"{4096 / there['raw-rows']:.2f}")
    parts = [rows[name] for name in ("rest-0.5-texts", "mined-0.5-in-2-texts")]
    assert sum(float(part[4].strip("~%")) for part in parts) == pytest.approx(90, abs=0.2)
    assert {part[5] for part in parts} == {"~" + rows["mined-rows"][5]}
    assert "raw-seed0 would see raw-rows" in "".join(after.notes)
    assert "more than the 0.1 allowed" in "".join(after.notes)


def test_seeds_draw_other_weights_and_the_same_texts(corpus: str) -> None:
    stage = compared(corpus, arms=("instruct", "one_round"), seeds=3)
    names = [item.name for item in tree(stage)]
    assert len(stages_of(stage, Synthesize)) == 2, "pairs are written once an arm, not once a seed"
    assert len({item.settings.seed for item in stages_of(stage, Train)}) == 3
    assert len(names) == len(set(names))


def test_tuned_models_are_scored_again(corpus: str) -> None:
    stage = compared(corpus, tuned=True, seeds=1)
    assert [(cell.arm, cell.phase) for cell in stage.cells] == [
        ("raw", ""),
        ("raw", "tuned"),
        ("mined", ""),
        ("mined", "tuned"),
    ]
    assert stage.cells[1].model.base == stage.cells[0].model


def test_a_budget_beyond_the_texts_is_refused_with_its_numbers(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"would be seen .* times, more than the 4 allowed"):
        make(compared(corpus, arms=("raw",), max_epochs=4.0, pretraining_tokens=200_000), run(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arms": ("raw", "instrct")}, "did you mean 'instruct'"),
        ({"arms": ("raw", "raw")}, "named twice"),
        ({"arms": ()}, "no arm is named"),
        ({"seeds": 0}, "seeds is 0"),
        ({"budget_shares": (0.5,)}, "the largest is 1"),
        ({"recipe": "domain"}, "recipe domain needs a base"),
        ({"held_out_share": 0.0}, "held_out_share is 0"),
    ],
)
def test_a_mistake_in_a_comparison_is_told_before_any_work(
    corpus: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        compared(corpus, **settings)


def test_that_nothing_is_held_out_is_told_before_any_training(corpus: str, tmp_path: Path) -> None:
    """The draw of a small share of few documents may be empty; so may what is left of a large one."""
    for share, empty, advice in ((0.001, "held-out", "larger"), (0.999, "training", "smaller")):
        told = rf"{empty} has none of 30 documents: --held-out-share is {share}, give a {advice} one, or .* --held-out$"
        for _ in range(2):  # the second says it again
            with pytest.raises(NothingMadeError, match=told):
                make(compared(corpus, limit=30, held_out_share=share), run(tmp_path))
        assert not list(tmp_path.glob("*-seed*"))
    held_out, *_ = compared(corpus, limit=30, held_out_share=0.2).measured_on
    assert make(held_out, run(tmp_path)) > 0, "the same folder takes another share"


def test_that_an_exam_is_too_short_is_told_before_any_training(corpus: str, tmp_path: Path) -> None:
    row = {"passage_id": "doc-1", "question": "How long is bridge 1?", "answers": ["212"]}
    asked = str(write_corpus(tmp_path / "asked.jsonl", [row]))
    with pytest.raises(InputError, match="an interval needs at least 20 passages"):
        make(compared(corpus, questions=(asked,)), run(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*-seed*"))


def test_arms_of_a_domain_are_arms(corpus: str, small_model: str) -> None:
    check_arms(DOMAIN_ARMS)
    arms = tuple(arm for arm in DOMAIN_ARMS if arm != "forms")  # see test_form_mixture.py
    stage = compared(
        corpus, recipe="domain", base=small_model, arms=arms, seeds=1, corpus_size="large", gold_pairs=(corpus,)
    )
    assert {cell.arm for cell in stage.cells} == {*arms, "before"}
    assert all(
        cell.model == small_model if cell.arm == "before" else cell.model.base == small_model for cell in stage.cells
    )
    with pytest.raises(RecipeError, match="name their files with --gold-pairs"):
        compared(corpus, recipe="domain", base=small_model, arms=("gold",))
    kinds = {remainder.name.partition("-")[0] for remainder in stages_of(stage, Remainder)}
    assert kinds == {"synthesized", "mined", "gold"}, "no arm is told what the exam asks"
    (exam,) = stages_of(stage, HeldBack)
    assert exam.control_share == 0
    for settings in ({"held_back_pairs": 0}, {"arms": ("raw", "mined")}, {"synthesizer": small_model}):
        without = compared(corpus, **{"recipe": "domain", "base": small_model, "arms": ("raw", "instruct"), **settings})
        assert not stages_of(without, Examine), "nothing to make an exam of"


def test_what_people_wrote_is_an_arm_and_the_base_a_row_of_its_own(
    corpus: str, tmp_path: Path, small_model: str
) -> None:
    """A file of questions for the exam, one of pairs to train on; what both hold is asked and not trained on."""
    asked, gold = (
        [{"passage_id": f"doc-{i}", "question": f"{question} {i}?", "answers": [answer(i)]} for i in range(26)]
        for question, answer in (
            ("How long is bridge", lambda i: "212"),
            ("How many metres has bridge", lambda i: "It has 212 metres" if i % 2 else "many"),
        )
    )
    files = [
        str(write_corpus(tmp_path / f"{name}.jsonl", rows)) for name, rows in (("asked", asked), ("gold", asked + gold))
    ]
    stage = compared(
        corpus,
        recipe="domain",
        base=small_model,
        arms=("raw", "gold"),
        seeds=1,
        questions=(files[0],),
        gold_pairs=(files[1],),
        pretraining_tokens=256,
        replay_share=0.0,
        limit=26,
    )
    make(stage, run(tmp_path / "out"))
    found = read(load_one(str(tmp_path / "out" / "comparison")))
    assert found.arms == ("raw", "gold", "before")
    bits = next(m for m in found.measures if (m.task, m.metric) == ("closed_book", "bits_per_byte"))
    assert set(bits.differences) == {"gold", "before"}
    for part in ("named_by_gold", "unnamed_by_gold"):  # for every arm, so that differences are of the same questions
        f1 = next(m for m in found.measures if (m.task, m.metric) == ("closed_book", f"f1/{part}"))
        assert (set(f1.arms), set(f1.differences)) == ({"raw", "gold", "before"}, {"gold", "before"})
    (named,) = stages_of(stage, Named)
    matches = list(run(tmp_path / "out").records(named))
    assert {(match.item, match.text.partition("\n")[2]) for match in matches} == {("212", "It has 212 metres")}
    assert all(int(match.id.removeprefix("doc-")) % 2 for match in matches)
    (groups,) = stages_of(stage, Remainder)
    questions = [pair.question for g in run(tmp_path / "out").records(groups) for pair in g.shots[0].pairs]
    assert questions
    assert all(question.startswith("How many metres") for question in questions)
    assert render(str(tmp_path / "out"), title="Compare")


def test_what_an_exam_asks_is_in_no_gold_pair_of_models_from_random_weights_either(corpus: str) -> None:
    stage = compared(corpus, arms=("raw", "gold"), questions=(corpus,), gold_pairs=(corpus,))
    assert [remainder.name for remainder in stages_of(stage, Remainder)] == ["gold-0.5-remainder"]
