"""What other trainers read from an export is what the token files hold."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from instructpt.assembly.exports import ROW_FORMATS, TOKEN_FORMATS, export_rows, export_tokens
from instructpt.assembly.rows import Rows, open_rows, pack
from instructpt.assembly.tokenize import tokenize
from instructpt.errors import RecipeError
from instructpt.records import Text
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

TEXTS = [
    Text("a", "Herons wade in the shallow water. They eat fish.", "birds", "raw"),
    Text("b", "", "birds", "raw"),
    Text("c", "Who wades? Herons do.", "questions", "task", spans=((11, 21),)),
    Text('d,\n"quoted"', "A longer text about reeds, mud and frogs, which herons eat as well.", "birds", "raw"),
]


@pytest.fixture(scope="module")
def words(vocabulary_folder: Path) -> Vocabulary:
    return vocabulary.load(vocabulary_folder)


@pytest.fixture
def shards(tmp_path: Path, words: Vocabulary) -> list[Path]:
    folders = [tmp_path / "rows" / "00000", tmp_path / "rows" / "00001"]
    tokenize(TEXTS, vocabulary=words, folder=folders[0])
    tokenize(TEXTS[:1], vocabulary=words, folder=folders[1])
    return folders


@pytest.fixture
def rows(shards: list[Path], words: Vocabulary) -> Rows:
    joined = shards[0].parent / "joined"
    pack(shards, capacity=16, policy="best-fit", folder=joined, vocabulary_fingerprint=words.fingerprint)
    return open_rows(joined)


def expected(words: Vocabulary) -> list[list[int]]:
    return [words.sequence([text.text, ""])[:-1] for text in TEXTS]


@pytest.mark.parametrize("to", sorted(TOKEN_FORMATS))
def test_every_format_counts_what_it_wrote(to: str, shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    exported = export_tokens(shards, to=to, folder=tmp_path / "out")
    assert exported.documents == 5
    assert exported.tokens == sum(map(len, expected(words))) + len(expected(words)[0])
    assert (exported.silent_tokens_exported > 0) == (to == "megatron")


def test_datatrove_reads_its_files(shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    dataset = pytest.importorskip("datatrove.utils.dataset")
    export_tokens(shards, to="datatrove", folder=tmp_path / "out")
    documents = expected(words)
    total = sum(map(len, documents))
    read = dataset.DatatroveFileDataset(str(tmp_path / "out/00000.ds"), seq_len=total - 1, return_positions=True)[0]
    assert read["input_ids"].tolist() == [token for document in documents for token in document]
    positions = [place for document in documents for place in range(len(document))]
    assert read["positions"].tolist() == positions


def test_datatrove_learns_what_carries_loss(shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    export_tokens(shards, to="datatrove", folder=tmp_path / "out")
    loss = np.fromfile(tmp_path / "out/00000.ds.loss", bool)
    documents = expected(words)
    start = len(documents[0]) + len(documents[1])
    question = len(words.encode(["Who wades?"])[0])
    assert not loss[start : start + 1 + question].any()
    assert loss[:start].all()
    assert loss[start + 2 + question : start + len(documents[2])].all()
    assert not (tmp_path / "out/00001.ds.loss").exists()


def test_megatron_index_says_where_documents_are(shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    export_tokens(shards, to="megatron", folder=tmp_path / "out")
    index = (tmp_path / "out/00000.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code = np.frombuffer(index[9:17], "<u8")[0], index[17]
    num_sequences, num_documents = np.frombuffer(index[18:34], "<u8").tolist()
    assert (version, code, num_sequences, num_documents) == (1, 8, 4, 5)
    lengths = np.frombuffer(index[34:50], "<i4")
    pointers = np.frombuffer(index[50:82], "<i8")
    assert np.frombuffer(index[82:], "<i8").tolist() == [0, 1, 2, 3, 4]
    data = (tmp_path / "out/00000.bin").read_bytes()
    read = [
        np.frombuffer(data[start : start + 2 * n], "<u2").tolist() for start, n in zip(pointers, lengths, strict=True)
    ]
    assert read == expected(words)


def test_megatron_reads_its_files(shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    export_tokens(shards, to="megatron", folder=tmp_path / "out")
    read = indexed.IndexedDataset(str(tmp_path / "out/00000"))
    assert [read[number].tolist() for number in range(len(read))] == expected(words)


def test_olmo_maps_the_tokens_and_finds_the_documents(shards: list[Path], tmp_path: Path, words: Vocabulary) -> None:
    export_tokens(shards, to="olmo", folder=tmp_path / "out")
    tokens = np.memmap(tmp_path / "out/00000.npy", np.uint16, "r")
    with gzip.open(tmp_path / "out/00000.csv.gz", "rt", newline="") as file:
        lines = list(csv.reader(file))
    assert [tokens[int(start) : int(stop)].tolist() for start, stop, *_ in lines] == expected(words)
    assert [line[2] for line in lines] == [text.id for text in TEXTS]
    assert len((tmp_path / "out/00000.labels.npy").read_bytes()) == len(tokens)


@pytest.mark.parametrize("to", sorted(ROW_FORMATS))
def test_rows_come_back_as_they_were_packed(to: str, rows: Rows, shards: list[Path], tmp_path: Path) -> None:
    exported = export_rows(shards[0].parent / "joined", shards, to=to, folder=tmp_path / "out")
    if to == "parquet":
        read = pq.read_table(tmp_path / "out/rows.parquet").to_pylist()
    else:
        with gzip.open(tmp_path / "out/rows.jsonl.gz") as file:
            read = [orjson.loads(line) for line in file]
    batch = rows.batch(range(len(rows)))
    assert exported.rows == len(read) == len(rows)
    assert [row["input_ids"] for row in read] == batch.inputs.tolist()
    assert [row["document_ids"] for row in read] == batch.documents.tolist()
    for place, row in enumerate(read):
        for token, label in enumerate(row["labels"]):
            if label != -100:
                assert label == batch.inputs[place, token] == batch.targets[place, token - 1]
                assert batch.weights[place, token - 1] == 1
    num_labels = sum(label != -100 for row in read for label in row["labels"])
    # A document that goes on in another row has its next token there: that one target is lost at each cut.
    assert batch.weights.sum() - len(rows) <= num_labels <= batch.weights.sum()


def test_an_unknown_format_is_refused(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="choose one of datatrove, megatron, olmo"):
        export_tokens(shards, to="tfrecord", folder=tmp_path / "out")
