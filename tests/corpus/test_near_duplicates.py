"""Near duplicates: what nearly repeats an earlier document is found wherever that is, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.corpus.duplicates import bands, near_copies, signatures
from instructpt.seeds import rng
from instructpt.words import wordforms

WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "rstvz"]


def document(seed: int, *, num_words: int = 300) -> str:
    return " ".join(rng(seed, "near").choices(WORDS, k=num_words))


def edited(text: str, stream: random.Random, *, num_edits: int) -> str:
    words = text.split()
    for place in stream.sample(range(len(words)), num_edits):
        words[place] = "changed"
    return " ".join(words)


def near(shards: Sequence[Sequence[str]], *, share: float = 0.8) -> list[list[int]]:
    return [rows.tolist() for rows in near_copies([signatures(shard) for shard in shards], share=share)]


def test_a_document_with_a_few_words_changed_is_found_in_another_shard() -> None:
    originals = [document(seed) for seed in range(40)]
    stream = rng(0, "edits")
    copies = [edited(text, stream, num_edits=3) for text in originals]  # 285 of 311 runs are the same
    assert near([originals, copies]) == [[], list(range(40))]
    assert near([copies[:7], copies[7:] + originals]) == [[], list(range(33, 73))]


def test_documents_that_share_less_are_kept() -> None:
    originals = [document(seed) for seed in range(40)]
    stream = rng(0, "edits")
    others = [edited(text, stream, num_edits=30) for text in originals]  # a half of the runs is the same
    assert near([originals, others]) == [[], []]
    assert near([[document(0)[:700] + document(1), document(0)]]) == [[]]


def test_case_accents_and_punctuation_do_not_count_and_order_does() -> None:
    assert near([["Élan, of the mill by the sea!", "elan of the MILL by the sea", "sea the by mill the of elan"]]) == [
        [1]
    ]


def test_short_texts_and_texts_without_words() -> None:
    assert near([["salt", "salt", "road", "", "", "...", "?!", "salt road"]]) == [[1]]
    assert near([]) == []
    assert near([[], ["salt"], [], ["salt"]]) == [[], [], [], [0]]


def test_a_long_text_has_the_signature_of_its_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [document(seed, num_words=2_000) for seed in range(3)]
    whole = signatures(texts)
    monkeypatch.setattr(wordforms, "BLOCK_CHARACTERS", 500)
    assert np.array_equal(signatures(texts), whole)


def test_signatures_are_the_same_everywhere() -> None:
    """A new version of rensa may sketch otherwise: then `NearDuplicates` is of another version, too."""
    assert signatures(["The salt road was laid out in 1612."])[0, :4].tolist() == [
        3418111436,
        3631193553,
        4018013580,
        3588987588,
    ]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_miss_few(share: float) -> None:
    num_bands, num_places = bands(share)
    assert num_bands * num_places <= 128
    assert (1 - share**num_places) ** num_bands <= 0.01


@given(st.lists(st.lists(st.sampled_from(["a b c", "b c d e f g", "x", "A, b c.", ""]), max_size=5), max_size=5))
def test_equal_texts_are_near_and_the_first_of_them_stays(shards: list[list[str]]) -> None:
    dropped = near(shards, share=1.0)
    kept = [text for shard, rows in zip(shards, dropped, strict=True) for i, text in enumerate(shard) if i not in rows]
    plain = [" ".join(text.casefold().replace(",", "").replace(".", "").split()) for text in kept]
    assert len(set(filter(None, plain))) == len(list(filter(None, plain)))
    assert plain.count("") == sum(shard.count("") for shard in shards)
