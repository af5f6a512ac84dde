"""A run says what is left of its input; one that makes nothing says why, fails, and stands in nobody's way."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from conftest import corpus_rows, write_corpus
from disturbed import complaint, tally

from benchmarks.scripted_engine import SCRIPTED
from instructpt.cli.commands import main

FERRY = (
    "The ferry of Holm was built in 1874 by two brothers from Tessing. It carried 40 passengers and six carts on most "
    "days. The crossing took 25 minutes in calm weather. Storms closed the line on 12 days of each winter. The last "
    "ferry left Holm in 1931. A bridge of stone and iron stands there today."
)


def augment(corpus: Path, out: Path, *more: str) -> int:
    return main(["augment", str(corpus), "--mine", "--out", str(out), "--workers", "1", *more])


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A corpus whose text stands in another field than the usual one."""
    return write_corpus(tmp_path / "corpus.jsonl", [{"id": row["id"], "body": row["text"]} for row in corpus_rows(4)])


def test_nothing_read_says_why_and_the_next_command_goes_on(
    body: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # the second says it again, and does not take the first for a success
        assert augment(body, out) == 2
        assert "has a field 'text' (fields: id, body)" in complaint(capfd.readouterr().err)
    assert augment(body, out, "--text-field", "body") == 0
    assert tally(out, "texts")["taken"] > 0
    assert not list(out.rglob(".unused"))
    assert augment(body, out, "--text-field", "id") == 2  # what something came of is never replaced
    assert "was made with other settings" in complaint(capfd.readouterr().err)


def test_what_led_to_nothing_may_be_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All is read and all is filtered: what was read stands in the way of no other settings either."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", [{"id": str(i), "text": "short"} for i in range(5)])
    good = write_corpus(tmp_path / "good.jsonl", corpus_rows(3))
    out = tmp_path / "out"
    assert augment(corpus, out) == 2
    said = complaint(capfd.readouterr().err)
    assert "filtered: 0 of 5 documents kept: " in said
    assert "(such as 'short')" in said
    assert augment(good, out) == 0


def test_no_pair_at_all_is_no_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    corpus, out = write_corpus(tmp_path / "corpus.jsonl", corpus_rows(4)), tmp_path / "out"
    words = ["augment", str(corpus), "--out", str(out), "--engine", SCRIPTED, "--workers", "1"]
    words += ["--dialect", "tags", "--reader", ""]
    assert main([*words, "--engine-options", "empty_share=1"]) == 2
    assert "groups: 0 of 4 passages have pairs" in complaint(capfd.readouterr().err)
    assert main(words) == 0


def test_the_last_line_tells_what_was_kept_and_warns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = corpus_rows(4)
    corpus, out = write_corpus(tmp_path / "corpus.jsonl", [*rows, *rows]), tmp_path / "out"
    assert augment(corpus, out) == 0
    told = capfd.readouterr()
    assert "Kept: filtered: 4 of 8 documents kept (exact_duplicate 4)" in told.out
    assert "more than 20% was left out (50% in filtered)" in told.err


def test_the_last_lines_tell_how_many_pairs_there_are_and_how_much_they_need(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "ferry", "text": FERRY}
    corpus, out = write_corpus(tmp_path / "corpus.jsonl", [row]), tmp_path / "out"
    assert augment(corpus, out) == 0
    counts = orjson.loads((out / "groups" / "manifest.json").read_bytes())["tally"]["counts"]
    assert counts["sentences"] == 6
    needed, pairs = counts["sentences_covered"], counts["pairs"]
    told = f"Pairs: {pairs}.0 a passage in groups; of passages with 5 sentences and more, some pair needs {needed} of 6"
    assert f"{told} sentences ({needed / 6:.0%})" in capfd.readouterr().out
