"""Rows are exact: each place against a reference that reads one token at a time."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instructpt.assembly import tokenize as tokenize_module
from instructpt.assembly.packing import POLICIES
from instructpt.assembly.rows import Rows, check_vocabulary, open_rows, pack
from instructpt.assembly.tokenize import tokenize
from instructpt.errors import InputError
from instructpt.records import Batch, Text
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

GOLDEN = Path(__file__).parents[1] / "golden" / "rows.txt"


@pytest.fixture(scope="module")
def words(vocabulary_folder: Path) -> Vocabulary:
    return vocabulary.load(vocabulary_folder)


def packed(root: Path, shards: list[list[Text]], words: Vocabulary, *, capacity: int, policy: str = "best-fit") -> Rows:
    folders = [root / f"{i:05d}" for i in range(len(shards))]
    for folder, texts in zip(folders, shards, strict=True):
        tokenize(texts, vocabulary=words, folder=folder)
    pack(folders, capacity=capacity, policy=policy, folder=root / "joined", vocabulary_fingerprint=words.fingerprint)
    return open_rows(root / "joined")


def write_shard(folder: Path, *, first: int, lengths: list[int], silent: list[tuple[int, int]]) -> None:
    """A token file in which every token is another number, so that each can be told from all others."""
    folder.mkdir(exist_ok=True)
    total = sum(lengths)
    np.arange(first, first + total, dtype="<u4").tofile(folder / tokenize_module.TOKENS)
    np.save(folder / tokenize_module.DOCUMENTS, np.cumsum([0, *lengths]))
    np.save(folder / tokenize_module.SILENT, np.array(silent, np.int64).reshape(-1, 2))
    head = {"format": tokenize_module.FORMAT, "dtype": "uint32", "vocabulary": "numbers", "tokens": total}
    (folder / tokenize_module.HEAD).write_bytes(orjson.dumps(head))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), capacity=st.integers(1, 24), policy=st.sampled_from(sorted(POLICIES)))
def test_every_place_of_every_row(tmp_path: Path, data: st.DataObject, capacity: int, policy: str) -> None:
    shards = data.draw(st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=4))
    document_of: list[int] = []
    silent: set[int] = set()
    for i, lengths in enumerate(shards):
        first = len(document_of)
        edges = sorted(data.draw(st.lists(st.integers(0, sum(lengths)), max_size=6)))
        ranges = list(zip(edges[::2], edges[1::2], strict=False))
        silent |= {first + token for start, stop in ranges for token in range(start, stop)}
        document_of += [1000 * i + d for d, length in enumerate(lengths) for _ in range(length)]
        write_shard(tmp_path / f"{i:05d}", first=first, lengths=lengths, silent=ranges)
    folders = [tmp_path / f"{i:05d}" for i in range(len(shards))]
    options = {"capacity": capacity, "policy": policy, "vocabulary_fingerprint": "numbers"}
    made = pack(folders, folder=tmp_path / "joined", **options)
    rows = open_rows(tmp_path / "joined")
    assert (made.rows, made.tokens) == (len(rows), rows.num_tokens) == (len(rows), len(document_of))

    seen: list[int] = []
    for row in range(len(rows)):
        batch = rows.batch([row])
        columns = [
            getattr(batch, name)[0].tolist() for name in ("inputs", "targets", "weights", "positions", "documents")
        ]
        last_number, last_token = -1, -1
        for token, target, weight, position, number in zip(*columns, strict=True):
            if number == -1:
                assert (token, target, weight, position) == (0, 0, 0, 0)
                last_number = -1
                continue
            following = token + 1
            has_target = following < len(document_of) and document_of[following] == document_of[token]
            assert target == (following if has_target else 0)
            assert weight == (has_target and following not in silent)
            if number == last_number:
                assert token == last_token + 1
                assert document_of[token] == document_of[last_token]
            else:
                assert number == last_number + 1
                assert position == 0
                start = token
            assert position == token - start
            seen.append(token)
            last_number, last_token = number, token
        used = (batch.documents[0] >= 0).tolist()
        assert used == sorted(used, reverse=True)
    assert sorted(seen) == list(range(len(document_of)))


def test_any_choice_of_rows_is_the_rows_alone(words: Vocabulary, tmp_path: Path) -> None:
    shards = [[Text("x", "ab " * (1 + i * j % 17), "s", "raw") for i in range(20)] for j in range(1, 4)]
    rows = packed(tmp_path, shards, words, capacity=16)
    chosen = [5, 0, len(rows) - 1, 5, 2]
    batch = rows.batch(chosen)
    for f in fields(Batch):
        whole = getattr(batch, f.name)
        assert whole.shape == (len(chosen), 16)
        assert whole.dtype == (np.float32 if f.name == "weights" else np.int64)
        for place, row in enumerate(chosen):
            assert whole[place].tolist() == getattr(rows.batch([row]), f.name)[0].tolist()
    assert rows.batch([]).inputs.shape == (0, 16)


def test_rows_know_their_size_and_what_is_in_them(words: Vocabulary, tmp_path: Path) -> None:
    shards = [[Text("a", "x", "books", "raw")], [], [Text("b", "y", "web", "raw"), Text("b", "z", "wiki", "raw")]]
    rows = packed(tmp_path, shards, words, capacity=9)
    assert (len(rows), rows.row_tokens, rows.num_tokens) == (1, 9, 9)
    assert [(o.shard, o.document, o.id, o.source) for o in rows.documents_in([0])] == [
        ("00000", 0, "a", "books"),
        ("00002", 0, "b", "web"),
        ("00002", 1, "b", "wiki"),
    ]


def test_no_texts_give_no_rows(words: Vocabulary, tmp_path: Path) -> None:
    rows = packed(tmp_path, [[]], words, capacity=8)
    assert (len(rows), rows.num_tokens) == (0, 0)


def test_rows_can_be_moved_and_tokens_kept_elsewhere(words: Vocabulary, tmp_path: Path) -> None:
    before = packed(tmp_path / "here", [[Text("a", "abc", "s", "raw")]], words, capacity=8).batch([0]).inputs
    (tmp_path / "here").rename(tmp_path / "there")
    assert open_rows(tmp_path / "there" / "joined").batch([0]).inputs.tolist() == before.tolist()
    (tmp_path / "there" / "00000").rename(tmp_path / "tokens")
    rows = open_rows(tmp_path / "there" / "joined", shards=[tmp_path / "tokens"])
    assert rows.batch([0]).inputs.tolist() == before.tolist()
    with pytest.raises(InputError, match="holds no head"):
        open_rows(tmp_path / "there" / "joined")


def test_rows_of_another_vocabulary_are_refused(words: Vocabulary, tmp_path: Path) -> None:
    rows = packed(tmp_path, [[Text("a", "abc", "s", "raw")]], words, capacity=8)
    check_vocabulary(rows, words)
    with pytest.raises(InputError, match="own vocabulary"):
        check_vocabulary(rows, replace(words, fingerprint="other"))
    with pytest.raises(InputError, match="tokens again"):
        pack([tmp_path / "00000"], capacity=8, policy="concat", folder=tmp_path / "x", vocabulary_fingerprint="other")


def test_files_that_are_cut_short_are_refused(words: Vocabulary, tmp_path: Path) -> None:
    packed(tmp_path, [[Text("a", "abc", "s", "raw")]], words, capacity=8)
    path = tmp_path / "00000" / "tokens.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match="tokens it was packed with"):
        open_rows(tmp_path / "joined")


def test_a_plan_that_is_cut_short_is_named(words: Vocabulary, tmp_path: Path) -> None:
    packed(tmp_path, [[Text("a", "A heron.", "birds", "raw")]], words, capacity=8)
    plan = tmp_path / "joined" / "starts.npy"
    plan.write_bytes(plan.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"starts\.npy is damaged .*: remove it, and pack the texts again"):
        open_rows(tmp_path / "joined")


def test_golden_rows(words: Vocabulary, tmp_path: Path) -> None:
    """The example of the module's page, and a text with a break and loss on its answers, as tables of all places."""
    raw = [Text("1", "a,b,c,", "s", "raw"), Text("2", "g,", "s", "raw")], [Text("3", "i", "s", "raw")]
    task = [Text("4", "Q?A!Q?A!", "s", "task", ((2, 4), (6, 8)), (4,))]
    tables = [
        table(packed(tmp_path / "raw", list(raw), words, capacity=6), words),
        table(packed(tmp_path / "task", [task], words, capacity=14), words),
    ]
    assert "\n".join(tables) == GOLDEN.read_text()


def table(rows: Rows, words: Vocabulary) -> str:
    def spelled(token: int) -> str:
        return {words.bos: "<s>", words.eos: "</s>"}.get(token) or words.decode([token])

    batch = rows.batch(range(len(rows)))
    lines = ""
    for row in range(len(rows)):
        is_used = (batch.documents[row] >= 0).tolist()
        for f in fields(Batch):
            values = getattr(batch, f.name)[row].tolist()
            if f.name == "inputs":
                values = [spelled(i) if used else i for i, used in zip(values, is_used, strict=True)]
            if f.name == "targets":
                values = [spelled(i) if i else i for i in values]
            lines += f"{row} {f.name:9}" + "".join(f"{value:>5}" for value in values) + "\n"
    return lines
