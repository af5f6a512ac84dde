"""Several sets of pairs a passage: one a text, nothing said twice, and no row with two of them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from experiments import compared, run, stages_of

from instructpt.assembly.rows import open_rows
from instructpt.assembly.stages import Pack
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.arms import ARMS
from instructpt.records import Document, Group, Pair, Shot, Text
from instructpt.synthesis.forms.accepted import MAX_SHARED
from instructpt.synthesis.stages import Synthesize
from instructpt.synthesis.variants import NEAR_DUPLICATE, Variants, new_pairs
from instructpt.words.overlap import grams

PASSAGE = Document("doc-1", "The bridge was built in 1843 by Mary Ashworth.", "my")


def test_what_an_earlier_set_says_in_nearly_the_same_words_is_left_out() -> None:
    first = (Pair("In which year was the bridge over the Cole built?", "1843"), Pair("Who?", "Mary"))
    second = (
        Pair("In which year was the bridge over the Cole built", "in 1843"),
        Pair("Who?", "Mary"),
        Pair("Since when has one been able to cross the Cole?", "1843"),
    )
    said: list[frozenset[str]] = []
    assert new_pairs(Shot(PASSAGE, first), said).pairs == first
    left = new_pairs(Shot(PASSAGE, second), said)
    assert left.pairs == second[2:], "the same fact in other words is what variants are for"
    assert [reject.reason for reject in left.rejects] == [NEAR_DUPLICATE] * 2


def test_an_arm_of_variants(corpus: str, small_model: str, tmp_path: Path) -> None:
    settings = {"recipe": "domain", "base": small_model, "synthesizer": small_model, "seeds": 1, "limit": 30}
    settings["augmented_share"] = 1.0
    stage = compared(corpus, arms=("instruct", "variants_5"), **settings)
    (pack,) = [item for item in stages_of(stage, Pack) if item.name == "variants_5-rows"]
    make(pack, run(tmp_path))
    (variants,) = stages_of(pack, Variants)
    (first, *_) = variants.sets
    assert first in stages_of(stage.cells[0].model, type(first)), "the first set is that of arm instruct"
    assert len({item.seed for item in stages_of(pack, Synthesize)}) == 5

    groups: list[Group] = list(run(tmp_path).records(variants))
    tally = run(tmp_path).manifest(variants)["tally"]
    assert len({group.id for group in groups}) == len(groups)
    shots = [shot for group in groups for shot in group.shots]
    assert set(Counter(shot.document.id for shot in shots).values()) == {5}
    assert tally["counts"][f"rejects/{NEAR_DUPLICATE}"] > 0
    for name in {shot.document.id for shot in shots}:
        sets = [shot.pairs for shot in shots if shot.document.id == name]
        runs = [{frozenset(grams(f"{p.question} {p.answer}", 3)) for p in pairs} for pairs in sets]
        for one, other in combinations(runs, 2):
            assert all(len(a & b) <= MAX_SHARED * len(a | b) for a in one for b in other)

    texts: list[Text] = list(run(tmp_path).records(pack.texts))
    passages = {text.id: text.passage for text in texts}
    assert "" not in passages.values()
    rows = open_rows(run(tmp_path).product(pack, "joined"))
    for row in range(len(rows)):
        there = {(origin.shard, origin.document): origin.id for origin in rows.documents_in([row])}
        assert len({passages[name] for name in there.values()}) == len(there), "two texts of a passage share a row"


def test_a_run_reads_texts_of_one_passage_as_many_steps_apart_as_is_said(
    corpus: str, small_model: str, tmp_path: Path
) -> None:
    stage = compared(
        corpus,
        recipe="domain",
        base=small_model,
        synthesizer=small_model,
        arms=("instruct_apart",),
        seeds=1,
        limit=30,
        augmented_share=1.0,
        steps_apart=2,
        row_tokens=128,
        pretraining_tokens=40_000,
        replay_share=0.0,
    )
    model = stage.cells[0].model
    (pack,) = stages_of(model, Pack)
    make(pack, run(tmp_path))
    assert run(tmp_path).manifest(pack)["tally"]["counts"]["texts_too_near"] == 0
    passages = {text.id: text.passage for text in run(tmp_path).records(pack.texts)}
    order = model.order(run(tmp_path))
    assert order.num_steps * order.batch_rows > len(order.sources[pack.name]), "more than one pass"
    last: dict[str, tuple[int, str]] = {}
    for step in range(order.num_steps):
        for _, row in order.rows(step):
            for name in {origin.id for origin in order.sources[pack.name].documents_in([row])}:
                before, other = last.get(passages[name], (-9, name))
                assert step - before >= 2 or other == name
                last[passages[name]] = step, name


def test_variants_of_the_flag_and_of_an_arm(corpus: str, small_model: str) -> None:
    settings = {"recipe": "domain", "base": small_model, "synthesizer": small_model, "seeds": 1}
    by_flag = compared(corpus, arms=("instruct",), variants=5, **settings).cells[0].model
    by_arm = compared(corpus, arms=("variants_5",), **settings).cells[0].model
    assert stages_of(by_flag, Variants) == stages_of(by_arm, Variants)
    assert {arm.variants for arm in ARMS.values()} == {None, 5, 20}
    with pytest.raises(RecipeError, match="variants is 0"):
        compared(corpus, arms=("instruct",), variants=0, **settings)
