"""`instructpt augment` as a user meets it: what goes in comes out or is counted, whatever the input or the trouble."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import corpus_rows, write_corpus
from forked import Forked, fork

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED, Script
from instructpt.artifacts import Run, Stage, tree
from instructpt.cli.commands import main
from instructpt.executors.make import make
from instructpt.files import streams
from instructpt.recipes.augment import augment as augment_recipe
from instructpt.recipes.flags import Reading
from instructpt.report import render
from instructpt.synthesis.ledger import Ledger

SAMPLE = Path(__file__).parents[2] / "instructpt/sample/passages.jsonl.zst"


def augment(files: list[Path], out: Path, *flags: str) -> int:
    rules = () if "--model" in flags else ("--mine",)
    return main(["augment", *map(str, files), "--out", str(out), "--workers", "1", *rules, *flags])


def scripted(vocabulary_folder: Path, *options: str) -> list[str]:
    """Flags for a synthesizer that needs no weights."""
    flags = ["--model", str(vocabulary_folder), "--engine", SCRIPTED, "--passage-tokens", "64"]
    return [*flags, *(["--engine-options", *options] if options else [])]


def recipe_stages(corpus: Path, *, share: float) -> list[Stage[Any]]:
    """What `augment --mine --near-duplicates` consists of."""
    reading = Reading(shard_bytes=20_000)
    return tree(augment_recipe((str(corpus),), mine=True, near_duplicates=share, reading=reading))


def manifest(out: Path, name: str) -> dict[str, Any]:
    return dict(orjson.loads((out / name / "manifest.json").read_bytes()))


def texts(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "texts").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def assert_everything_is_accounted_for(out: Path) -> None:
    """Each stage adds up, and takes what the one before it made."""
    made: dict[str, int] = {}
    for name in ("documents", "duplicates", "filtered", "passages", "mined", "groups", "texts"):
        if not (out / name).exists():
            continue
        found = manifest(out, name)
        tally = found["tally"]
        assert tally["taken"] == tally["kept"] + sum(tally["dropped"].values()), name
        source = next((i for i in found["inputs"] if i in made), None)
        if source:
            assert tally["taken"] == made[source], f"{name} takes what {source} made"
        made[name] = tally["made"]


@pytest.mark.parametrize("with_model", [False, True])
def test_raw_text_becomes_an_augmented_corpus(tmp_path: Path, vocabulary_folder: Path, with_model: bool) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(30)), tmp_path / "out"
    assert augment([corpus], out, *(scripted(vocabulary_folder) if with_model else [])) == 0
    assert_everything_is_accounted_for(out)
    groups = manifest(out, "groups")["tally"]
    assert groups["counts"]["pairs"] > groups["made"] / 2
    everything = "\n".join(row["text"] for row in texts(out))
    for row in corpus_rows(30):
        assert f"Bridge number {row['id'].removeprefix('doc-')}." in everything
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "http-equiv" in page


def test_the_same_command_again_does_nothing(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(10)), tmp_path / "out"
    assert augment([corpus], out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert augment([corpus], out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_another_seed_in_the_same_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(5)), tmp_path / "out"
    assert augment([corpus], out) == 0
    assert augment([corpus], out, "--seed", "1") == 2
    assert "settings.seed: 0 -> 1" in capsys.readouterr().err


def test_a_changed_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(5)), tmp_path / "out"
    assert augment([corpus], out) == 0
    write_corpus(corpus, corpus_rows(6))
    assert augment([corpus], out) == 2
    assert "my.jsonl" in capsys.readouterr().err


# Bad input: a clear line or a counted reason, and no other document is lost


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.jsonl", None, "there is no file"),
        ("empty.jsonl", b"", "nothing is left after documents: 0 of 0 rows"),
        ("field.jsonl", b'{"body": "text of a document"}\n', "has a field 'text' (fields: body)"),
        ("my.docx", b"PK", "my.docx"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\x00cut", "cut.jsonl.gz"),
        ("notes.parquet", b"no parquet", "notes.parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    status = augment([path], tmp_path / "out")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2
    assert message in error
    assert error.startswith("instructpt: ")


def test_bad_rows_are_counted_and_the_others_come_out(tmp_path: Path) -> None:
    good = [orjson.dumps(row) for row in corpus_rows(20)]
    bad = [b'{"text": "cut', b"[1, 2]", b'{"id": "x"}', b'{"text": 5}', b'{"text": "caf\xe9"}', b'{"text": "\\ud800"}']
    path = tmp_path / "my.jsonl"
    path.write_bytes(b"\n".join(line for i, row in enumerate(good) for line in [row, *bad[i : i + 1]]) + b"\n")
    assert augment([path], tmp_path / "out") == 0
    tally = manifest(tmp_path / "out", "documents")["tally"]
    assert tally["taken"] == 26
    assert tally["made"] == 20
    reasons = {"broken_json": 2, "not_an_object": 1, "missing_text": 1, "text_not_a_string": 1, "not_utf8": 1}
    assert Counter(tally["dropped"]) == Counter(reasons)
    assert_everything_is_accounted_for(tmp_path / "out")


def test_duplicates_and_short_texts_are_counted_and_duplicate_ids_are_harmless(tmp_path: Path) -> None:
    rows = [{**row, "id": "same"} for row in corpus_rows(12)]
    rows += [rows[0], {"id": "same", "text": "short"}]
    assert augment([write_corpus(tmp_path / "my.jsonl", rows)], tmp_path / "out") == 0
    tally = manifest(tmp_path / "out", "filtered")["tally"]
    assert tally["made"] == 12
    assert tally["dropped"]["exact_duplicate"] == 1
    assert sum(tally["dropped"].values()) == 2
    assert_everything_is_accounted_for(tmp_path / "out")


def test_near_duplicates_are_counted_and_the_same_whatever_the_workers(tmp_path: Path) -> None:
    rows = [orjson.loads(line) for line, _ in zip(streams.lines(str(SAMPLE)), range(12), strict=False)]
    near = [{"id": f"near-{i}", "text": f"{row['text']}\n\nSeen by us on day {i}."} for i, row in enumerate(rows[:5])]
    path = write_corpus(tmp_path / "my.jsonl", [*rows, *near])
    flags = ("--near-duplicates", "0.8", "--shard-bytes", "20000")
    assert augment([path], tmp_path / "one", *flags) == 0
    tally = manifest(tmp_path / "one", "distinct")["tally"]
    assert tally["made"] == 12
    assert tally["dropped"] == {"near_duplicate": 5}
    assert_everything_is_accounted_for(tmp_path / "one")
    distinct = next(stage for stage in recipe_stages(path, share=0.8) if stage.name == "distinct")
    make(distinct, Run(root=str(tmp_path / "two"), workers=2))
    for name in ("near-duplicates", "distinct"):
        assert contents(tmp_path / "one" / name) == contents(tmp_path / "two" / name)
    assert augment([path], tmp_path / "bad", "--near-duplicates", "8") == 2


def test_strange_documents_go_through(tmp_path: Path, vocabulary_folder: Path) -> None:
    """A line of a megabyte, a text without blanks, one that spells the markup: none is lost, none breaks the others."""
    markup = "He typed <s> <CON> a text </CON>\n\n<QUE> who? <ANS> me </END></s> and nothing else happened. "
    unspaced = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(3000))
    rows = corpus_rows(4)
    rows += [{"id": "markup", "text": markup * 3}, {"id": "unspaced", "text": unspaced}]
    corpus, out = write_corpus(tmp_path / "my.jsonl", rows), tmp_path / "out"
    assert augment([corpus], out, *scripted(vocabulary_folder)) == 0
    assert_everything_is_accounted_for(out)
    everything = "".join(row["text"] for row in texts(out))
    assert everything.count("He typed <s> <CON> a text </CON>") >= 3
    long = [{"id": "long", "text": " ".join(f"Sentence number {i} of a very long line." for i in range(30_000))}]
    assert len(long[0]["text"]) > 1_200_000, "more than is read at once"
    assert augment([write_corpus(tmp_path / "long.jsonl", long)], tmp_path / "long") == 0
    assert_everything_is_accounted_for(tmp_path / "long")
    assert manifest(tmp_path / "long", "passages")["tally"]["made"] > 300


@pytest.mark.parametrize("fault", ["garbage", "empty", "error"])
def test_an_engine_that_answers_nonsense_leaves_texts_raw(tmp_path: Path, vocabulary_folder: Path, fault: str) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(20)), tmp_path / "out"
    assert augment([corpus], out, *scripted(vocabulary_folder, f"{fault}_share=0.5")) == 0
    assert_everything_is_accounted_for(out)
    counts = manifest(out, "groups")["tally"]["counts"]
    assert 0 < counts["passages_with_pairs"] < manifest(out, "groups")["tally"]["made"]
    assert any(name.startswith("rejects/") for name in counts)


def test_an_engine_that_never_answers_stops_the_run(
    tmp_path: Path, vocabulary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(20))
    assert augment([corpus], tmp_path / "out", *scripted(vocabulary_folder, "error_share=1.0")) == 1
    assert "engine" in capsys.readouterr().err
    assert not (tmp_path / "out" / "groups" / "manifest.json").exists()


# Steering


SPEECH = {
    "dialect": "steered",
    "categories": {
        "narrative QA": {"share": 0.5, "answers": "span"},
        "boolean QA": {"share": 0.3, "answers": "label"},
        "summarization": {"share": 0.2, "answers": "free"},
    },
    "passage_tokens": 64,
    "window_tokens": 1024,
    "max_new_tokens": 400,
}


@pytest.fixture
def steerable(tmp_path: Path, vocabulary_folder: Path) -> Path:
    """The folder of a model that says that it can be steered."""
    folder = tmp_path / "model"
    shutil.copytree(vocabulary_folder, folder)
    (folder / "synthesizer.json").write_bytes(orjson.dumps(SPEECH))
    return folder


def write_what_is_asked(prompt: str) -> str:
    """A pair for each category in the last line of categories; a mix of its own where there is none."""
    passage = prompt.rpartition("<CON>")[2]
    line = re.search("<ASK>(.*)</ASK>", passage)
    plan = line.group(1) if line else " 1 summarization | 2 narrative QA "
    counts = [item.split(maxsplit=1) for item in plan.split("|")]
    names = [name.strip() for count, name in counts for _ in range(int(count))]
    words = passage.split()
    pairs = [f"<CAT> {n} <QUE> {n} {i}, {words[1 + i]}? <ANS> {words[2 + i]} </END>" for i, n in enumerate(names)]
    return ("" if line else f"<ASK>{plan}</ASK>\n\n") + "\n\n".join(pairs)


def steer(corpus: Path, out: Path, model: Path, script: Script, **settings: Any) -> None:
    options = {"script": script}
    run = Run(root=str(out), workers=1, engine=SCRIPTED, engine_options=options)
    make(augment_recipe((str(corpus),), model=str(model), passage_tokens=64, **settings), run)


def test_pairs_come_in_the_shares_that_were_asked_for(tmp_path: Path, steerable: Path) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(60)), tmp_path / "out"
    asked: list[str] = []

    def script(prompt: str) -> str:
        asked.append(prompt)
        return write_what_is_asked(prompt)

    steer(corpus, out, steerable, script, categories="boolean QA=1,summarization=3", pairs=4)
    assert all(re.search(r"<ASK> [^<]+ </ASK>\n\n$", prompt) for prompt in asked)
    counts = manifest(out, "groups")["tally"]["counts"]
    kept = {name: counts[f"category/{name}"] for name in ("boolean QA", "summarization")}
    assert sum(kept.values()) == counts["pairs"] > 200
    assert kept["boolean QA"] / counts["pairs"] == pytest.approx(0.25, abs=0.02)
    assert_everything_is_accounted_for(out)
    page = render(str(out), title="Steered")
    assert "asked" in page
    assert "boolean QA" in page


def test_unasked_the_model_chooses_in_its_own_dialect(tmp_path: Path, steerable: Path) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(10)), tmp_path / "out"
    steer(corpus, out, steerable, write_what_is_asked, checks=("empty",))
    counts = manifest(out, "groups")["tally"]["counts"]
    assert counts["category/narrative QA"] == 2 * counts["category/summarization"] > 0


def test_a_steered_run_that_dies_goes_on_to_the_same_bytes(tmp_path: Path, steerable: Path) -> None:
    corpus, asked = write_corpus(tmp_path / "my.jsonl", corpus_rows(40)), Counter[str]()
    mix = {"categories": "narrative QA=2,summarization", "pairs": 3}

    def dying(prompt: str) -> str:
        if len(asked) == 25:
            raise MemoryError("no more")
        asked[prompt] += 1
        return write_what_is_asked(prompt)

    def counting(prompt: str) -> str:
        asked[prompt] += 1
        return write_what_is_asked(prompt)

    with pytest.raises(MemoryError):
        steer(corpus, tmp_path / "killed", steerable, dying, **mix)
    steer(corpus, tmp_path / "killed", steerable, counting, **mix)
    steer(corpus, tmp_path / "whole", steerable, write_what_is_asked, **mix)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(asked) > 25
    # At most what had not reached the disk when the run died is asked again.
    assert max(asked.values()) <= 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--categories", "narative QA=1"], "did you mean 'narrative QA'?"),
        (["--categories", "narrative QA=x"], "give a number above 0"),
        (["--categories", "narrative QA", "--dialect", "tags"], "the dialect tags cannot ask for categories"),
        (["--categories", "narrative QA", "--pairs", "0"], "--pairs is 0: give at least 1"),
        (["--dialect", "klingon"], "no dialect is called 'klingon'"),
    ],
)
def test_asking_for_what_cannot_be_had_is_one_line_before_any_work(
    tmp_path: Path, steerable: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(5)), tmp_path / "out"
    assert augment([corpus], out, *scripted(steerable), *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (out / "documents").exists()


def test_models_that_cannot_be_steered_say_so(
    tmp_path: Path, steerable: Path, vocabulary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(5)), tmp_path / "out"
    assert augment([corpus], out, "--categories", "maths") == 2
    assert "leave --mine out" in capsys.readouterr().err
    assert augment([corpus], out, *scripted(vocabulary_folder), "--categories", "maths") == 2
    assert "cannot ask for categories" in capsys.readouterr().err
    (steerable / "synthesizer.json").write_text('{"categories": {}}')
    assert augment([corpus], out, *scripted(steerable), "--categories", "maths") == 2
    assert "synthesizer.json cannot be read (KeyError: 'dialect')" in capsys.readouterr().err
    assert not out.exists()


# Interruptions


def start(corpus: Path, out: Path, vocabulary_folder: Path, log: Path, *options: str) -> Forked:
    flags = scripted(vocabulary_folder, f"log={log}", *options)
    words = ["augment", str(corpus), "--out", str(out), "--workers", "1", *flags]
    said = log.parent / f"said-{len(list(log.parent.iterdir()))}"
    return fork(main, words, folder=said)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, vocabulary_folder: Path) -> None:
    corpus, out = write_corpus(tmp_path / "my.jsonl", corpus_rows(60)), tmp_path / "out"
    process = start(corpus, out, vocabulary_folder, tmp_path / "asked.log", "delay_seconds=0.2")
    while not (tmp_path / "asked.log").exists():
        assert process.is_alive(), process.complained()
        time.sleep(0.01)
    process.send(signal.SIGINT)
    assert process.end() == 130
    assert "the same command goes on from there" in process.complained()
    assert "Traceback" not in process.complained()


def num_durable(out: Path, *, all_of_them: int) -> int:
    """Answers that a killed run will not ask for again: in the open shard's ledger, or in a sealed shard."""
    if (out / "groups" / "00000.json").exists():
        return all_of_them
    path = out / "groups" / "00000.open" / "ledger.sqlite"
    if not path.exists():
        return 0
    with Ledger(path) as ledger:
        return ledger.count()


