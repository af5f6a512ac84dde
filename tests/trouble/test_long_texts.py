"""A text without a blank, or of nothing but blanks: work in line with its length, counted and not timed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import corpus_rows

from instructpt.artifacts import Run
from instructpt.corpus.splitting import split_many
from instructpt.corpus.stages import BuildVocabulary
from instructpt.records import Document
from instructpt.words import byte_pairs, vocabulary
from instructpt.words.vocabulary import MAX_PIECE_CHARACTERS, Vocabulary


def chinese(length: int) -> str:
    draw = random.Random(0)
    return "".join(chr(0x4E00 + draw.randrange(300)) for _ in range(length))


TEXTS: dict[str, Callable[[int], str]] = {
    "letters": lambda length: "a" * length,
    "chinese": chinese,
    "blanks": lambda length: "x" + " " * (length - 2) + "y",
    "line breaks": lambda length: "x" + "\n" * (length - 2) + "y",
    "repeats": lambda length: "spam " * (length // 5),
    "stops": lambda length: "." * length,
}


@pytest.fixture(params=sorted(TEXTS))
def make_text(request: pytest.FixtureRequest) -> Callable[[int], str]:
    return TEXTS[request.param]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Characters and texts that a tokenizer was given."""
    counted = {"characters": 0, "texts": 0, "longest": 0}

    def counting(name: str) -> None:
        method = getattr(Vocabulary, name)

        def count(self: Vocabulary, texts: Sequence[str]) -> Any:
            counted["characters"] += sum(map(len, texts))
            counted["texts"] += len(texts)
            counted["longest"] = max(counted["longest"], *map(len, texts))
            return method(self, texts)

        monkeypatch.setattr(Vocabulary, name, count)

    counting("encode_arrays")
    counting("encode_with_starts")
    return counted


def test_splitting_grows_with_the_text(
    make_text: Callable[[int], str], vocabulary_folder: Path, work: dict[str, int]
) -> None:
    words = vocabulary.load(vocabulary_folder)
    found = []
    for length in (20_000, 200_000):
        work.update(characters=0, texts=0)
        text = make_text(length)
        (passages,) = split_many([Document("d", text, "s")], vocabulary=words, budget_tokens=64)
        assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())
        found.append((work["characters"], work["texts"], len(passages)))
    (characters, texts, _), (more_characters, more_texts, _) = found
    assert more_characters <= 11 * characters
    assert more_texts <= 11 * texts + 10
    assert more_characters <= 5 * 200_000
    assert work["longest"] <= 2 * 16_384


def test_no_part_for_the_tokenizer_is_longer_than_a_bound(make_text: Callable[[int], str]) -> None:
    text = make_text(1_000_000)
    parts = byte_pairs.windows(text, byte_pairs.WINDOW_CHARACTERS)
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 1 << 17


def test_a_vocabulary_looks_at_short_pieces_alone(make_text: Callable[[int], str], tmp_path: Path) -> None:
    text = make_text(100_000)
    assert max(map(len, vocabulary._portions(text))) <= 1 << 17
    assert "".join(vocabulary._portions(text)) == text
    vocabulary.train([text], size=400, folder=tmp_path)
    words = vocabulary.load(tmp_path)
    longest = max(len(words.decode([i])) for i in range(words.size))
    assert longest <= MAX_PIECE_CHARACTERS
    assert words.decode(words.encode([text[:5000]])[0]) == text[:5000]
    assert words.byte_pairs is not None  # cut as before once it is trained


@pytest.mark.parametrize(
    ("text", "limit_bytes", "num_read"), [("four", 8, 2), ("für", 8, 2), ("für", 9, 3), ("a", 5, 5)]
)
def test_a_vocabulary_reads_no_more_than_its_limit_of_bytes(
    text: str, limit_bytes: int, num_read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []

    def records(self: Run, stage: Any, index: int | None = None) -> Iterator[Document]:
        for shard in range(3) if index is None else [index]:
            for place in range(4):
                read.append((shard, place))
                yield Document(f"{shard}-{place}", text, "s")

    monkeypatch.setattr(Run, "records", records)
    monkeypatch.setattr(Run, "num_shards", lambda self, stage: 3)
    given = list(BuildVocabulary(name="v", texts=("stage",), limit_bytes=limit_bytes)._texts(Run(root=str(tmp_path))))  # type: ignore[arg-type]
    assert len(read) == num_read
    assert sum(len(text.encode()) for text in given) <= limit_bytes


def test_a_million_characters_without_a_blank_go_through_augment(tmp_path: Path) -> None:
    from instructpt.cli.commands import main

    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(b"".join(orjson.dumps({"text": make(100_000)}) + b"\n" for make in TEXTS.values()))
    with corpus.open("ab") as file:  # of the others no rule makes a pair
        file.writelines(orjson.dumps(row) + b"\n" for row in corpus_rows(2))
    assert main(["augment", str(corpus), "--mine", "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    tally = orjson.loads((tmp_path / "out" / "passages" / "manifest.json").read_bytes())["tally"]
    assert tally["made"] > 100
