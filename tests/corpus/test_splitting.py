"""Splitting: no character lost, no passage over its budget, cut where a reader would, for any tokenizer, in time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from instructpt.corpus.splitting import split_many
from instructpt.errors import RecipeError
from instructpt.records import Document
from instructpt.words import vocabulary
from instructpt.words.vocabulary import Vocabulary

PROSE = (
    "The mill stood by the river. Nobody had worked in it for years! Was it empty? Some said so, others did not.\n"
    "Its wheel was broken. 水车坏了。没有人来修。 In 1999 the roof fell in, and the owner, Mr. Low, sold it.\n\n"
)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("vocabulary")
    vocabulary.train([PROSE], size=400, folder=folder)
    return vocabulary.load(folder)


@pytest.fixture(scope="module")
def awkward() -> Vocabulary:
    """As older Llama-like models have it: a blank put before every text, unknown characters as bytes, characters that
    are normalised to many, and no cut at words, so that a token may reach over several of them."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "merged_with_next")
    tokenizer.decoder = decoders.ByteFallback()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([PROSE[:108]], trainer)
    return Vocabulary(tokenizer, 1, 2, tokenizer.get_vocab_size(), "awkward")


@pytest.fixture(params=["byte_level", "awkward"])
def any_vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    found: Vocabulary = request.getfixturevalue(request.param)
    return found


def split(document: Document, *, vocabulary: Vocabulary, budget_tokens: int) -> list[Document]:
    (passages,) = split_many([document], vocabulary=vocabulary, budget_tokens=budget_tokens)
    return passages


def check(document: Document, passages: list[Document], known: Vocabulary, budget: int) -> None:
    """Everything that holds for every text."""
    position = 0
    for k, passage in enumerate(passages):
        several = len(passages) > 1
        offset = passage.meta["offset"] if several else len(document.text) - len(document.text.lstrip())
        assert document.text[position:offset].strip() == ""
        assert document.text[offset : offset + len(passage.text)] == passage.text
        assert passage.text == passage.text.strip() != ""
        assert passage.id == (f"{document.id}#{k}" if several else document.id)
        assert passage.source == document.source
        assert passage.meta == ({**document.meta, "offset": offset} if several else document.meta)
        position = offset + len(passage.text)
    assert document.text[position:].strip() == ""
    assert all(len(ids) <= budget for ids in known.encode([passage.text for passage in passages]))


PIECES = st.sampled_from(
    (
        *("\n\n", "\n", " ", "\r\n\r\n", "\t" * 30, "\u200d", "\u3000", "\x00", ". ", "…", "。", "é", "😀", "ﷺ"),
        *("word", "Wide gap.", "水" * 9, "a" * 40, "</s>", "<s>", PROSE, PROSE[:50]),
    )
)


@given(pieces=st.lists(PIECES, max_size=30), budget=st.sampled_from([64, 65, 100]))
@example(pieces=["ﷺ"] * 7, budget=64)
@example(pieces=[" "] * 7, budget=64)
def test_nothing_is_lost_and_no_passage_is_too_long(
    byte_level: Vocabulary, awkward: Vocabulary, pieces: list[str], budget: int
) -> None:
    document = Document("d", "".join(pieces), "source", {"licence": "open"})
    for known in (byte_level, awkward):
        check(document, split(document, vocabulary=known, budget_tokens=budget), known, budget)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_at_the_smallest_budget(byte_level: Vocabulary, text: str) -> None:
    document = Document("d", text, "")
    check(document, split(document, vocabulary=byte_level, budget_tokens=16), byte_level, 16)


def test_many_documents_are_split_as_each_alone(any_vocabulary: Vocabulary) -> None:
    documents = [Document(f"{i}", PROSE * (i % 7), f"s{i}", {"i": i}) for i in range(40)]
    together = list(split_many(documents, vocabulary=any_vocabulary, budget_tokens=80))
    assert together == [split(document, vocabulary=any_vocabulary, budget_tokens=80) for document in documents]
    for document, passages in zip(documents, together, strict=True):
        check(document, passages, any_vocabulary, 80)