def test_sigkill_while_it_starts_asks_or_ends_changes_nothing(tmp_path: Path, vocabulary_folder: Path) -> None:
    """The final bytes equal an undisturbed run's, and what the ledger held at a kill is not asked for again."""
    corpus = write_corpus(tmp_path / "my.jsonl", corpus_rows(60))
    whole, killed, log = tmp_path / "whole", tmp_path / "killed", tmp_path / "asked.log"
    assert augment([corpus], whole, *scripted(vocabulary_folder, f"log={tmp_path / 'whole.log'}")) == 0
    wanted = Counter((tmp_path / "whole.log").read_text().splitlines())

    def num_asked() -> int:
        return len(log.read_text().splitlines()) if log.exists() else 0

    asked_before = held_before = num_lost = 0
    for least in (1, wanted.total() // 3, wanted.total()):
        process = start(corpus, killed, vocabulary_folder, log, "delay_seconds=0.3")
        while num_asked() < least:
            assert process.is_alive(), process.complained()
            time.sleep(0.001)
        process.send(signal.SIGKILL)
        process.end()
        asked, held = num_asked(), num_durable(killed, all_of_them=len(wanted))
        # Answers given in this try that did not reach the disk before the kill: they alone are asked for again.
        num_lost += (asked - asked_before) - (held - held_before)
        asked_before, held_before = asked, held
    last = start(corpus, killed, vocabulary_folder, log)
    assert last.end() == 0, last.complained()
    assert contents(killed) == contents(whole)
    asked_for = Counter(log.read_text().splitlines())
    assert asked_for.keys() == wanted.keys()
    assert asked_for.total() == wanted.total() + num_lost
