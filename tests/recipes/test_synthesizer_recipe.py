"""Tuning a synthesizer of one's own: from random weights or from any base model, in full or with adapters."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from tiny_synthesizer import SETS, made, tiny_recipe
from transformers import AutoModelForCausalLM, AutoTokenizer

from instructpt.artifacts import Run, differences, tree
from instructpt.assembly.rows import open_rows
from instructpt.cli.commands import main
from instructpt.engines import Sampling, open_engine
from instructpt.engines.models import read_prompting
from instructpt.errors import RecipeError
from instructpt.models.folders import local_folder
from instructpt.recipes.reader import reader
from instructpt.recipes.synthesizer import synthesizer
from instructpt.report.release import Release
from instructpt.synthesis.dialects import open_dialect
from instructpt.synthesis.tagging import UNANSWERABLE
from instructpt.words import vocabulary


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthesizer")


@pytest.fixture(scope="module")
def recipe(work: Path) -> Release:
    return tiny_recipe(work)


@pytest.fixture(scope="module")
def released(recipe: Release, work: Path) -> Path:
    return made(recipe, work / "runs")


@pytest.fixture(scope="module")
def base(released: Path, work: Path) -> Path:
    """The released model as somebody else's base: without a begin of text, and without a word on how it is used."""
    folder = work / "base"
    shutil.copytree(released, folder)
    (folder / "synthesizer.json").unlink()
    change(folder / "tokenizer_config.json", bos_token=None)
    return folder


def change(path: Path, **values: object) -> None:
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | values))


