"""An estimate before a run, beside what the run then does."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from benchmarks.scripted_engine import SCRIPTED
from instructpt.artifacts import Run, tree
from instructpt.artifacts.budget import Budget
from instructpt.cli.commands import main
from instructpt.corpus.sampling import sample
from instructpt.corpus.stages import Split
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.recipes.general import general
from instructpt.report.estimate import Wishes, estimates
from instructpt.synthesis.stages import Synthesize
from instructpt.words import vocabulary


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    vocabulary.train(["The heron waits in the shallow water and eats a fish. " * 20], size=400, folder=folder)
    return str(folder)


def corpus(folder: Path, *, files: int, documents: int) -> str:
    folder.mkdir(exist_ok=True)
    for number in range(files):
        rows = []
        for place in range(documents):
            sentences = [f"Heron {place} of pond {number} waits for fish number {n}." for n in range(4 + place % 9 * 4)]
            rows.append(orjson.dumps({"id": f"{number}-{place}", "text": " ".join(sentences)}) + b"\n")
        (folder / f"{number}.jsonl").write_bytes(b"".join(rows))
    return str(folder)


def numbers(line: tuple[str, ...]) -> list[int]:
    return [int(cell.removeprefix("~").replace(",", "")) for cell in line[1:]]


def planned(files: str, model: str, root: Path, **wishes: float) -> tuple[Synthesize, list[int], tuple[str, ...]]:
    target = augment((files,), model=model, passage_tokens=200, window_tokens=900, max_new_tokens=300)
    run = Run(root=str(root), engine=SCRIPTED, workers=1)
    (outline,) = estimates(target, run, Wishes(**wishes))  # type: ignore[arg-type]
    groups = next(stage for stage in tree(target) if isinstance(stage, Synthesize))
    make(target, run)
    manifest = run.manifest(groups)["tally"]
    return groups, numbers(outline.rows[-1]), (*outline.notes, str(manifest["taken"]))


def test_a_corpus_that_is_read_whole_is_counted_exactly(tmp_path: Path, model: str) -> None:
    _, (passages, _, _), notes = planned(corpus(tmp_path / "c", files=3, documents=20), model, tmp_path / "run")
    assert passages == int(notes[-1])
    assert "100.00% of the corpus" in notes[0]


def test_a_sample_comes_near_the_whole(tmp_path: Path, model: str) -> None:
    files = corpus(tmp_path / "c", files=4, documents=150)
    _, (passages, prompt_tokens, _), notes = planned(files, model, tmp_path / "run", sample_documents=120)
    assert passages == pytest.approx(int(notes[-1]), rel=0.15)
    assert prompt_tokens > passages * 100


def test_a_portion_of_the_documents_is_counted_as_one(tmp_path: Path, model: str) -> None:
    files = corpus(tmp_path / "c", files=3, documents=40)
    target = general(files=(files,), arm="instruct", shape="1m", synthesizer=model, augmented_share=0.25)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED)
    passages = next(stage for stage in tree(target) if isinstance(stage, Split))
    sampled = sample(passages, run, num_documents=1000)
    assert sampled.num_passages == pytest.approx(len(sampled.passages) / 4)


def test_hours_accelerators_and_cost_follow_from_the_speed(tmp_path: Path, model: str) -> None:
    target = augment((corpus(tmp_path / "c", files=1, documents=30),), model=model, max_new_tokens=300)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED, budget=Budget(price_per_hour=2.0))
    (outline,) = estimates(target, run, Wishes(speed=1.0, answer_tokens=360.0, wished_hours=0.5))
    _, _, output_tokens = numbers(outline.rows[-1])
    hours = output_tokens / 3600
    assert f"in 0.5 hours: {-(-hours // 0.5):.0f} accelerators" in outline.notes
    cost = next(float(note.split()[1].rstrip(",")) for note in outline.notes if note.startswith("cost: "))
    assert cost == pytest.approx(hours * 2, rel=0.01), "the table's numbers are rounded to three digits"


def test_the_engine_is_asked_where_that_is_wished(tmp_path: Path, model: str) -> None:
    target = augment((corpus(tmp_path / "c", files=1, documents=30),), model=model, max_new_tokens=300)
    run = Run(root=str(tmp_path / "run"), engine=SCRIPTED)
    (outline,) = estimates(target, run, Wishes(measure=8))
    assert any("measured on 8 passages" in note for note in outline.notes)
    assert any(f"measured here with --engine {SCRIPTED}" in note for note in outline.notes)


def test_a_training_is_told_in_operations(tmp_path: Path) -> None:
    target = general(files=(corpus(tmp_path / "c", files=1, documents=30),), arm="raw", shape="1m")
    outlines = list(estimates(target, Run(root=str(tmp_path / "run")), Wishes()))
    assert any(outline.columns[-1] == "hours on one H100" for outline in outlines)


def test_plan_makes_nothing(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = corpus(tmp_path / "c", files=1, documents=10)
    words = ["plan", "augment", files, "--model", model, "--engine", SCRIPTED, "--speed", "100"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "on one accelerator" in capsys.readouterr().out
    assert main([*words, "--near-duplicates", "0.9", "--out", str(tmp_path / "run")]) == 0
    assert "on one accelerator" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_what_is_not_read_from_files_cannot_be_sampled(tmp_path: Path) -> None:
    target = augment((corpus(tmp_path / "c", files=1, documents=2),), mine=True)
    documents = next(stage for stage in tree(target) if stage.name == "documents")
    with pytest.raises(RecipeError, match="its size cannot be told before it is made"):
        sample(documents, Run(root=str(tmp_path)), num_documents=10)
