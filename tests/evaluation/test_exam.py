"""What a user relies on when a model is examined: right marks, honest books, and mistakes that are named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import corpus_rows, write_corpus
from written_artifact import write_artifact

from instructpt.artifacts import Run
from instructpt.cli.commands import main
from instructpt.collection.questions import read_questions
from instructpt.errors import InputError, RecipeError
from instructpt.evaluation import questioning
from instructpt.evaluation.answers import Reader, load_reader, prompt
from instructpt.evaluation.exam import Questions, is_control, marked, write
from instructpt.evaluation.perplexity import perplexity
from instructpt.executors.make import make
from instructpt.recipes.exam import exam, hold_back
from instructpt.records import Document, Group, Item, Pair, Score, Shot
from instructpt.report import render

PASSAGES = [{**row, "title": f"Bridge {number}"} for number, row in enumerate(corpus_rows(24))]
QUESTIONS: list[dict[str, Any]] = [
    {"passage_id": f"doc-{number}", "question": question.format(number), "answers": answers}
    for number in range(24)
    for question, answers in (
        ("In which year was bridge number {} built?", ["1843", "in 1843"]),
        ("Which river does bridge number {} cross?", ["the Cole", "Cole"]),
    )
]
CHOICES = [
    {"passage_id": f"doc-{n}", "question": f"Who built {n}?", "answer": "Mary", "options": ["Mary", "Oakley"]}
    for n in range(24)
]


@pytest.fixture(scope="module")
def reader(tiny_model: Path) -> Reader:
    return load_reader(tiny_model)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_corpus(tmp_path_factory.mktemp("corpus") / "passages.jsonl", PASSAGES))


def questions_file(folder: Path, rows: list[dict[str, Any]]) -> str:
    return str(write_corpus(folder / "questions.jsonl", rows))


def run(folder: Path) -> Run:
    return Run(root=str(folder), workers=1, device="cpu")


def scores_of(folder: Path, model: str, corpus: str, rows: list[dict[str, Any]], **settings: Any) -> dict[Any, Score]:
    stage = exam(model, on=(corpus,), questions=(questions_file(folder, rows),), max_new_tokens=4, **settings)
    make(stage, run(folder / "out"))
    return {(score.task, score.metric): score for score in run(folder / "out").records(stage, 0)}


# marks


@pytest.mark.parametrize(
    ("written", "exact_match", "f1", "containment"),
    [
        ("1843", 1, 1, 1),
        ("In the year 1843.", 1, 1, 1),
        ("It was built in 1843.", 0, 0.5, 1),
        ("in 1921", 0, 0.4, 0),
        ("", 0, 0, 0),
    ],
)
def test_the_best_of_the_accepted_answers_counts(
    written: str, exact_match: float, f1: float, containment: float
) -> None:
    item = Item("closed_book", 0, "0", "1843", "", {"bits_per_byte": 2.0}, 4)
    found = marked(item, Pair("When?", "1843", accepted=("in the year 1843",)), written)
    assert found.values == {
        "bits_per_byte": 2.0,
        "exact_match": exact_match,
        "f1": pytest.approx(f1, abs=1e-9),
        "containment": containment,
    }
    assert (found.task, found.answer) == ("closed_book", written)


def test_what_is_written_is_the_likeliest_token_each_time(reader: Reader) -> None:
    import torch

    texts = ["Who paid?\nAnswer:", "In which year was the bridge over the river built?\nAnswer:", "A"]
    prompts = [reader.vocabulary.sequence([text]) for text in texts]
    together = write(reader, prompts, max_new_tokens=6)
    for ids, found in zip(prompts, together, strict=True):
        alone = list(ids)
        for _ in range(6):
            with torch.inference_mode():
                alone.append(int(reader.model(torch.tensor([alone])).logits[0, -1].argmax()))
        text = reader.vocabulary.decode(alone[len(ids) :]).strip()
        assert found == text.partition("\n")[0].strip()
    assert write(reader, [[0] * 256, prompts[0]], max_new_tokens=6) == ["", together[0]], "no position is left"


# the exam


def test_an_exam_from_a_file(tiny_model: Path, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = questions_file(tmp_path, [*QUESTIONS, *CHOICES])
    words = ["exam", str(tiny_model), "--on", corpus, "--questions", file, "--out", str(tmp_path / "out")]
    words += ["--max-new-tokens", "4", "--device", "cpu"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "closed_book" in said
    stage = exam(str(tiny_model), on=(corpus,), questions=(file,), max_new_tokens=4)
    found = {(score.task, score.metric): score for score in run(tmp_path / "out").records(stage, 0)}
    for book in ("closed_book", "open_book"):
        assert {metric for task, metric in found if task == book} == {
            "bits_per_byte", "exact_match", "f1", "containment"
        }  # fmt: skip
        assert "choice_accuracy" in {metric for task, metric in found if task == f"{book}/choice"}
        assert found[book, "f1"].count == 48
        assert found[f"{book}/choice", "choice_accuracy"].count == 24
        assert found[book, "bits_per_byte"].stderr
    page = render(str(tmp_path / "out"), title="Exam")
    assert "closed_book" in page
    assert "open_book" in page


def test_the_closed_book_has_the_question_alone_and_the_open_book_the_passage(
    reader: Reader, tiny_model: Path, corpus: str, tmp_path: Path
) -> None:
    """Bits are those of the answer after the very prompt, as `perplexity` sees the same text."""
    rows = [{**row, "answers": row["answers"][:1]} for row in QUESTIONS]
    found = scores_of(tmp_path, str(tiny_model), corpus, rows)
    pair = Pair(rows[0]["question"], "1843")
    stage = exam(str(tiny_model), on=(corpus,), questions=(str(tmp_path / "questions.jsonl"),), max_new_tokens=4)
    items = list(run(tmp_path / "out").records(stage.items, 0))
    closed, opened = items[0], items[2]
    assert (closed.task, closed.part, opened.task, opened.part) == ("closed_book", "0", "open_book", "0")
    assert (items[4].place, items[4].part, items[4].gold) == (1, "2", "1843")

    def bits(text: str) -> float:
        (score, *_) = perplexity(tiny_model, [Document("a", text, "s")], row_tokens=256, model_name="m")
        return score.value * len(text.encode())

    for item, context in ((closed, "Bridge 0"), (opened, f"Bridge 0\n\n{PASSAGES[0]['text']}")):
        before = prompt(context, pair)
        assert item.values["bits_per_byte"] * 4 == pytest.approx(bits(f"{before} 1843") - bits(before), rel=1e-3)
    assert found["closed_book", "bits_per_byte"].value != found["open_book", "bits_per_byte"].value


def test_questions_in_the_training_texts_are_counted_and_scored_apart(
    tiny_model: Path, corpus: str, tmp_path: Path
) -> None:
    seen = [QUESTIONS[place]["question"] for place in (0, 7, 30)]
    rows = [{"id": str(place), "text": f"A text. Q: {text.upper()} A: 1843"} for place, text in enumerate(seen)]
    rows.append({"id": "near", "text": QUESTIONS[9]["question"].replace("river", "brook")})
    trained_on = str(write_corpus(tmp_path / "texts.jsonl", rows))
    found = scores_of(tmp_path, str(tiny_model), corpus, QUESTIONS, trained_on=(trained_on,), open_book=False)
    counts = {metric: found["closed_book", metric].count for metric in ("f1", "f1/clean", "f1/overlapping")}
    assert counts == {"f1": 48, "f1/clean": 45, "f1/overlapping": 3}
    assert not [task for task, _ in found if task.startswith("open_book")]


def test_questions_on_documents_that_were_not_trained_on_are_a_task_of_their_own(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [{**row, "id": f"more-{row['id']}"} for row in PASSAGES]
    corpus, control = (str(write_corpus(tmp_path / name, rows_of)) for name, rows_of in (
        ("corpus.jsonl", PASSAGES), ("control.jsonl", rows)
    ))  # fmt: skip
    questions = QUESTIONS + [{**row, "passage_id": f"more-{row['passage_id']}"} for row in QUESTIONS[:40]]
    found = scores_of(tmp_path, str(tiny_model), corpus, questions, control=(control,), max_questions=1)
    assert {task: score.count for (task, metric), score in found.items() if metric == "f1"} == {
        "closed_book": 24, "open_book": 24, "closed_book/control": 20, "open_book/control": 20
    }  # fmt: skip


def test_an_exam_that_was_broken_off_goes_on(
    tiny_model: Path, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questioning, "PASSAGES_A_SHARD", 10)
    whole = scores_of(tmp_path, str(tiny_model), corpus, QUESTIONS)
    items = tmp_path / "out" / "items"
    assert len(list(items.glob("*.parquet"))) == 3
    before = (items / "00000.parquet").stat().st_mtime_ns
    for name in ("manifest.json", "00001.parquet", "00001.json"):
        (items / name).unlink()
    shutil.rmtree(tmp_path / "out" / "scores")
    assert scores_of(tmp_path, str(tiny_model), corpus, QUESTIONS) == whole
    assert (items / "00000.parquet").stat().st_mtime_ns == before


def test_a_model_without_begin_of_text_is_examined(tiny_model: Path, corpus: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    for name in ("config.json", "tokenizer_config.json"):
        values = orjson.loads((folder / name).read_bytes())
        (folder / name).write_bytes(orjson.dumps({k: v for k, v in values.items() if not k.startswith("bos_token")}))
    assert load_reader(folder).vocabulary.bos is None
    found = scores_of(tmp_path, str(folder), corpus, QUESTIONS)
    assert found["closed_book", "bits_per_byte"].value > 0


# mistakes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*QUESTIONS, {**QUESTIONS[0], "passage_id": "doc-99"}], "1 of 49 questions .* not in the corpus, .* 'doc-99'"),
        (QUESTIONS[:10], r"10 questions on 5 passages: an interval needs at least 20 .* on 15 more"),
        ([{**QUESTIONS[0], "answers": []}], "question 1 of .* has no accepted answer"),
        ([QUESTIONS[0], {"passage_id": "doc-1", "answers": ["x"]}], "question 2 of .* question None: give both"),
        ([{**CHOICES[0], "options": ["Oakley"]}], "'Mary', which is none of its options"),
        ([], "holds no questions"),
    ],
)
def test_what_is_wrong_with_questions_is_said(
    rows: list[dict[str, Any]], message: str, tiny_model: Path, corpus: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        scores_of(tmp_path, str(tiny_model), corpus, rows)


def test_two_documents_of_one_id_cannot_be_asked_about(tiny_model: Path, tmp_path: Path) -> None:
    corpus = str(write_corpus(tmp_path / "twice.jsonl", [*PASSAGES, {"id": "doc-3", "text": "Another text."}]))
    with pytest.raises(InputError, match="two documents have the id 'doc-3'"):
        scores_of(tmp_path, str(tiny_model), corpus, QUESTIONS)


def test_any_format_of_corpora_holds_questions(tmp_path: Path) -> None:
    file = tmp_path / "questions.csv"
    file.write_text("passage_id,question,answer\ndoc-1,Who paid?,the county\n")
    (question,) = read_questions([str(file)])
    assert (question.passage_id, question.pair) == ("doc-1", Pair("Who paid?", "the county"))


def test_questions_on_passages_that_were_left_out_of_training_are_counted(corpus: str, tmp_path: Path) -> None:
    from instructpt.corpus.stages import Read

    stage = Questions(
        name="exam",
        files=(questions_file(tmp_path, QUESTIONS),),
        documents=Read(name="documents", files=(corpus,)),
        trained_on=Read(name="trained", files=(corpus,), limit=22),
        control=Read(name="held-out", files=(corpus,), skip=23),
    )
    make(stage, run(tmp_path / "out"))
    groups = list(run(tmp_path / "out").records(stage, 0))
    assert [type(group) for group in groups] == [Group] * 22
    tally = run(tmp_path / "out").manifest(stage)["tally"]
    assert tally["dropped"] == {"passage_not_trained_on": 2, "too_few_for_a_control_set": 2}
    assert tally["kept"] == 44


# an exam from the corpus' own pairs


def verified(folder: Path) -> str:
    """Groups of two passages with four pairs each, of which a reader confirmed three."""
    shots = []
    for number in range(60):
        pairs = [Pair(f"How many arches has bridge {number}?", f"{number} arches", agreement=1.0)]
        pairs += [Pair(f"Who built bridge {number}?", "Mary Ashworth", agreement=0.9)]
        pairs += [
            Pair("What is the text about?", "a bridge", agreement=1.0),
            Pair(f"Why {number}?", "so", agreement=0.6),
        ]
        document = Document(f"doc-{number}", f"Bridge {number} has {number} arches. Mary Ashworth built it.", "s")
        shots.append(Shot(document, tuple(pairs)))
    groups = [Group(f"g{place}", tuple(shots[place : place + 2])) for place in range(0, 60, 2)]
    write_artifact(folder, Group, [groups])
    return str(folder)


def test_held_back_pairs_are_asked_and_never_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    texts = hold_back(verified(tmp_path / "verified"), control_share=0.4, seed=1)
    make(texts, run(tmp_path / "held"))
    groups = {name: list(run(tmp_path / "held").records(stage, 0)) for name, stage in (
        ("exam", texts.groups.exam), ("left", texts.groups), ("texts", texts)
    )}  # fmt: skip
    control = [group for group in groups["exam"] if is_control(group)]
    asked = [group for group in groups["exam"] if not is_control(group)]
    assert len(control) + len(asked) == 60
    assert 15 <= len(control) <= 33
    assert all(len(group.shots[0].pairs) == 1 for group in asked)
    assert all(len(group.shots[0].pairs) == 2 for group in control)
    questions = {pair.question for group in groups["exam"] for pair in group.shots[0].pairs}
    assert not {"What is the text about?", "Why 3?"} & questions, "asked of every passage; not confirmed"
    left = [shot for group in groups["left"] for shot in group.shots]
    assert len(left) == len(asked)
    assert all(len(shot.pairs) == 3 for shot in left)
    written = "\n".join(text.text for text in groups["texts"])
    assert not [question for question in questions if question in written]
    assert not [group for group in control if group.shots[0].document.text in written]
    stage = exam(str(tiny_model), on=(str(tmp_path / "held" / "exam"),), max_new_tokens=4)
    make(stage, run(tmp_path / "scores"))
    counts = {score.task: score.count for score in run(tmp_path / "scores").records(stage, 0) if score.metric == "f1"}
    assert counts["closed_book"] == len(asked)
    assert counts["closed_book/control"] == 2 * len(control)


def test_an_exam_without_questions_or_a_reader_is_refused(tiny_model: Path, corpus: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give files with --questions, or as --on the exam"):
        exam(str(tiny_model), on=(corpus,))
    shots = tuple(Shot(Document(str(i), f"Text {i}", "s"), (Pair("Who?", "I"), Pair("What?", "A"))) for i in range(30))
    write_artifact(tmp_path / "groups", Group, [[Group("g", shots)]])
    with pytest.raises(InputError, match="instructpt verify ARTIFACT --consistency READER first"):
        make(hold_back(str(tmp_path / "groups")), run(tmp_path / "held"))
