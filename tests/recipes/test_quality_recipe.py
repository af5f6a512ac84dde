"""`instructpt run quality MODEL` as a user meets it: exams, attempts, scores, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from judge_server import NO, YES, serve

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run
from instructpt.cli.commands import main
from instructpt.engines.models import Prompting
from instructpt.errors import RecipeError
from instructpt.evaluation.attempts import Attempt, Quality
from instructpt.executors.make import make
from instructpt.files import streams
from instructpt.recipes.quality import Examination, examined, quality
from instructpt.records import Group, Score
from instructpt.report import render
from instructpt.report.artifacts import load_one
from instructpt.verification.judge import KEY_VARIABLE
from instructpt.words import vocabulary

HOSTILE = '<script>alert(1)</script> \x1b[2J <b onclick="x">'
CATALOG = """
unanswerable = ["The text does not say."]

[rivers]
category = "river facts"
group = "facts"
licence = "CC0-1.0"
part = "seen"
answers = "span"

[birds]
category = "bird facts"
group = "facts"
licence = "CC0-1.0"
part = "unseen"
answers = "span"
"""


def passage(name: str, number: int) -> str:
    return f"The {name} number {number} is {100 + number} metres away. It belongs to the town of Aldham."


def questions(name: str, number: int) -> list[tuple[str, str]]:
    return [
        (f"How far away is {name} number {number}?", f"{100 + number} metres"),
        (f"To which town does {name} number {number} belong?", "Aldham"),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a vocabulary, task data of two sets with their catalog, and raw text of two domains."""
    folder = tmp_path_factory.mktemp("quality")
    texts = [orjson.loads(line)["text"] for line in streams.lines("sample:held_out.jsonl.zst")]
    vocabulary.train(texts, size=1000, folder=folder / "model")
    rows = [
        {"dataset": f"{name}s", "context": passage(name, i), "question": question, "answer": answer}
        for name in ("river", "bird")
        for i in range(10)
        for question, answer in questions(name, i)
    ]
    (folder / "tasks.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (folder / "catalog.toml").write_text(CATALOG)
    for domain in ("law", "trade"):
        documents = [{"id": f"{domain}-{i} {HOSTILE}", "text": f"{passage(domain, i)} {HOSTILE}"} for i in range(7)]
        (folder / f"{domain}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in documents))
    return {
        "model": str(folder / "model"),
        "tasks": str(folder / "tasks.jsonl"),
        "catalog": str(folder / "catalog.toml"),
        "law": str(folder / "law.jsonl"),
        "trade": str(folder / "trade.jsonl"),
    }


def recipe(files: Mapping[str, str], **changes: Any) -> Quality:
    settings = {
        "tasks_data": (files["tasks"],),
        "catalog": files["catalog"],
        "passages": (files["law"], files["trade"]),
        "max_contexts": 4,
        "num_passages": 8,
        "examples": 2,
        "passage_tokens": 200,
        "window_tokens": 1500,
        "max_new_tokens": 300,
    }
    return quality(files["model"], **(settings | changes))


def knows_all(prompt: str) -> str:
    """A script: the gold pairs of the last passage; after an open question, its gold answer."""
    text = prompt.rpartition("<CON>")[2]
    _, name, _, number, *_ = text.partition("</CON>")[0].split()
    pairs = questions(name, int(number))
    if text.endswith("<ANS>"):
        return next(f" {answer} </END>" for question, answer in pairs if question in text)
    return "\n\n".join(f"<QUE> {question} <ANS> {answer} </END>" for question, answer in pairs)


def run_with(root: Path, script: Callable[[str], str], **options: Any) -> Run:
    return Run(root=str(root), workers=1, engine=SCRIPTED, engine_options={"script": script} | options)


def scores(root: Path) -> dict[tuple[str, str], Score]:
    return {(score.task, score.metric): score for score in load_one(str(root / "quality")).records(Score)}


def test_a_model_that_knows_all_has_full_marks_on_every_exam(files: dict[str, str], tmp_path: Path) -> None:
    make(recipe(files), run_with(tmp_path, knows_all))
    found = scores(tmp_path)
    for task in ("seen/zero-shot", "seen/few-shot", "unseen/zero-shot", "unseen/few-shot"):
        for metric in ("well_formed", "similarity_to_gold", "grounded", "response_f1", "response_exact_match"):
            assert found[task, metric].value == 1.0, (task, metric)
            assert found[task, metric].stderr == 0.0
        assert found[task, "pairs_per_passage"].count == 4
        assert found[task, "response_f1"].count == 8
    assert found["passages", "well_formed"].count == 8
    assert found["passages/law", "well_formed"].count == found["passages/trade", "well_formed"].count == 4
    assert found["passages", "grounded"].value == 1.0


def test_examples_stand_before_a_context_in_few_shot_exams_alone(files: dict[str, str], tmp_path: Path) -> None:
    seen: list[str] = []

    def remembers(prompt: str) -> str:
        seen.append(prompt)
        return knows_all(prompt)

    make(recipe(files), run_with(tmp_path, remembers))
    exam = list(load_one(str(tmp_path / "unseen-exam")).records(Group))
    assert [group.id.partition(":")[0] for group in exam] == [f"birds/{place:06d}" for place in (0, 2, 5, 7)]
    for group in exam:
        texts = [shot.document.text for shot in group.shots]
        assert len(set(texts)) == 3
        few = [
            prompt for prompt in seen if prompt.count("<CON>") == 3 and prompt.rpartition("<CON>")[2].count(texts[-1])
        ]
        assert few
        assert all(text in prompt for prompt in few for text in texts)
    tally = load_one(str(tmp_path / "unseen-exam")).tally
    assert (tally.taken, tally.kept, tally.dropped) == (10, 4, {"not_drawn": 6})


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(files: dict[str, str], tmp_path: Path) -> None:
    target = recipe(files, examples=0)
    make(target, run_with(tmp_path / "whole", knows_all, log=tmp_path / "whole-asked.log"))
    left = 21

    def stops(prompt: str) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("killed")
        return knows_all(prompt)

    one_by_one = {"workers": 1, "engine": SCRIPTED, "chains_in_flight": 1}
    run = Run(root=str(tmp_path / "resumed"), engine_options={"script": stops}, **one_by_one)
    with pytest.raises(RuntimeError, match="killed"):
        make(target, run)
    assert list((tmp_path / "resumed").glob("*/00000.open/ledger.sqlite"))
    options = {"script": knows_all, "log": tmp_path / "resumed-asked.log"}
    make(target, Run(root=str(tmp_path / "resumed"), engine_options=options, **one_by_one))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    whole, resumed = ((tmp_path / f"{name}-asked.log").read_text().splitlines() for name in ("whole", "resumed"))
    assert len(resumed) == len(whole) - 21
    assert make(target, run_with(tmp_path / "whole", stops)) == 0, "all is there: nothing is asked"


def test_a_mix_of_categories_stands_beside_what_was_written(files: dict[str, str], tmp_path: Path) -> None:
    """A model of the dialect `steered` that writes what it is asked for, and only "a" when nothing is asked."""

    def obeys(prompt: str) -> str:
        text = prompt.rpartition("<CON>")[2]
        if text.endswith("<ANS>"):
            return " so </END>"
        asked = text.partition("<ASK>")[2].partition("</ASK>")[0]
        counts = [item.split(maxsplit=1) for item in asked.split("|")] if asked else [("2", "a")]
        names = [name.strip() for count, name in counts for _ in range(int(count))]
        return "\n\n".join(f"<CAT> {name} <QUE> What is {i}? <ANS> It. </END>" for i, name in enumerate(names))

    target = recipe(files, dialect="steered", categories="a=1,b=3", pairs=4, examples=0)
    make(target, run_with(tmp_path, obeys))
    found = scores(tmp_path)
    assert found["steered", "asked/b"].value == 0.75
    assert found["steered", "category/b"].value == pytest.approx(0.75, abs=0.1)
    assert found["steered", "category_entropy_bits"].value > 0
    assert found["passages", "category/a"].value == 1.0
    page = render(str(tmp_path), title="t")
    assert "steered: asked for and written" in page


def test_a_judge_is_asked_about_pairs_on_raw_passages(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret-of-the-test")
    with serve() as server:
        server.behaviour = lambda prompt, _: (
            (400, "no") if "law number 0" in prompt else (200, YES if "Aldham\n</answer>" in prompt else NO)
        )
        target = recipe(files, judge=server.url, judge_model="wise", judge_pairs=100, examples=0)
        make(target, run_with(tmp_path, knows_all))
        num_asked = len(server.asked)
        assert num_asked == 16
    found = scores(tmp_path)
    assert found["passages", "judged_accurate"].value == 0.5
    assert found["passages", "judged_relevant"].value == 1.0
    assert found["passages", "judged_accurate"].count == 14
    assert load_one(str(tmp_path / "passages-judged")).tally.dropped == {"prompt_refused": 2}
    assert b"secret-of-the-test" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    elsewhere = recipe(files, judge="http://127.0.0.1:9/v1", judge_model="wise", judge_pairs=100, examples=0)
    assert make(elsewhere, run_with(tmp_path, knows_all)) == 0, "a judge at another address is the same judge"


def test_the_report_shows_what_was_written_and_obeys_none_of_it(files: dict[str, str], tmp_path: Path) -> None:
    def hostile(prompt: str) -> str:
        return f"<QUE> {HOSTILE}? <ANS> {HOSTILE} </END> {HOSTILE}" if "<ANS>" not in prompt[-9:] else HOSTILE

    make(recipe(files, examples=0), run_with(tmp_path, hostile))
    page = render(str(tmp_path), title="t")
    assert "<script" not in page
    assert "<b onclick" not in page
    assert "\x1b" not in page
    assert "What it writes" in page
    assert page.index("What it writes") < page.index("All numbers")
    assert "no pair: no_end_tag" in page


# The command


@pytest.fixture(scope="module")
def tiny_model(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of random weights with the vocabulary of `files`."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=1000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        sliding_window=None,
    )
    MistralForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(files["model"]) / name).read_bytes())
    speech = {"dialect": "tags", "passage_tokens": 96, "window_tokens": 256, "max_new_tokens": 24}
    (folder / "synthesizer.json").write_bytes(orjson.dumps(speech))
    return folder


def test_the_command_on_the_sample_with_a_model_and_its_base(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "synthesizer.json":
            (base / path.name).write_bytes(path.read_bytes())
    words = ["run", "quality", str(tiny_model), "--base", str(base), "--out", str(tmp_path / "out")]
    words += ["--max-contexts", "1", "--num-passages", "8", "--examples", "1", "--answer-tokens", "8", "--workers", "1"]
    assert main([*words, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    for expected in ("seen/zero-shot", "unseen/few-shot", "passages/finance", "well_formed", "response_f1"):
        assert expected in shown
    rows = pq.read_table(tmp_path / "out" / "quality" / "00000.parquet").to_pylist()
    assert {row["model"] for row in rows} == {str(tiny_model)}
    settings = orjson.loads((tmp_path / "out" / "seen-zero-shot-pairs" / "recipe.json").read_bytes())["settings"]
    assert (settings["dialect"], settings["window_tokens"], settings["max_new_tokens"]) == ("tags", 256, 24)
    tuned, untuned = (scores_of(tmp_path / "out", model) for model in (str(tiny_model), str(base)))
    assert tuned == untuned, "the same weights write the same pairs"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Quality of the synthesizer" in page
    before = contents(tmp_path / "out")
    assert main([*words, "--device", "cpu"]) == 0
    assert contents(tmp_path / "out") == before


def scores_of(root: Path, model: str) -> dict[tuple[str, str], tuple[float, float | None]]:
    found = load_one(str(root / "quality")).records(Score)
    return {(s.task, s.metric): (s.value, s.stderr) for s in found if s.model == model}


def test_help_and_mistakes(files: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "quality", "--help"])
    assert stop.value.code == 0
    assert "--max-contexts" in capsys.readouterr().out
    for flags, message in (
        (["--passage-tokens", "4000"], "do not fit a window of 4096"),
        (["--judge", "http://", "--judge-model", "m"], "the endpoint http:// is no address"),
        (["--judge", "http://localhost:1/v1"], "the judge's model is not named"),
        (["--categories", "a=1"], "cannot ask for categories"),
    ):
        assert main(["run", "quality", files["model"], "--out", str(tmp_path), *flags]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    with pytest.raises(RecipeError, match="only pairs are asked for by kind"):
        Attempt(name="a", exam=recipe(files), model="m", mode="answers", categories="a=1")  # type: ignore[arg-type]


def test_a_recipe_of_ones_own_examines_a_model_that_a_stage_makes(files: dict[str, str], tmp_path: Path) -> None:
    """What `quality` does with a folder, `examined` does with stages: other groups, other passages."""
    trials = {trial.task: trial for trial in recipe(files).trials}
    prompting = Prompting("tags", passage_tokens=200, window_tokens=1500, max_new_tokens=300)
    target = examined(
        files["model"],
        base=None,
        gold={"mine": trials["seen/zero-shot"].exam},
        passages=trials["passages"].exam.contexts,  # type: ignore[attr-defined]
        examination=Examination(prompting=prompting, examples=0),
        max_contexts=3,
        num_passages=2,
    )
    make(target, run_with(tmp_path, knows_all))
    assert {task for task, _ in scores(tmp_path)} == {"mine/zero-shot", "passages", "passages/law", "passages/trade"}