def test_a_document_that_fits_is_kept_whole_under_its_own_name(byte_level: Vocabulary) -> None:
    document = Document("d", f"  \n{PROSE}", "s", {"offset": "mine"})
    assert split(document, vocabulary=byte_level, budget_tokens=1000) == [
        Document("d", PROSE.strip(), "s", document.meta)
    ]
    budget = len(byte_level.encode([PROSE.strip()])[0])
    assert len(split(document, vocabulary=byte_level, budget_tokens=budget)) == 1
    assert len(split(document, vocabulary=byte_level, budget_tokens=budget - 1)) == 2


def test_a_text_of_white_space_has_no_passage(byte_level: Vocabulary) -> None:
    for text in ("", " ", "\n" * 5000):
        assert split(Document("d", text, ""), vocabulary=byte_level, budget_tokens=16) == []


def test_passages_end_at_paragraphs_where_they_can(any_vocabulary: Vocabulary) -> None:
    paragraphs = [f"Paragraph {i} is of one line. It has two sentences." for i in range(60)]
    for separator in ("\n\n", "\r\n\r\n", "\n \n\n"):
        document = Document("d", separator.join(paragraphs), "")
        passages = split(document, vocabulary=any_vocabulary, budget_tokens=120)
        assert len(passages) < 40
        assert [part for passage in passages for part in passage.text.split(separator)] == paragraphs


def test_passages_end_at_sentences_where_paragraphs_are_long(any_vocabulary: Vocabulary) -> None:
    sentences = [f"Sentence {i} tells of Dr. Low." for i in range(100)]
    passages = split(Document("d", " ".join(sentences), ""), vocabulary=any_vocabulary, budget_tokens=100)
    assert " ".join(passage.text for passage in passages) == " ".join(sentences)
    assert all(passage.text.startswith("Sentence ") for passage in passages)
    chinese = "水车坏了。没有人来修！" * 60
    passages = split(Document("d", chinese, ""), vocabulary=any_vocabulary, budget_tokens=100)
    assert "".join(passage.text for passage in passages) == chinese
    assert all(passage.text[-1] in "。！" for passage in passages)


def test_passages_end_at_lines_then_words_where_there_are_no_sentences(any_vocabulary: Vocabulary) -> None:
    lines = [f"entry {i} of the list" for i in range(100)]
    passages = split(Document("d", "\n".join(lines), ""), vocabulary=any_vocabulary, budget_tokens=100)
    assert [line for passage in passages for line in passage.text.split("\n")] == lines
    words = ["word", "longer", "of", "wordlike"] * 100
    passages = split(Document("d", " ".join(words), ""), vocabulary=any_vocabulary, budget_tokens=50)
    assert [word for passage in passages for word in passage.text.split()] == words


