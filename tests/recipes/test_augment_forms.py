"""`instructpt augment --forms` as a user meets it: planned, written, shown, and gone on with after it died."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from answering_engine import ANSWERING
from conftest import corpus_rows, write_corpus

from benchmarks.reports import contents
from benchmarks.scripted_engine import SCRIPTED, Script, write_pairs
from instructpt.artifacts import Run
from instructpt.artifacts.storage import Folder, read_shard
from instructpt.cli.commands import main
from instructpt.errors import RecipeError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.records import Group, Text
from instructpt.report.estimate import Wishes, estimates
from instructpt.report.lineage import trace
from instructpt.synthesis.forms import load_form
from instructpt.templates.stages import Template

FORMS = "pairs,facts=2,paraphrase:spoken,problem"


def flags(model: str, *more: str) -> list[str]:
    return ["--model", model, "--engine", SCRIPTED, "--window-tokens", "9000", "--max-new-tokens", "2000", *more]


def manifest(out: Path, name: str) -> dict[str, Any]:
    return dict(orjson.loads((out / name / "manifest.json").read_bytes()))


def test_a_corpus_is_written_about_in_forms(
    tmp_path: Path, chat_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = str(write_corpus(tmp_path / "my.jsonl", corpus_rows(6))), tmp_path / "out"
    words = [corpus, *flags(chat_model, "--forms", FORMS)]
    assert main(["plan", "augment", *words]) == 0
    planned = capsys.readouterr().out
    assert "paraphrase:spoken" in planned
    assert "6 texts" in next(line for line in planned.splitlines() if line.startswith("groups: facts"))
    assert main(["augment", *words, "--workers", "1", "--out", str(out)]) == 0
    counts = manifest(out, "groups")["tally"]["counts"]
    assert counts["writings"] == sum(n for name, n in counts.items() if name.startswith("writings/")) > 0
    texts = list(read_shard(Folder.at(str(out / "texts")), 0, Text))
    assert Counter(text.layout for text in texts)["facts"] == counts["writings/facts"]
    written = next(text for text in texts if text.layout == "facts")
    hops = list(trace(str(out / "texts"), written.id))
    assert [hop.artifact.name for hop in hops][:3] == ["texts", "groups", "passages"]
    assert any("the same text" in note for note in hops[0].notes)
    capsys.readouterr()
    assert main(["plan", "augment", *words, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "what was written" in told
    assert main(["show", str(out / "groups"), "6"]) == 0
    assert "[facts 0]" in capsys.readouterr().out


def test_a_reader_confirms_what_texts_claim_on_the_way(
    tmp_path: Path, chat_model: str, vocabulary_folder: Path
) -> None:
    corpus = str(write_corpus(tmp_path / "my.jsonl", corpus_rows(6)))
    reader, forms = str(vocabulary_folder), "facts,faq,summary"
    stage = augment((corpus,), model=chat_model, reader=reader, forms=forms, window_tokens=9000, max_new_tokens=2000)
    make(stage, Run(root=str(tmp_path / "out"), workers=1, engine=ANSWERING))
    before, after = (
        [one for group in read_shard(Folder.at(str(tmp_path / "out" / name)), 0, Group) for one in group.shots]
        for name in ("groups-written", "groups")
    )
    written, confirmed = ([one for shot in shots for one in shot.writings] for shots in (before, after))
    assert {one.agreement for one in written} == {None}
    assert any(one.agreement is not None for one in confirmed if one.form == "facts")
    assert any(one.agreement is not None for one in confirmed if one.form == "faq")
    assert {one.agreement for one in confirmed if one.form == "summary"} == {None}, "nothing is asked about it"
    counts = manifest(tmp_path / "out", "groups")["tally"]["counts"]
    num_gone = {form: sum(one.form == form for one in written) for form in ("facts", "faq")}
    assert counts["parts/facts"] >= num_gone["facts"]
    assert counts["parts/faq"] >= num_gone["faq"]


def test_a_plan_says_of_each_form_what_the_run_then_takes(tmp_path: Path, chat_model: str) -> None:
    """One passage of seven has no numbers: it is not asked for a problem."""
    rows = [
        *corpus_rows(6),
        {"id": "heron", "text": "The heron waits in shallow water, and then it strikes at a fish."},
    ]
    corpus = str(write_corpus(tmp_path / "my.jsonl", rows))
    target = augment(
        (corpus,), model=chat_model, forms="facts=2,problem,relations", window_tokens=9000, max_new_tokens=2000
    )
    run = Run(root=str(tmp_path / "out"), workers=1, engine=SCRIPTED)
    tried, guessed = (planned(target, run, sample=sample) for sample in (100, 0))
    make(target, run)
    counts = manifest(tmp_path / "out", "groups")["tally"]["counts"]
    num_passages = manifest(tmp_path / "out", "passages")["tally"]["made"]
    for label in ("facts", "problem", "relations"):
        told = dict(zip(("requests", "prompt_tokens", "output_tokens", "kept"), tried[f"groups: {label}"], strict=True))
        for name, number in told.items():  # all seven were tried; what is drawn for them hangs on their shard
            assert number == pytest.approx(counts[f"forms/{label}/{name}"], rel=0.3)
    assert tried["groups"][0] == sum(tried[f"groups: {label}"][0] for label in ("facts", "problem", "relations"))
    assert tried["groups: problem"][3] <= num_passages - 1
    assert guessed["groups: facts"][0] == counts["forms/facts/wanted"]
    assert guessed["groups: relations"][0] == counts["forms/relations/wanted"] + num_passages
    assert guessed["groups: facts"][2] == guessed["groups: facts"][0] * load_form("facts").tokens


def planned(target: Template, run: Run, *, sample: int) -> dict[str, list[float]]:
    (table,) = estimates(target, run, Wishes(sample=sample))
    return {
        label: [float(cell.strip("~").split()[0].replace(",", "")) if cell else 0.0 for cell in cells[:4]]
        for label, *cells in table.rows
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--forms", "fact"), "no form is called 'fact': did you mean facts"),
        (("--forms", "facts", "--categories", "narrative QA"), "leave out --mine, --categories"),
        (("--forms", "facts", "--variants", "0"), "--variants is 0: give at least 1 and at most 10,000"),
    ],
)
def test_what_cannot_be_had_is_one_line_before_any_work(
    tmp_path: Path, chat_model: str, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    corpus, out = str(write_corpus(tmp_path / "my.jsonl", corpus_rows(2))), tmp_path / "out"
    assert main(["augment", corpus, "--out", str(out), *flags(chat_model, *more)]) == 2
    assert message in capsys.readouterr().err
    assert not (out / "documents").exists()


def test_a_model_that_writes_pairs_alone_says_so() -> None:
    with pytest.raises(RecipeError, match=r"shipped:synthesizer writes pairs alone .* give an instruct model"):
        augment(("sample:passages.jsonl.zst",), forms="facts")


def test_a_run_that_dies_in_the_middle_goes_on_to_the_same_bytes(tmp_path: Path, chat_model: str) -> None:
    corpus, asked = str(write_corpus(tmp_path / "my.jsonl", corpus_rows(8))), Counter[str]()

    def run(name: str, script: Script) -> None:
        stage = augment((corpus,), model=chat_model, forms=FORMS, variants=2, window_tokens=9000, max_new_tokens=2000)
        make(stage, Run(root=str(tmp_path / name), workers=1, engine=SCRIPTED, engine_options={"script": script}))

    def dying(prompt: str) -> str:
        if asked.total() >= 40:
            raise MemoryError("no more")
        return counting(prompt)

    def counting(prompt: str) -> str:
        asked[prompt] += 1
        return write_pairs(prompt)

    with pytest.raises(MemoryError):
        run("killed", dying)
    assert asked.total() == 40
    run("killed", counting)
    num_asked = asked.total()
    run("whole", counting)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert num_asked < 40 + (asked.total() - num_asked), "what was on disk was not asked for again"


def test_groups_keep_their_writings_through_a_check(tmp_path: Path, chat_model: str) -> None:
    corpus, out = str(write_corpus(tmp_path / "my.jsonl", corpus_rows(3))), tmp_path / "out"
    assert (
        main(["augment", corpus, "--out", str(out), "--workers", "1", *flags(chat_model, "--forms", "pairs,facts")])
        == 0
    )
    assert main(["run", "verify", str(out / "groups"), "--out", str(tmp_path / "verified"), "--workers", "1"]) == 0
    before, after = (
        [shot for group in read_shard(Folder.at(str(path)), 0, Group) for shot in group.shots]
        for path in (out / "groups", tmp_path / "verified" / "checked")
    )
    assert any(shot.writings for shot in before)
    assert [shot.writings for shot in after] == [shot.writings for shot in before]
