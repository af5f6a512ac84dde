"""Fast encoding gives the ids of the tokenizer, for every text and every vocabulary, or steps aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from instructpt.words import byte_pairs, vocabulary
from instructpt.words.byte_pairs import PATTERNS, BytePairs, family
from instructpt.words.vocabulary import Vocabulary

ODD = (
    "", " ", "\n\n", "a  b   c    ", "\r\n\r\n x\r\n", "\x00\x00", "\x00unused\x00", "</s> <s>",
    "it's IT'S it\u2019s'll",
    "'\u017f '\u017fx 'R\u0131", "1234567 \u0661\u0662\u0663\u0664 \u00bd\u2167", "e\u0301\u0301\u0301 \u1e9b\u0323",
    "\U0001f469\u200d\U0001f52c\U0001f3fd! \U0001f1eb\U0001f1f7",
    "\u6f22\u5b57\u3002\u304b\u306a\u30ab\u30ca", "\u00a0\u2003\u3000 \u200b x",
    "\x0b\x0c\x1c\x1d\x1e\x1f\x85 y", " " * 5000 + "z", "\n" * 3000 + " \t" * 500, "ab" * 9000, "!" * 4000,
    "\U0001e030\u0870\U00010d40\U0001e5d0 new letters", "\ue000\uffff\U0010ffff",
)  # fmt: skip
TEXTS = st.text(
    st.one_of(
        st.sampled_from(
            "abcxyzABC 019 \n\r\t.,!?'\u2019-_()\u00e9\u00df\u0301\u0430\u4e2d\u3002\U0001f600\u00a0\u200d"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=200,
)


@pytest.fixture(scope="module")
def words(vocabulary_folder: Path) -> Vocabulary:
    return vocabulary.load(vocabulary_folder)


def trained(pre_tokenizer: pre_tokenizers.PreTokenizer, **options: object) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(
        [*ODD, "it's what we'll say, isn't it? " * 9, "aaaa aaaaa abcabcabc bcbc abab" * 9], trainer
    )
    tokenizer.encode_special_tokens = True
    return tokenizer


def pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"), bytes_alone])


def expected(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def as_lists(arrays: list[np.ndarray]) -> list[list[int]]:
    return [array.tolist() for array in arrays]


def opened(tokenizer: Tokenizer) -> BytePairs:
    found = family(tokenizer, orjson.loads(tokenizer.to_str()))
    assert found is not None
    return found


@given(texts=st.lists(TEXTS, max_size=4))
def test_any_text_has_the_ids_of_the_tokenizer(words: Vocabulary, texts: list[str]) -> None:
    assert as_lists(words.encode_arrays(texts)) == words.encode(texts)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ignore_merges", [False, True])
def test_odd_texts_have_the_ids_of_the_tokenizer(pattern: str, ignore_merges: bool) -> None:
    tokenizer = trained(pieces(pattern), ignore_merges=ignore_merges)
    assert as_lists(opened(tokenizer).encode(ODD)) == expected(tokenizer, ODD)


def test_the_gpt_2_way_of_cutting_is_known() -> None:
    tokenizer = trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    assert as_lists(opened(tokenizer).encode(ODD)) == expected(tokenizer, ODD)


def test_without_tiktoken_the_ids_are_the_same(words: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_pairs, "find_spec", lambda name: None)
    slow = opened(words.tokenizer)
    assert not slow.is_fast
    assert as_lists(slow.encode(ODD)) == words.encode(ODD)


@given(text=TEXTS, size=st.integers(1, 30))
def test_a_text_may_be_encoded_in_parts(words: Vocabulary, text: str, size: int) -> None:
    parts = byte_pairs.windows(text, size)
    assert "".join(parts) == text
    assert [i for ids in words.encode(parts) for i in ids] == words.encode([text])[0]


def test_long_texts_are_encoded_in_parts(words: Vocabulary) -> None:
    text = "Herons wade in shallow water,\nand 12 of them fish. \u6f22\u5b57\u3002\u6f22 " * 40
    assert len(byte_pairs.windows(text, 100)) > 15
    encoded = words.byte_pairs.encode([text, "", text + "!"], window_characters=100)
    assert as_lists(encoded) == words.encode([text, "", text + "!"])


def test_runs_that_overflow_tiktoken_go_to_the_tokenizer(words: Vocabulary) -> None:
    texts = ["a" + " " * 1_100_000 + "b", "\n " * 300_000, "x" * 200_000]
    assert as_lists(words.encode_arrays(texts)) == words.encode(texts)


@given(text=TEXTS)
def test_starts_are_those_of_the_tokenizer(words: Vocabulary, text: str) -> None:
    ((ids, starts),) = words.encode_with_starts([text])
    same = words.tokenizer.encode(text, add_special_tokens=False)
    assert ids.tolist() == same.ids
    assert starts.tolist() == [start for start, _ in same.offsets]


def test_characters_that_two_libraries_class_otherwise_go_to_the_tokenizer(words: Vocabulary) -> None:
    description = orjson.loads(words.tokenizer.to_str())
    latin_alone = BytePairs(words.tokenizer, description, byte_pairs.OURS.replace("{L}", "{Latin}"))
    texts = ["caf\u00e9 au lait", "plain", "\u0430\u0431 \u4e2d"]
    assert as_lists(latin_alone.encode(texts)) == words.encode(texts)
    assert latin_alone._agreement[ord("\u0430")] == byte_pairs._DIFFERENT
    assert latin_alone._agreement[ord("p")] == byte_pairs._EQUAL


def test_merges_that_tiktoken_would_make_unbidden_are_found() -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: i for i, token in enumerate([*letters, "bc", "ab", "abc"])}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[("b", "c"), ("a", "b"), ("ab", "c")]))
    tokenizer.pre_tokenizer = pieces(byte_pairs.OURS)
    found = opened(tokenizer)
    assert not found.is_fast
    assert as_lists(found.encode(["abc", "xabcx"])) == expected(tokenizer, ["abc", "xabcx"])
    assert opened(trained(pieces(byte_pairs.OURS))).is_fast


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True}},
        {"pre_tokenizer": None},
        {"added_tokens": [{"id": 0, "content": "<s>", "special": False}]},
    ],
)
def test_other_vocabularies_are_left_to_the_tokenizer(words: Vocabulary, change: dict[str, object]) -> None:
    assert family(words.tokenizer, orjson.loads(words.tokenizer.to_str()) | change) is None


def test_a_vocabulary_of_another_family_has_arrays_and_starts_too(words: Vocabulary) -> None:
    other = Vocabulary(words.tokenizer, words.bos, words.eos, words.size, words.fingerprint)
    assert as_lists(other.encode_arrays(ODD)) == words.encode(ODD)
    for (ids, starts), (same_ids, same_starts) in zip(
        other.encode_with_starts(ODD), words.encode_with_starts(ODD), strict=True
    ):
        assert ids.tolist() == same_ids.tolist()
        assert starts.tolist() == same_starts.tolist()