def test_passages_are_full_and_the_last_one_is_not_tiny(byte_level: Vocabulary) -> None:
    budget = 128
    for num_words in range(200, 700, 37):
        document = Document("d", " ".join(["word", "of", "the", "mill"] * (num_words // 4)), "")
        passages = split(document, vocabulary=byte_level, budget_tokens=budget)
        lengths = [len(ids) for ids in byte_level.encode([passage.text for passage in passages])]
        assert all(length > 0.9 * budget for length in lengths[:-2])
        assert all(length >= 0.2 * budget for length in lengths[-2:])


def test_a_budget_that_no_passage_can_meet_is_refused(awkward: Vocabulary) -> None:
    with pytest.raises(RecipeError, match="budget_tokens is 15"):
        split(Document("d", "text", ""), vocabulary=awkward, budget_tokens=15)
    with pytest.raises(RecipeError, match="the character 'ﷺ' alone has"):
        split(Document("d", "text ﷺ text", ""), vocabulary=awkward, budget_tokens=16)


@pytest.mark.parametrize(
    "name", ["letters", "one letter", "ideographs", "line breaks", "blanks", "full stops", "lines"]
)
def test_a_huge_text_without_a_place_to_cut_takes_linear_time(byte_level: Vocabulary, name: str) -> None:
    draw = random.Random(0)
    text = {
        "letters": "".join(draw.choices("abcdefghij", k=500_000)),
        "one letter": "a" * 500_000,
        "ideographs": "".join(draw.choices("水车坏了没有人来修", k=100_000)),
        "line breaks": "x" + "\n" * 1_000_000 + "y",
        "blanks": "x" + " " * 1_000_000 + "y",
        "full stops": "." * 500_000,
        "lines": "x\n" * 200_000,
    }[name]
    began = time.process_time()
    document = Document("d", text, "")
    passages = split(document, vocabulary=byte_level, budget_tokens=1000)
    assert time.process_time() - began < 10
    check(document, passages, byte_level, 1000)


def test_a_tokenizer_never_sees_a_long_text_at_once(byte_level: Vocabulary) -> None:
    lengths: list[int] = []

    class Watched(Vocabulary):
        def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
            lengths.extend(map(len, texts))
            return Vocabulary.encode_arrays(self, texts)

        def encode_with_starts(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
            lengths.extend(map(len, texts))
            return Vocabulary.encode_with_starts(self, texts)

    watched = Watched(*(getattr(byte_level, field.name) for field in fields(Vocabulary)))
    split(Document("d", "a" * 300_000 + " a" * 100_000, ""), vocabulary=watched, budget_tokens=500)
    assert max(lengths) < 20_000
    assert 400_000 < sum(lengths) < 1_500_000


def test_documents_are_streamed(byte_level: Vocabulary) -> None:
    taken = 0

    def endless() -> Iterator[Document]:
        nonlocal taken
        while True:
            taken += 1
            yield Document(f"{taken}", PROSE * 50, "")

    passages = split_many(endless(), vocabulary=byte_level, budget_tokens=64)
    next(passages)
    assert taken < 500


@pytest.mark.parametrize(
    ("sentence", "ends"),
    [
        ("水车坏了没有人来修", "。"),
        ("水車は壊れたが誰も直しに来なかった", "。"),
        ("水车坏了没有人来修所以村里的人都不再到那里去磨面", "，"),
        ("水車は壊れたが誰も直しに来なかった", "、"),
        ("يجلس الرجل العجوز كل مساء أمام بيته", "، "),
        ("กังหันน้ำพังแล้วและไม่มีใครมาซ่อม", " "),
    ],
)
def test_scripts_without_blanks_are_cut_at_their_own_marks(
    sentence: str, ends: str, any_vocabulary: Vocabulary
) -> None:
    document = Document("d", (sentence + ends) * 30, "s")
    budget = 4 * len(any_vocabulary.encode([sentence + ends])[0])
    passages = split(document, vocabulary=any_vocabulary, budget_tokens=budget)
    check(document, passages, any_vocabulary, budget)
    assert len(passages) > 5
    for passage in passages:
        assert passage.text.startswith(sentence)
        assert passage.text.endswith(ends.strip() or sentence)


def test_the_end_of_a_sentence_goes_before_a_comma(any_vocabulary: Vocabulary) -> None:
    """Also with a blank in it, as around a Latin word."""
    unit = "水车坏了。没有人来修，也没有人来看 GPT 磨面，"
    document = Document("d", unit * 20, "s")
    budget = 2 * len(any_vocabulary.encode([unit])[0])
    passages = split(document, vocabulary=any_vocabulary, budget_tokens=budget)
    check(document, passages, any_vocabulary, budget)
    assert all(passage.text.endswith("水车坏了。") for passage in passages[:-1])