def test_the_released_folder_needs_nothing_else(released: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(released, alone)
    tokenizer, model = AutoTokenizer.from_pretrained(alone), AutoModelForCausalLM.from_pretrained(alone)
    assert model.dtype == torch.bfloat16
    ids = tokenizer(" <CON> The bridge </CON>", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == model.config.bos_token_id
    assert torch.isfinite(model(ids).logits.float()).all()
    words = vocabulary.load(alone)
    prompt = words.sequence(open_dialect("steered").prompt([], "The bridge was built in 1843."))

    async def answer() -> int:
        engine = open_engine("transformers", str(alone), device="cpu")
        try:
            return (await engine.complete(prompt, Sampling(max_new_tokens=5))).num_tokens
        finally:
            await engine.close()

    assert 1 <= asyncio.run(answer()) <= 5


def test_it_says_how_it_is_talked_with(released: Path) -> None:
    prompting = read_prompting(released)
    assert prompting.dialect == "steered"
    assert (prompting.window_tokens, prompting.passage_tokens, prompting.max_new_tokens) == (512, 256, 256)
    assert prompting.field_characters == 400
    categories = orjson.loads((released / "synthesizer.json").read_bytes())["categories"]
    shares = {name: category["share"] for name, category in categories.items()}
    assert {"narrative QA", "comparison extraction"} <= shares.keys() == prompting.answers.keys()
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    mined = [share for name, share in shares.items() if name not in ("narrative QA", "comparison extraction")]
    assert sum(mined) == pytest.approx(0.1, abs=0.01)


def test_the_parts_have_the_shares_that_were_asked_for(recipe: Release, work: Path, released: Path) -> None:
    assert [round(source.share, 9) for source in recipe.model.mixture] == [0.8, 0.1, 0.1]
    counts = orjson.loads((work / "runs" / "tuned" / "manifest.json").read_bytes())["tally"]["counts"]
    rows = {name: number for name, number in counts.items() if name.startswith("rows/")}
    assert set(rows) == {"rows/tasks-tagged-rows", "rows/bridges-tuning-rows", "rows/bridges-mined-rows"}
    assert counts["steps"] == 8
    assert sum(rows.values()) == 8 * 4
    assert rows["rows/tasks-tagged-rows"] >= 22


def test_pairs_end_tags_and_end_of_text_carry_loss_and_passages_do_not(work: Path, released: Path) -> None:
    folder = work / "runs" / "tasks-tagged-rows"
    rows = open_rows(folder / "joined", shards=[folder / "00000"])
    words, batch = vocabulary.load(released), rows.batch(list(range(8)))
    targets = batch.targets[batch.weights > 0]
    learned = words.decode(list(targets))
    assert "<CON>" not in learned
    assert learned.count("<QUE>") == learned.count("<ANS>") == learned.count("</END>") > 0
    ends = np.flatnonzero(targets == words.eos)
    assert len(ends) > 0
    assert all(words.decode(list(targets[:end])).endswith("</END>") for end in ends)
    silent = batch.targets[(batch.weights == 0) & (batch.documents >= 0)]
    assert "</END>" not in words.decode(list(silent))


def test_a_base_takes_the_papers_settings(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    shutil.copytree(base, folder)
    change(folder / "config.json", max_position_embeddings=32_768, hidden_size=4096)
    recipe = synthesizer(base=str(folder))
    settings = recipe.model.settings
    assert (settings.learning_rate, settings.warmup_steps, settings.schedule) == (5e-6, 1000, "cosine")
    assert (settings.betas, settings.weight_decay, settings.clip, settings.lora) == ((0.9, 0.95), 0.1, 1.0, None)
    assert (recipe.window_tokens, recipe.model.batch_rows * 4096, recipe.model.epochs) == (4096, 16_384, 5)
    assert recipe.tasks.max_contexts == 10_000
    with_adapters = synthesizer(base=str(folder), lora_rank=16).model.settings
    assert with_adapters.learning_rate == pytest.approx(5e-5)
    assert with_adapters.lora is not None
    assert with_adapters.lora.alpha == 32


def test_a_small_base_is_tuned_with_answers_first_on_adapters_and_on_sets_that_suit_it(base: Path) -> None:
    recipe = synthesizer(base=str(base), dialect="answers")
    settings = recipe.model.settings
    assert (settings.learning_rate, settings.warmup_steps) == (pytest.approx(1e-3), 50)
    assert settings.lora is not None
    assert (settings.lora.rank, recipe.window_tokens, recipe.passage_tokens) == (32, 1024, 448)
    assert (recipe.tasks.suits, recipe.tasks.many_pairs_weight, recipe.tasks.unanswerable_share) == ("writer", 2, 0)
    named = synthesizer(base=str(base), dialect="answers", sets=SETS, many_pairs_weight=1.0, lora_rank=0)
    assert (named.tasks.suits, named.tasks.many_pairs_weight, named.model.settings.lora) == ("", 1, None)
    asked = synthesizer(base=str(base), dialect="answers", mix="extractive QA=1")
    assert (recipe.max_new_tokens, asked.max_new_tokens) == (400, 128)  # then each pair is asked for by itself


def test_a_reader_learns_answers_and_says_what_it_says_where_there_is_none(base: Path, tmp_path: Path) -> None:
    flags = {"row_tokens": 512, "batch_tokens": 2048, "tuning_tokens": 8192, "lora_rank": 2, "precision": "float32"}
    recipe = reader(base=str(base), tasks=("sample:tasks.jsonl.zst",), **flags)  # type: ignore[arg-type]
    folder = made(recipe, tmp_path)
    prompting = read_prompting(folder)
    assert (prompting.dialect, prompting.unanswerable) == ("tags", UNANSWERABLE)
    counts = orjson.loads((tmp_path / "tasks" / "manifest.json").read_bytes())["tally"]["dropped"]
    assert counts["not_suited"] > 0
    packed = tmp_path / "questions-rows"
    batch = open_rows(packed / "joined", shards=[packed / "00000"]).batch(list(range(8)))
    words = vocabulary.load(folder)
    learnt = words.decode(list(batch.targets[batch.weights > 0]))
    assert "<QUE>" not in learnt
    assert UNANSWERABLE in learnt
    assert "</END>" in learnt


ADAPTERS_ALONE = {
    "sets": SETS[:1],
    "dialect": "answers",
    "tuning_tokens": 2048,
    "row_tokens": 256,
    "batch_tokens": 1024,
    "lora_rank": 2,
    "lora_layers": 1,
    "precision": "float32",
    "reader": "shipped:reader",
    "adapters_only": True,
}


def test_adapters_alone_are_passed_on_and_found_again_beside_their_base(base: Path, tmp_path: Path) -> None:
    folder = made(synthesizer(base=str(base), **ADAPTERS_ALONE), tmp_path)  # type: ignore[arg-type]
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "synthesizer.json", "README.md"} <= names
    assert "model.safetensors" not in names
    assert read_prompting(local_folder(folder)).reader == "shipped:reader"
    assert "LoRA, rank 2, alpha 4, last 1 layers" in (folder / "README.md").read_text()
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned" / "00000" / "model", dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(local_folder(folder), dtype=torch.float32)
    for name, weight in merged.state_dict().items():
        assert torch.allclose(weight, whole.state_dict()[name], atol=2e-2), name
    with pytest.raises(RecipeError, match="all weights of tuned are tuned: give --lora-rank"):
        synthesizer(base=str(base), lora_rank=0, adapters_only=True)


def test_adapters_are_tuned_on_and_come_out_as_one_beside_the_first_base(base: Path, tmp_path: Path) -> None:
    first = made(synthesizer(base=str(base), **ADAPTERS_ALONE), tmp_path / "first")  # type: ignore[arg-type]
    again = synthesizer(base=str(first), context_tokens=64, **ADAPTERS_ALONE)  # type: ignore[arg-type]
    folder = made(again, tmp_path / "second")
    config = orjson.loads((folder / "adapter_config.json").read_bytes())
    assert (config["r"], config["base_model_name_or_path"]) == (4, str(base))
    assert read_prompting(folder).context_tokens == 64
    words = vocabulary.load(folder)
    groups = list(Run(root=str(tmp_path / "second")).records(again.tasks))
    assert {len(group.shots) for group in groups} == {1}
    assert max(map(len, words.encode_arrays([group.shots[0].document.text for group in groups]))) <= 64
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "second" / "tuned" / "00000" / "model", dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(local_folder(folder), dtype=torch.float32)
    for name, weight in merged.state_dict().items():
        assert torch.allclose(weight, whole.state_dict()[name], atol=2e-2), name
    with pytest.raises(RecipeError, match="context_tokens is 64 for the dialect tags: it goes with answers first"):
        synthesizer(base=str(base), dialect="tags", context_tokens=64)


def test_rows_are_no_longer_than_the_base_reads(base: Path) -> None:
    assert synthesizer(base=str(base)).window_tokens == 1024


def test_a_base_without_begin_of_text_is_tuned_with_adapters_for_some_epochs(base: Path, tmp_path: Path) -> None:
    sizes = {"max_contexts": 20, "row_tokens": 256, "batch_tokens": 1024}
    recipe = synthesizer(base=str(base), sets=SETS[:1], epochs=2, lora_rank=2, precision="float32", **sizes)
    folder = made(recipe, tmp_path)
    rows = orjson.loads((tmp_path / "tasks-tagged-rows" / "manifest.json").read_bytes())["tally"]["counts"]["rows"]
    steps = (tmp_path / "tuned" / "00000" / "metrics.jsonl").read_bytes().count(b"\n")
    assert steps == round(2 * rows / 4)
    tuned, before = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (folder, base))
    assert list(tuned.state_dict()) == list(before.state_dict())
    assert torch.equal(tuned.model.embed_tokens.weight, before.model.embed_tokens.weight)
    assert not torch.equal(tuned.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)
    assert vocabulary.load(folder).bos is None
    card = (folder / "README.md").read_text()
    assert "LoRA, rank 2" in card
    assert str(base.parent) not in card


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--base", "BASE", "--shape", "7m"], "give a base to tune, or the shape of a new model"),
        (["--base", "BASE", "--corpora", "a.jsonl"], "give raw_share or mined_share too"),
        (["--raw-share", "0.5", "--mined-share", "0.5"], "less than 1 together"),
        (["--tuning-tokens", "9000", "--epochs", "2"], "give one of them"),
        (["--corpora", "a/x.jsonl", "b/x.jsonl"], "two corpora are called 'x'"),
        (["--base", "nowhere/at/all"], "no model folder at nowhere/at/all"),
        (["--base", "WITHOUT-EOS"], "names no eos_token"),
        (["--base", "BASE", "--row-tokens", "2048"], "reads 1024 tokens: give at most that"),
        (["--row-tokens", "512", "--passage-tokens", "600"], "do not fit a row of 512"),
        (["--base", "WITHOUT-WEIGHTS"], "holds no .safetensors weights"),
        (["--sets", "narative QA"], "did you mean 'narrative QA'"),
        (["--weights", "story=2"], "weights names 'story', no category or group: did you mean 'stories'"),
        (["--dialect", "steerd"], "no dialect is called 'steerd'"),
        (["--shape", "8m"], "no model shape is called '8m'"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    base: Path, flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WITHOUT-EOS", "WITHOUT-WEIGHTS"):
        shutil.copytree(base, tmp_path / name)
    change(tmp_path / "WITHOUT-EOS" / "tokenizer_config.json", eos_token=None)
    (tmp_path / "WITHOUT-WEIGHTS" / "model.safetensors").unlink()
    folders = {"BASE": base, "WITHOUT-EOS": tmp_path / "WITHOUT-EOS", "WITHOUT-WEIGHTS": tmp_path / "WITHOUT-WEIGHTS"}
    words = [str(folders.get(flag, flag)) for flag in flags]
    assert main(["run", "synthesizer", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_plan_lists_the_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "synthesizer", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    _, _, table = shown.partition("tasks: the collection\n")
    lines = table.partition("\n\n")[0].splitlines()  # estimates of the trainings follow
    assert [word.strip() for word in lines[0].split("  ") if word.strip()] == [
        "data set", "group", "category", "formats", "part", "contexts", "pairs", "tokens",
    ]  # fmt: skip
    rows = {
        cells[0]: cells for line in lines[1:] if len(cells := [c.strip() for c in line.split("  ") if c.strip()]) > 3
    }
    groups = {cells[1] for name, cells in rows.items() if not name.endswith(" sets")}
    assert len(groups) >= 40
    assert rows["fairytaleqa"][1:3] == ["stories", "narrative QA"]
    assert rows["fairytaleqa"][-1].startswith("~"), "no vocabulary yet: an estimate"
    assert rows["squad"][-1] == "-", "its rows are on the Hub"
    assert f"{len(groups)} groups" in shown


def test_plan_counts_tokens_once_there_is_a_vocabulary(recipe: Release, work: Path, released: Path) -> None:
    outline = recipe.outline(Run(root=str(work / "runs")))
    rows = {row[0]: row for row in outline.rows}
    assert set(rows) == {"comparative_sentences", "fairytaleqa", "narrativeqa", "narrativeqa_part", "4 sets"}
    counts = orjson.loads((work / "runs" / "tasks" / "manifest.json").read_bytes())["tally"]["counts"]
    assert int(rows["4 sets"][6].replace(",", "")) == counts["pairs"]
    assert int(rows["fairytaleqa"][7].replace(",", "")) > 10_000


def test_plan_says_what_would_be_refused(
    recipe: Release, work: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "synthesizer", "--sets", SETS[0], "--out", str(work / "runs")]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if " " in line}
    assert lines["vocabulary"].startswith("refused")
    assert "was made with other settings: settings.size: 600 -> 8192" in lines["vocabulary"]
    assert lines["passages"].startswith("missing")
    assert "~" in lines["sets"], "nothing of the other run is counted"
    run = Run(root=str(work / "runs"))
    assert not any(differences(stage, run) for stage in tree(recipe))
