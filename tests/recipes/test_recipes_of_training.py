"""The recipes that train models: the paper's numbers are their defaults, and small shapes get what fits them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from conftest import corpus_rows, write_corpus
from rich.console import Console

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, fingerprint, tree
from instructpt.artifacts.storage import read_parquet
from instructpt.assembly.blending import Blend, BlendPart
from instructpt.assembly.rows import open_rows
from instructpt.assembly.stages import Pack
from instructpt.cli.plan import print_plan
from instructpt.collection.instructions import Instructions
from instructpt.corpus.stages import Portion, Read
from instructpt.errors import InputError, RecipeError
from instructpt.evaluation.comparison import verdict
from instructpt.evaluation.held_back import HeldBack, Remainder
from instructpt.evaluation.questioning import Examine
from instructpt.executors.make import make
from instructpt.recipes import small_corpora
from instructpt.recipes.arms import ARMS, DOMAIN_ARMS, check_arms
from instructpt.recipes.compare import compare
from instructpt.recipes.demo import demo
from instructpt.recipes.domain import domain
from instructpt.recipes.flags import Reading
from instructpt.recipes.general import general
from instructpt.recipes.instruct import instruct
from instructpt.records import Document, Text
from instructpt.report import render
from instructpt.report.artifacts import load_one
from instructpt.report.comparison import print_comparison, read
from instructpt.report.estimate import Wishes
from instructpt.synthesis.stages import Synthesize
from instructpt.templates.stages import Template
from instructpt.training.mixtures import mixtures
from instructpt.training.settings import Lora
from instructpt.training.shapes import SHAPES
from instructpt.training.stages import Train
from instructpt.words.vocabulary import load

INSTRUCTIONS = [
    {"dataset": "mine", "context": "", "question": "Name three rivers.", "answer": "Rhine, Loire, Ebro."},
    {"dataset": "mine", "context": "The Cole is short.", "question": "How long is the Cole?", "answer": "Short"},
    {"dataset": "mine", "context": "", "question": "Say nothing.", "answer": ""},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_corpus(tmp_path_factory.mktemp("corpus") / "my.jsonl", corpus_rows(60)))


def run(folder: Path) -> Run:
    return Run(root=str(folder), workers=1, device="cpu", engine=SCRIPTED)


def stages_of(stage, kind: type) -> list:
    return [item for item in tree(stage) if isinstance(item, kind)]


def records(folder: Path, kind: type) -> list:
    found = []
    for path in sorted(folder.glob("*.parquet")):
        with path.open("rb") as file:
            found += read_parquet(file, kind)
    return found


# general


@pytest.mark.parametrize(("shape", "batch_tokens", "rate"), [("500m", 2**19, 3e-4), ("1.3b", 2**20, 2e-4)])
def test_the_papers_shapes_get_the_papers_numbers(shape: str, batch_tokens: int, rate: float) -> None:
    model = general(shape=shape, precision="float32")
    rows = model.mixture[0].rows
    assert (rows.row_tokens, model.batch_rows * rows.row_tokens) == (2048, batch_tokens)
    assert (model.settings.learning_rate, model.settings.warmup_steps) == (rate, 1000)
    assert model.settings.steps == 100_000_000_000 // batch_tokens
    blend = rows.texts
    assert isinstance(blend, Blend)
    assert [part.copies for part in blend.parts] == [1, 1, 4]
    (drawn,) = [stage for stage in stages_of(model, Portion) if stage.start == 0]
    assert drawn.stop == 0.2
    (synthesis,) = stages_of(model, Synthesize)
    assert synthesis.shots == 2


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in ("500m", "1.3b")])
def test_small_shapes_get_what_fits_them(shape: str) -> None:
    model = general(shape=shape, precision="float32")
    rows, size = model.mixture[0].rows.row_tokens, SHAPES[shape].num_parameters()
    step_tokens = model.batch_rows * rows
    assert rows == 512
    assert model.settings.steps * step_tokens == pytest.approx(20 * size, rel=0.05)
    assert model.settings.learning_rate == SHAPES[shape].learning_rate
    assert 4096 <= step_tokens <= 2**18
    assert model.settings.warmup_steps <= model.settings.steps / 10


def test_arms_differ_in_their_texts_alone() -> None:
    gold = ("my.jsonl",)
    arms = [arm for arm in ARMS if arm != "forms"]
    models = {arm: general(shape="1m", arm=arm, gold_pairs=gold, precision="float32") for arm in arms}
    for model in models.values():
        assert model.settings == models["raw"].settings
        assert model.vocabulary == models["raw"].vocabulary
    assert {arm for arm, model in models.items() if stages_of(model, Synthesize)} == {
        "instruct",
        "instruct_apart",
        "one_round",
        "without_tasks",
        "share_half",
        "share_all",
    }
    assert stages_of(models["one_round"], Synthesize)[0].shots == 1
    assert {arm for arm, model in models.items() if "tasks" not in [stage.name for stage in tree(model)]} == {
        "raw",
        "without_tasks",
    }


def test_a_share_of_tasks_is_one_of_tokens() -> None:
    model = general(shape="1m", arm="mixed", task_share=0.1, precision="float32")
    assert [(source.rows.name, source.share) for source in model.mixture] == [("mixed-rows", 0.9), ("tasks-rows", 0.1)]


def test_drawn_documents_and_the_rest_are_all_documents(corpus: str, tmp_path: Path) -> None:
    documents = Read(name="documents", files=(corpus,))
    small, large, rest = (
        Portion(name=name, documents=documents, start=start, stop=stop, draw="augmented")
        for name, start, stop in (("small", 0, 0.2), ("large", 0, 0.5), ("rest", 0.2, 1))
    )
    for stage in (small, large, rest):
        make(stage, run(tmp_path))
    ids = {name: {d.id for d in records(tmp_path / name, Document)} for name in ("small", "large", "rest")}
    assert ids["small"] < ids["large"]
    assert not ids["small"] & ids["rest"]
    assert len(ids["small"] | ids["rest"]) == 60
    assert 4 <= len(ids["small"]) <= 20


def test_a_blend_holds_every_text_as_often_as_it_has_copies(corpus: str, tmp_path: Path) -> None:
    texts = Template(name="texts", groups=Read(name="documents", files=(corpus,), limit=3))
    others = Template(name="others", groups=Read(name="more", files=(corpus,), limit=2))
    blend = Blend(name="blend", parts=(BlendPart(texts=texts), BlendPart(texts=others, copies=4)))
    make(blend, run(tmp_path))
    ids = [text.id for text in records(tmp_path / "blend", Text)]
    assert ids == ["doc-0", "doc-1", "doc-2"] + ["doc-0", "doc-1"] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arm": "instuct"}, "no arm is called 'instuct': did you mean 'instruct'"),
        ({"arm": "zzz"}, "choose from raw, mixed"),
        ({"shape": "16m"}, "no model shape is called '16m'"),
        ({"augmented_share": 0.0}, "augmented_share is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"task_share": 1.5}, "task_share is 1.5"),
        ({"arm": "without_corpora", "augmented_share": 1.0}, "has no raw text"),
        ({"pretraining_tokens": 100}, "less than a step"),
    ],
)
def test_a_mistake_is_told_before_any_work(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        general(**{"shape": "1m", "precision": "float32", **settings})  # type: ignore[arg-type]


# domain and instruct


def test_a_domain_gets_instructions_one_to_one_and_three_rounds(corpus: str, small_model: str) -> None:
    model = domain(base=small_model, files=(corpus,), corpus_size="large", precision="float32")
    assert [(source.rows.name, source.share) for source in model.mixture] == [
        ("instruct-rows", 1.0),
        ("instructions-rows", 1.0),
    ]
    assert (model.base, model.vocabulary) == (small_model, small_model)
    assert model.settings.steps == 4000
    (synthesis,) = stages_of(model, Synthesize)
    assert synthesis.shots == 3
    assert not [stage for stage in stages_of(model, Portion) if stage.start > 0], "all texts are augmented"
    alone = domain(base=small_model, files=(corpus,), arm="without_corpora", corpus_size="large", precision="float32")
    assert [source.rows.name for source in alone.mixture] == ["instructions-rows"]


def test_pairs_apart_never_share_a_row_with_their_passage(corpus: str, tmp_path: Path, small_model: str) -> None:
    model = domain(
        base=small_model, files=(corpus,), arm="mined", pair_layout="apart", row_tokens=256, precision="float32"
    )
    rows = model.mixture[0].rows
    make(rows, run(tmp_path))
    texts = {text.id: text for text in records(tmp_path / rows.texts.name, Text)}
    assert {text.kind for text in texts.values()} == {"raw", "augmented"}
    packed = open_rows(tmp_path / "mined-rows" / "joined")
    for row in range(len(packed)):
        there = {origin.id for origin in packed.documents_in([row])}
        known = [texts[name].passage for name in there if texts[name].passage]
        assert len(set(known)) == len(known)
    beside = domain(base=small_model, files=(corpus,), arm="instruct", precision="float32")
    apart = domain(base=small_model, files=(corpus,), arm="instruct_apart", precision="float32")
    assert stages_of(beside, Synthesize) == stages_of(apart, Synthesize), "the same pairs"


def test_a_small_corpus_gets_what_suits_it_and_the_plan_says_why(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: str
) -> None:
    size = small_corpora.corpus_tokens((corpus,), base=small_model, reading=Reading())
    texts = [row["text"] for row in corpus_rows(60)]
    assert size == sum(map(len, load(small_model).encode(texts)))
    model = domain(base=small_model, files=(corpus,), precision="float32")
    step_tokens = model.batch_rows * model.mixture[0].rows.row_tokens
    assert model.settings.steps == 8 * size // step_tokens
    assert (model.max_epochs, step_tokens) == (16, 4096)
    assert [source.rows.name for source in model.mixture] == ["instruct-rows", "replay-rows"]
    shares = [source.share for source in model.mixture]
    assert shares[1] / sum(shares) == pytest.approx(0.1)
    assert model.settings.learning_rate == pytest.approx(3 * 0.09 * 0.46 / 256, rel=0.05)
    assert {setting for setting, _, _ in model.choices} == {
        "budget",
        "a step",
        "a row",
        "highest rate",
        "general instructions",
        "general text again",
        "most passes",
    }
    told = io.StringIO()
    print_plan(model, run(tmp_path), Wishes(sample_documents=5), console=Console(file=told, width=200))
    assert "Chosen where the flags say nothing" in told.getvalue()
    assert "so that the base forgets less" in told.getvalue()
    given = domain(
        base=small_model,
        files=(corpus,),
        training_tokens=40_960,
        learning_rate=1e-5,
        replay_share=0.0,
        precision="float32",
    )
    assert (given.settings.steps, given.settings.learning_rate, len(given.mixture)) == (10, 1e-5, 1)
    assert not {"budget", "highest rate", "general text again"} & {setting for setting, _, _ in given.choices}
    assert fingerprint(model, run(tmp_path)) == fingerprint(replace(model, choices=()), run(tmp_path))
    monkeypatch.setattr(small_corpora, "SMALL_CORPUS_TOKENS", size)
    large = domain(base=small_model, files=(corpus,), precision="float32")
    assert (large.settings.steps, large.choices) == (4000, ())


def test_arms_of_a_small_corpus_get_equal_tokens(corpus: str, small_model: str) -> None:
    stage = small(
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


def test_the_control_for_format_has_pairs_of_other_passages(corpus: str, small_model: str) -> None:
    model = domain(base=small_model, files=(corpus,), arm="mixed", replay_share=0.0, precision="float32")
    assert [(source.rows.name, source.share) for source in model.mixture] == [("mixed-rows", 1.0), ("tasks-rows", 1.0)]
    assert not stages_of(model, Synthesize)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arm": "without_tasks"}, "choose from raw, mixed|did you mean"),
        ({"row_tokens": 4096}, "reads 1024 tokens: give at most that"),
        ({"base": "nowhere/at/all"}, "no model folder at"),
    ],
)
def test_a_mistake_about_a_base_is_told_before_any_work(
    corpus: str, settings: dict[str, object], message: str, small_model: str
) -> None:
    with pytest.raises((RecipeError, InputError), match=message):
        domain(**{"base": small_model, "files": (corpus,), "precision": "float32", **settings})  # type: ignore[arg-type]


def test_a_users_pairs_are_tuned_on_with_loss_on_their_responses(tmp_path: Path, small_model: str) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in INSTRUCTIONS))
    model = instruct(small_model, pairs=(str(pairs),), layout="plain", row_tokens=64, epochs=2, precision="float32")
    rows = model.mixture[0].rows
    make(rows, run(tmp_path / "out"))
    counts = orjson.loads((tmp_path / "out" / "tuning-pairs" / "manifest.json").read_bytes())["tally"]
    assert (counts["taken"], counts["kept"], counts["dropped"]) == (3, 2, {"unanswerable": 1})
    folder = tmp_path / "out" / "tuning-rows"
    packed = open_rows(folder / "joined", shards=[folder / "00000"])
    batch = packed.batch(list(range(len(packed))))
    words = load(small_model)
    targets = batch.targets[batch.weights > 0]
    assert sorted(words.decode([int(t)]) for t in targets if t != words.eos) == sorted(
        words.decode([i]) for i in words.encode([" Rhine, Loire, Ebro.", " Short"])[0] + words.encode([" Short"])[0]
    )
    assert (targets == words.eos).sum() == 2, "where a response ends is learned"
    assert (model.epochs, model.base) == (2, small_model)
    assert model.settings.learning_rate == pytest.approx(0.09 * 0.46 / 256, rel=0.05)


def test_instructions_need_a_file_and_tuning_something_to_tune_on(small_model: str) -> None:
    with pytest.raises(RecipeError, match="give files in the neutral layout"):
        Instructions(name="instructions", files=())
    with pytest.raises(RecipeError, match="nothing to tune on"):
        instruct(small_model, tasks=(), precision="float32")


# compare


def small(corpus: str, **settings: object):
    return compare(
        **{
            "files": (corpus,),
            "arms": ("raw", "mined"),
            "seeds": 2,
            "shape": "1m",
            "vocabulary_size": 400,
            "pretraining_tokens": 1024,
            "row_tokens": 64,
            "batch_tokens": 256,
            "max_epochs": 1000,
            "task_share": 0.1,
            "augmented_share": 0.5,
            "held_out_share": 0.1,
            "tasks": (),
            "unseen_contexts": 0,
            "precision": "float32",
            **settings,
        }  # type: ignore[arg-type]
    )


def test_cells_are_artifacts_that_are_made_once(corpus: str, tmp_path: Path) -> None:
    assert make(small(corpus, arms=("raw",)), run(tmp_path)) > 0
    assert read(load_one(str(tmp_path / "comparison"))).arms == ("raw",)
    stage = small(corpus, budget_shares=(0.5, 1.0))
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
    stage = small(files, arms=("raw",), seeds=1, questions=(questions,), held_out_share=0.5)
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
    stage = small(corpus, arms=("raw", "mined"), pretraining_tokens=4096, max_epochs=0.1)
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


def test_copies_of_a_part_are_its_epochs(corpus: str, tmp_path: Path) -> None:
    stage = general(
        files=(corpus,),
        shape="1m",
        arm="mixed",
        task_copies=2,
        row_tokens=64,
        batch_tokens=256,
        vocabulary_size=400,
        pretraining_tokens=4096,
        precision="float32",
    )
    make(stage.mixture[0].rows, run(tmp_path))
    found = mixtures(stage, run(tmp_path))
    assert found is not None
    whole, raw, tasks = found.rows
    assert whole[5] == raw[5].strip("~")
    assert float(tasks[5].strip("~")) == pytest.approx(2 * float(whole[5]), abs=0.011)


def test_seeds_draw_other_weights_and_the_same_texts(corpus: str) -> None:
    stage = small(corpus, arms=("instruct", "one_round"), seeds=3)
    names = [item.name for item in tree(stage)]
    assert len(stages_of(stage, Synthesize)) == 2, "pairs are written once an arm, not once a seed"
    assert len({item.settings.seed for item in stages_of(stage, Train)}) == 3
    assert len(names) == len(set(names))


def test_tuned_models_are_scored_again(corpus: str) -> None:
    stage = small(corpus, tuned=True, seeds=1)
    assert [(cell.arm, cell.phase) for cell in stage.cells] == [
        ("raw", ""),
        ("raw", "tuned"),
        ("mined", ""),
        ("mined", "tuned"),
    ]
    assert stage.cells[1].model.base == stage.cells[0].model


def test_a_budget_beyond_the_texts_is_refused_with_its_numbers(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"would be seen .* times, more than the 4 allowed"):
        make(small(corpus, arms=("raw",), max_epochs=4.0, pretraining_tokens=200_000), run(tmp_path))


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
        small(corpus, **settings)


def test_arms_of_a_domain_are_arms(corpus: str, small_model: str) -> None:
    check_arms(DOMAIN_ARMS)
    arms = tuple(arm for arm in DOMAIN_ARMS if arm != "forms")  # see test_form_mixture.py
    stage = small(
        corpus, recipe="domain", base=small_model, arms=arms, seeds=1, corpus_size="large", gold_pairs=(corpus,)
    )
    assert {cell.arm for cell in stage.cells} == {*arms, "before"}
    assert all(
        cell.model == small_model if cell.arm == "before" else cell.model.base == small_model for cell in stage.cells
    )
    with pytest.raises(RecipeError, match="name their files with --gold-pairs"):
        small(corpus, recipe="domain", base=small_model, arms=("gold",))
    kinds = {remainder.name.partition("-")[0] for remainder in stages_of(stage, Remainder)}
    assert kinds == {"synthesized", "mined", "gold"}, "no arm is told what the exam asks"
    (exam,) = stages_of(stage, HeldBack)
    assert exam.control_share == 0
    for settings in ({"held_back_pairs": 0}, {"arms": ("raw", "mined")}, {"synthesizer": small_model}):
        without = small(corpus, **{"recipe": "domain", "base": small_model, "arms": ("raw", "instruct"), **settings})
        assert not stages_of(without, Examine), "nothing to make an exam of"


def test_what_people_wrote_is_an_arm_and_the_base_a_row_of_its_own(
    corpus: str, tmp_path: Path, small_model: str
) -> None:
    """A file of questions for the exam, one of pairs to train on; what both hold is asked and not trained on."""
    asked, gold = (
        [{"passage_id": f"doc-{i}", "question": f"{question} {i}?", "answers": ["212"]} for i in range(26)]
        for question in ("How long is bridge", "How many metres has bridge")
    )
    files = [
        str(write_corpus(tmp_path / f"{name}.jsonl", rows)) for name, rows in (("asked", asked), ("gold", asked + gold))
    ]
    stage = small(
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
    (groups,) = stages_of(stage, Remainder)
    questions = [pair.question for g in run(tmp_path / "out").records(groups) for pair in g.shots[0].pairs]
    assert questions
    assert all(question.startswith("How many metres") for question in questions)
    assert render(str(tmp_path / "out"), title="Compare")


def test_what_an_exam_asks_is_in_no_gold_pair_of_models_from_random_weights_either(corpus: str) -> None:
    stage = small(corpus, arms=("raw", "gold"), questions=(corpus,), gold_pairs=(corpus,))
    assert [remainder.name for remainder in stages_of(stage, Remainder)] == ["gold-0.5-remainder"]


def test_a_small_corpus_can_be_learned_with_adapters(corpus: str, small_model: str) -> None:
    whole, adapters = (
        domain(base=small_model, files=(corpus,), precision="float32", **settings)
        for settings in ({}, {"lora_rank": 4, "lora_layers": 1})
    )
    assert whole.settings.lora is None
    assert adapters.settings.lora == Lora(rank=4, alpha=8, last_layers=1)
    assert adapters.settings.learning_rate == pytest.approx(10 * whole.settings.learning_rate, rel=0.05)


def test_the_demo_ends_with_an_exam_of_three_models(tmp_path: Path, small_model: str) -> None:
    """The same road as `make demo`, with a tiny base and scripted pairs."""
    stage = demo(
        documents=24,
        base=small_model,
        synthesizer=small_model,
        training_tokens=512,
        questions=1,
        max_new_tokens=2,
        lora_rank=2,
        lora_layers=1,
        precision="float32",
    )
    raw, instruct = stages_of(stage, Train)
    assert (raw.settings, raw.base) == (instruct.settings, small_model)
    make(stage, run(tmp_path))
    scores = {(score.model, score.metric): score for score in run(tmp_path).records(stage)}
    assert {model for model, _ in scores} == {"before", "raw", "instruct"}
    assert scores["instruct", "bits_per_byte/from_raw"].value == pytest.approx(
        scores["instruct", "bits_per_byte"].value - scores["raw", "bits_per_byte"].value
    )
    assert scores["before", "bits_per_byte"].count == 24
    page = render(str(tmp_path), title="Demo")
    assert "instruct against raw, the same 24 questions" in page
