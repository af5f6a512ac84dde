"""From random weights: the paper's numbers are the defaults, and small shapes get what fits them."""

from __future__ import annotations

from pathlib import Path

import pytest
from experiments import run, stages_of

from instructpt.artifacts import tree
from instructpt.assembly.blending import Blend, BlendPart
from instructpt.corpus.stages import Portion, Read
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.arms import ARMS
from instructpt.recipes.general import general
from instructpt.records import Document, Text
from instructpt.report.artifacts import load_one
from instructpt.synthesis.stages import Synthesize
from instructpt.templates.stages import Template
from instructpt.training.mixtures import mixtures
from instructpt.training.shapes import SHAPES


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
        "variants_5",
        "variants_20",
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
    ids = {
        name: {d.id for d in load_one(str(tmp_path / name)).records(Document)} for name in ("small", "large", "rest")
    }
    assert ids["small"] < ids["large"]
    assert not ids["small"] & ids["rest"]
    assert len(ids["small"] | ids["rest"]) == 60
    assert 4 <= len(ids["small"]) <= 20


def test_a_blend_holds_every_text_as_often_as_it_has_copies(corpus: str, tmp_path: Path) -> None:
    texts = Template(name="texts", groups=Read(name="documents", files=(corpus,), limit=3))
    others = Template(name="others", groups=Read(name="more", files=(corpus,), limit=2))
    blend = Blend(name="blend", parts=(BlendPart(texts=texts), BlendPart(texts=others, copies=4)))
    make(blend, run(tmp_path))
    ids = [text.id for text in load_one(str(tmp_path / "blend")).records(Text)]
    assert ids == ["doc-0", "doc-1", "doc-2"] + ["doc-0", "doc-1"] * 4


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
