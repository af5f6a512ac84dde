"""From a training text back to the row of a file, by the command and by its function."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from instructpt.artifacts import Run
from instructpt.artifacts.storage import read_parquet
from instructpt.cli.commands import main
from instructpt.errors import ArtifactError
from instructpt.executors.make import make
from instructpt.recipes.augment import augment
from instructpt.records import Document, Group, Text
from instructpt.report.lineage import Hop, trace

SENTENCES = ["The heron waits in 1843 in London.", "Fish swim because water is deep.", "Anna met Bob in Paris in May."]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus augmented by rules: two files, ids of which one repeats, one row that is no document."""
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "corpus").mkdir()
    for name in ("a", "b"):
        rows = [{"id": f":book:{i % 7}", "text": f"{name}{i}: " + " ".join(SENTENCES * (9 + i))} for i in range(8)]
        lines = [b"no json", *map(orjson.dumps, rows)]
        (folder / "corpus" / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    target = augment((str(folder / "corpus"),), mine=True, passage_tokens=120)
    make(target, Run(root=str(folder / "run"), workers=1))
    return folder


def texts_of(root: Path) -> list[Text]:
    with (root / "run/texts/00000.parquet").open("rb") as file:
        return list(read_parquet(file, Text))


def of_stage(hops: list[Hop], stage: str) -> list[Hop]:
    return [hop for hop in hops if hop.artifact.stage == stage]


def test_every_text_leads_back_to_the_rows_that_hold_its_passages(root: Path) -> None:
    for text in texts_of(root):
        hops = list(trace(str(root / "run/texts"), text.id))
        assert hops[0].record == text
        (group,) = of_stage(hops, "Mine")[:1]
        assert isinstance(group.record, Group)
        reads, splits = of_stage(hops, "Read"), of_stage(hops, "Split")
        assert len(splits) == len(reads) == len(group.record.shots)
        for shot, split, read in zip(group.record.shots, splits, reads, strict=True):
            assert isinstance(read.record, Document)
            assert shot.document == split.record
            assert shot.document.text in read.record.text
            (note,) = read.notes
            file, _, row = note.partition(", row ")
            line = Path(file).read_bytes().splitlines()[int(row) - 1]
            assert orjson.loads(line)["text"] == read.record.text
            start = int(split.notes[0].split()[1].replace(",", ""))
            assert read.record.text[start : start + len(shot.document.text)] == shot.document.text


def test_the_wording_is_drawn_again(root: Path) -> None:
    (hop,) = [hop for hop in trace(str(root / "run/texts"), texts_of(root)[3].id) if hop.artifact.stage == "Template"]
    assert "rendered again: the same text" in hop.notes[-1]


def test_a_file_that_changed_is_told(root: Path, tmp_path: Path) -> None:
    text = texts_of(root)[0]
    corpus = root / "corpus/a.jsonl"
    before = corpus.read_bytes()
    corpus.write_bytes(before.replace(b"heron", b"stork"))
    (read, *_) = of_stage(list(trace(str(root / "run/texts"), text.id)), "Read")
    assert read.notes[0].endswith("a.jsonl, which does not hold it any more")
    corpus.rename(tmp_path / "a.jsonl")
    (read, *_) = of_stage(list(trace(str(root / "run/texts"), text.id)), "Read")
    corpus.write_bytes(before)
    assert "a.jsonl" in read.notes[0]


def test_the_command_prints_ids_as_they_are(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = texts_of(root)[2]
    assert main(["show", str(root / "run/texts"), "--trace", text.id]) == 0
    shown = capsys.readouterr().out
    assert text.id in shown, "':book:' is no picture of a book"
    assert "corpus/a.jsonl, row " in shown
    assert "characters " in shown


def test_an_unknown_id_says_where_to_find_some(root: Path) -> None:
    with pytest.raises(ArtifactError, match="no record 'nope' in texts: give an id as"):
        list(trace(str(root / "run/texts"), "nope"))
