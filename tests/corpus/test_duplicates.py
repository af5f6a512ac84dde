"""Duplicates: the first of equal documents is kept, wherever the others are, and nothing else is dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from instructpt.corpus.duplicates import digests, later_copies
from instructpt.records import Document


def copies(shards: Sequence[Sequence[str]]) -> list[list[int]]:
    documents = [[Document(f"{i}", text, "") for i, text in enumerate(shard)] for shard in shards]
    return [rows.tolist() for rows in later_copies([digests(shard) for shard in documents])]


def test_the_example_of_the_module() -> None:
    assert copies([["a", "b", "a", "c"], ["d", "b"]]) == [[2], [1]]


def test_white_space_makes_no_difference_and_everything_else_does() -> None:
    assert copies([["a b\n", " a \t\r\n b", "a b", "ab", "A b", "a b."]]) == [[1, 2]]


def test_no_shards_and_empty_shards_are_fine() -> None:
    assert copies([]) == []
    assert copies([[]]) == [[]]
    assert copies([[], ["a"], [], ["a", ""], [""]]) == [[], [], [], [0], [0]]


def test_a_digest_is_sixteen_bytes_and_the_same_on_any_machine() -> None:
    array = digests([Document("", "two  words", ""), Document("", "ü\ud800", "")])
    assert array.shape == (2, 2)
    assert array.nbytes == 32
    assert array[0].tobytes() == hashlib.blake2b(b"two words", digest_size=16).digest()


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8), max_size=6))
def test_what_remains_is_each_text_once_in_order(shards: list[list[str]]) -> None:
    dropped = copies(shards)
    kept = [text for shard, rows in zip(shards, dropped, strict=True) for i, text in enumerate(shard) if i not in rows]
    assert kept == list(dict.fromkeys(text for shard in shards for text in shard))
    assert all(rows == sorted(rows) for rows in dropped)
