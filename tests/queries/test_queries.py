"""`augment --queries`: each question is counted once, answered from its passage or listed, and in no log."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from answering_engine import ANSWERING
from conftest import SENTENCES, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from instructpt.artifacts import Run
from instructpt.cli.commands import main
from instructpt.errors import InputError, RecipeError
from instructpt.executors.make import make
from instructpt.queries import answering, reading
from instructpt.queries.index import Search, build, terms
from instructpt.queries.reading import key, read_queries
from instructpt.queries.templates import template
from instructpt.recipes.augment import augment
from instructpt.records import Document, Group, Pair, Reject, Text
from instructpt.report.artifacts import load_one

CORPUS = [
    {"id": str(number), "text": f"{' '.join(sentences)} This is page {number} of the county's records, kept in a box."}
    for number, sentences in enumerate(
        (
            SENTENCES[:2],
            SENTENCES[2:4],
            SENTENCES[4:6],
            SENTENCES[6:],
            ["Each spring the mill sells flour, oats and rye to bakers of the town at a low price."],
            ["The inn has nine rooms, a kitchen with two stoves and a yard in which coaches turned."],
        )
    )
]
"""Passages of which no two say the same."""
PRIVATE = "Erika.Mustermann@example.org"
LOG = (
    "Who built the bridge over the river Cole in 1843?",
    "who built the bridge over the river cole in 1843",
    "",
    "how long is it in metres and how many railway lines does it carry",
    f"why does the valley flood every spring, and why do its pillars stand on wooden piles? {PRIVATE}",
    "which secret repair cost 12,000 pounds",
    "was it wrong that the western pillar sank by centimetres",
    "wie viel hat die Reparatur gekostet und wer hat das für die Brücke bezahlt",
    "photosynthesis chlorophyll wavelength",
    "?!",
    "x" * 2_000,
)


def log(folder: Path, *lines: str) -> str:
    path = folder / "log.txt"
    path.write_text("\n".join(lines or LOG))
    return str(path)


def run(root: Path) -> Run:
    return Run(root=str(root), workers=1, device="cpu", engine=ANSWERING)


def recipe(folder: Path, vocabulary_folder: Path, **changes: Any) -> Any:
    corpus = write_corpus(folder / "my.jsonl", CORPUS)
    flags: dict[str, Any] = {
        "model": str(vocabulary_folder),
        "reader": str(vocabulary_folder),
        "queries": (log(folder),),
        "passage_tokens": 96,
    }
    return augment((str(corpus),), **(flags | changes))


def tally(root: Path, name: str) -> dict[str, Any]:
    return dict(orjson.loads((root / name / "manifest.json").read_bytes())["tally"])


def records(root: Path, name: str, kind: type[Any]) -> list[Any]:
    return list(load_one(str(root / name)).records(kind))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, vocabulary_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("queries")
    make(recipe(folder, vocabulary_folder), run(folder / "out"))
    return folder / "out"


def test_each_query_is_counted_once_and_the_unanswered_are_listed_with_their_reason(made: Path) -> None:
    read = tally(made, "queries")
    assert read["taken"] == 10, "blank lines are no rows"
    assert read["dropped"] == {"repeated": 1, "no_words": 1, "too_long": 1}
    matched = tally(made, "queries-matched")["counts"]
    assert sum(matched.values()) == read["kept"] == 7
    assert matched == {"matched": 5, "unmatched/other_language": 1, "unmatched/no_passage": 1}
    counts = tally(made, "queries-unanswered")["counts"]
    answered = {
        pair.question for group in records(made, "queries-checked", Group) for s in group.shots for pair in s.pairs
    }
    open_ones = {query.text: query.meta["reason"] for query in records(made, "queries-unanswered", Document)}
    assert len(answered) == counts["queries_answered"]
    assert len(answered) + len(open_ones) == counts["queries"] == 7
    assert open_ones[LOG[5]] == "empty_answer"
    assert open_ones[LOG[6]] in ("grounded", "unsupported_name", "unsupported_number")
    assert open_ones[LOG[7]] == "other_language"
    assert open_ones[LOG[8]] == "no_passage"
    assert answered == {LOG[0], LOG[3], LOG[4]}


def test_a_question_stands_beside_its_passage_before_what_was_written_anyway(made: Path) -> None:
    shots = [shot for group in records(made, "groups", Group) for shot in group.shots]
    own = [shot for group in records(made, "own-read", Group) for shot in group.shots]
    assert [shot.document for shot in shots] == [shot.document for shot in own]
    asked = [(shot, pair) for shot in shots for pair in shot.pairs if pair.question == LOG[0]]
    assert len(asked) == 1
    shot, pair = asked[0]
    assert shot.pairs[0] == pair or shot.pairs[0].question in LOG
    assert SENTENCES[0] in shot.document.text
    assert pair.answer == SENTENCES[0]
    assert pair.agreement == 1.0, "the reader said the same"
    assert tally(made, "groups")["counts"]["pairs_added"] == 3
    assert any(LOG[0] in text.text for text in records(made, "texts", Text))


def test_nothing_of_a_query_is_in_manifests_status_or_what_a_run_says(
    tmp_path: Path, vocabulary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", CORPUS), tmp_path / "out"
    words = ["augment", str(corpus), "--queries", log(tmp_path), "--model", str(vocabulary_folder), "--reader"]
    words += [str(vocabulary_folder), "--engine", ANSWERING, "--out", str(out), "--workers", "1"]
    words += ["--query-templates", "2"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "queries-unanswered: 3 of 7 queries answered" in said.out
    told = [path for path in out.rglob("*") if path.suffix in (".json", ".jsonl") and path.is_file()]
    assert len(told) > 10
    for text in (said.out, said.err, *(path.read_text() for path in told)):
        for query in LOG:
            assert len(query) < 3 or query not in text
        assert PRIVATE not in text
    assert main(["plan", *words]) == 0
    planned = capsys.readouterr().out
    assert "queries: 10 rows" in planned
    assert PRIVATE not in planned
    assert main(["show", str(out / "queries-unanswered"), "9"]) == 0
    assert "reason: no_passage" in capsys.readouterr().out


def test_killed_while_it_asks_and_run_again_gives_the_same_bytes(
    vocabulary_folder: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = made.with_name("again")
    stage, real, calls = recipe(made.parent, vocabulary_folder), answering._count, list[int]()

    def killed(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(answering, "_count", killed)
    with pytest.raises(KeyboardInterrupt):
        make(stage, run(again))
    monkeypatch.undo()
    assert (again / "queries-answered" / "00000.open" / "ledger.sqlite").exists()
    make(stage, run(again))
    names = [path.relative_to(made) for path in sorted(made.rglob("*.parquet"))]
    assert len(names) > 10
    assert [(again / name).read_bytes() for name in names] == [(made / name).read_bytes() for name in names]


def test_mined_pairs_and_no_answerable_query_are_no_end_of_a_run(tmp_path: Path, vocabulary_folder: Path) -> None:
    queries = (log(tmp_path, "photosynthesis chlorophyll wavelength"),)
    make(recipe(tmp_path, vocabulary_folder, mine=True, queries=queries), run(tmp_path / "out"))
    assert tally(tmp_path / "out", "groups")["counts"]["pairs"] > 0
    assert tally(tmp_path / "out", "queries-unanswered")["counts"]["unanswered/no_passage"] == 1


BRIDGES = [
    {"id": "cole", "text": "Ada Brekke built the bridge over the Cole in 1843. It carries two railway lines."},
    {"id": "tees", "text": "The bridge over the Tees was built by Jon Lund in the year 1790. It is made of stone."},
    {"id": "mill", "text": "Each spring the mill sells flour and oats to bakers of the town at a low price."},
]


def test_a_question_is_put_to_other_passages_as_a_template(tmp_path: Path, vocabulary_folder: Path) -> None:
    corpus = write_corpus(tmp_path / "my.jsonl", BRIDGES)
    asked = ("who built the bridge over the cole in 1843", "what does the mill sell each spring", LOG[8])
    stage = augment(
        (str(corpus),),
        model=str(vocabulary_folder),
        queries=(log(tmp_path, *asked),),
        query_templates=2,
        passage_tokens=96,
        checks=("empty",),
    )
    make(stage, run(tmp_path / "out"))
    spread = records(tmp_path / "out", "queries-spread", Document)
    assert [query.text for query in spread if "template" not in query.meta] == list(asked)
    (filled,) = [query for query in spread if "template" in query.meta]
    assert filled.text == "who built the bridge over the Tees in 1790"
    assert filled.meta["template"] == spread[0].id == "00000000"
    assert tally(tmp_path / "out", "queries-spread")["counts"] == {"templates": 1, "asked": 1}
    shots = [shot for group in records(tmp_path / "out", "groups", Group) for shot in group.shots]
    (tees,) = [shot for shot in shots if "Tees" in shot.document.text]
    assert Pair(filled.text, BRIDGES[1]["text"].partition(".")[0] + ".") in [
        replace(pair, span=None) for pair in tees.pairs
    ]
    counts = tally(tmp_path / "out", "queries-unanswered")["counts"]
    assert (counts["queries"], counts["queries_answered"], counts["templates_answered"]) == (3, 2, 1)
    with pytest.raises(RecipeError, match="-1 passages a template"):
        augment((str(corpus),), model=str(vocabulary_folder), queries=("log.txt",), query_templates=-1)


@pytest.mark.parametrize(
    ("question", "other", "asked"),
    [
        ("who built the bridge over the river cole in 1843", 1, "who built the bridge over the river Tees in 1790"),
        ("How long is Ada Brekke's bridge?", 1, "How long is Tees bridge?"),
        ("who built the bridge over the Cole?", 2, None),
        ("what carries two railway lines", 1, None),
        ("Ada Brekke 1843", 1, None),
    ],
)
def test_names_and_numbers_of_a_question_give_way_to_those_of_another_passage(
    question: str, other: int, asked: str | None
) -> None:
    made = template(question, BRIDGES[0]["text"])
    assert (made and made.filled(BRIDGES[other]["text"])) == asked


def test_a_template_asks_nothing_about_its_own_passage_and_numbers_are_slots_in_any_script() -> None:
    made = template("who built the bridge over the cole in 1843", BRIDGES[0]["text"])
    assert made is not None
    assert made.filled(BRIDGES[0]["text"]) is None
    chinese = template("大桥在1843年建成吗", "艾达于1843年建造了大桥。")
    assert chinese is not None
    assert chinese.filled("这座大桥是1790年建成的。") == "大桥在1790年建成吗"


def test_rows_of_a_format_are_read_by_their_field_and_nothing_else_of_them_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"query": "how\\twide  is it", "user": "u17"}\nno json\n{"user": "u18"}\n{"query": ["a"]}\n')
    found = list(read_queries((str(path),), field="query"))
    assert found == [
        Document("00000000", "how wide is it", str(path)),
        Reject("", "broken_json"),
        Reject("", "missing_text"),
        Document("00000003", "a", str(path)),
    ]


def test_a_field_that_is_not_there_is_named_with_the_flag_that_mends_it_and_no_row_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"question": "who is Erika"}\n')
    with pytest.raises(InputError, match=r"has a field 'query' \(fields: question\).* --query-field"):
        list(read_queries((str(path),), field="query"))
    path.write_text("who is Erika\n")
    with pytest.raises(InputError) as caught:
        list(read_queries((str(path),), field="query"))
    assert "Erika" not in str(caught.value)


@given(st.lists(st.text("aAeéß ?.,\t\r\x0b\x85\u2028水ก1", max_size=12), max_size=12))
def test_each_line_is_a_query_or_a_reject_once(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.txt"
    path.write_bytes("\n".join(["who", *lines]).encode())
    rows = [line for line in path.read_bytes().decode().split("\n") if line.strip()]
    found = list(read_queries((str(path),), field="query"))
    assert len(found) == len(rows)
    kept = [row for row in found if isinstance(row, Document)]
    assert len({key(query.text) for query in kept}) == len(kept), "no two ask with the same words"
    assert {key(row) for row in rows if terms(row).every} == {key(query.text) for query in kept}
    assert Counter(row.reason for row in found if isinstance(row, Reject)).keys() <= {"no_words", "repeated"}


def test_a_long_file_is_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, num_read = tmp_path / "log.txt", list[int]()
    path.write_bytes(b"".join(b"question number %d\n" % number for number in range(5_000)) + b"x" * 200_000)

    class Counting(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            num_read.append(1)
            return super().readline(size)

    monkeypatch.setattr(reading, "opened_utf8", lambda url: Counting(Path(url).read_bytes()))
    rows = read_queries((str(path),), field="query")
    assert [next(rows) for _ in range(3)][2] == Document("00000002", "question number 2", str(path))
    assert len(num_read) == 3
    assert [row for row in rows if isinstance(row, Reject)] == [Reject("", "too_long")]


PASSAGES = {
    "chinese": ["这座桥建于一八四三年，由工程师设计。", "磨坊每年春天出售面粉和燕麦。", "客栈有九个房间和一个厨房。"],
    "japanese": ["この橋は一八四三年に建てられた。", "水車小屋は春に小麦粉を売る。", "宿には九つの部屋と台所がある。"],
    "thai": ["สะพานนี้สร้างขึ้นโดยวิศวกรหญิง", "โรงสีขายแป้งและข้าวโอ๊ตทุกฤดูใบไม้ผลิ", "โรงแรมมีห้องเก้าห้องและครัว"],
    "german": [
        "Die Brücke wurde 1843 gebaut.",
        "Die Mühlen verkaufen Mehl im Frühling.",
        "Das Gasthaus hat neun Zimmer.",
    ],
}
QUESTIONS = {
    "chinese": "磨坊什么时候出售面粉？",
    "japanese": "水車小屋は何を売りますか",
    "thai": "โรงสีขายแป้งเมื่อไร",
    "german": "Wann verkauft die MÜHLE Mehl?",
}


@pytest.mark.parametrize("language", PASSAGES)
@pytest.mark.parametrize("num_shards", [1, 3])
def test_questions_find_their_passage_in_many_languages_and_shards(
    tmp_path: Path, language: str, num_shards: int
) -> None:
    passages = PASSAGES[language]
    size = len(passages) // num_shards
    for shard in range(num_shards):
        assert build(passages[shard * size : (shard + 1) * size], tmp_path / str(shard)) == size
    search = Search([tmp_path / str(shard) for shard in range(num_shards)])
    hits = search.find(QUESTIONS[language])
    assert hits[0].shard * size + hits[0].row == 1
    assert hits[0].covered > 0.4
    assert search.find("") == search.find("xyzzy") == []


def test_passages_without_words_can_be_indexed(tmp_path: Path) -> None:
    build(["--- !", ""], tmp_path / "0")
    build(["", "The mill sells flour."], tmp_path / "1")
    hits = Search([tmp_path / "0", tmp_path / "1"]).find("who sells flour")
    assert [(hit.shard, hit.row) for hit in hits] == [(1, 1)]
